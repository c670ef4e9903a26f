"""Safetensors whose bytes depend on their content alone, appearing by rename like every artifact."""

import json
from collections.abc import Mapping
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
    if not path.is_file():
        raise UserError(f"{path} is missing: run the stage that writes it, or correct the path")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        return tensors, json.loads(header.get(METADATA, "{}"))
    except (SafetensorError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as safetensors ({error}): restore the file or rerun its stage"
        ) from None
