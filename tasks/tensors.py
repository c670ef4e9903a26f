"""Safetensors whose bytes depend on their content alone, appearing by rename like every artifact."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tasks.artifacts import atomic_write
from tasks.errors import UserError

# safetensors writes metadata in the order of a randomly seeded hash map: with two keys the bytes of a file
# would differ from run to run. All metadata is therefore JSON under one key.
METADATA = "influence"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, object] | None = None) -> None:
    """Write tensors and JSON metadata. Tensors that share memory are stored once each."""
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {METADATA: json.dumps(metadata or {}, sort_keys=True, allow_nan=False)}
    atomic_write(path, lambda temporary: save_file(own, temporary, metadata=header))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors, on the CPU, and the metadata written with them (empty where there is none).

    Raises:
        UserError: the file is missing, or is not safetensors.
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        return tensors, _metadata(file)


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata alone. Raises what `read_tensors` does."""
    with _opened(path) as file:
        return _metadata(file)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise UserError(f"{path} is missing: run the stage that writes it, or correct the path")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as safetensors ({error}): restore the file or rerun its stage; weights of another "
            "format are saved anew with safetensors.torch.save_file(model.state_dict(), path)"
        ) from None


def _metadata(file: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((file.metadata() or {}).get(METADATA, "{}"))
    return found
