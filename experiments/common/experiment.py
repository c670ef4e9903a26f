"""What every experiment does around its own work: parameters, data, progress that outlives a kill, what it leaves."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from matplotlib.figure import Figure
from pydantic import ValidationError
from torch import Tensor

from experiments.common.figures import save
from tasks.artifacts import content_hash, fingerprint, write_json
from tasks.code import code_identity
from tasks.determinism import deterministic
from tasks.errors import UserError
from tasks.parameters import Section
from tasks.shards import Shards
from tasks.stage import die_with_parent
from tasks.tensors import write_tensors

DATA = "INFLUENCE_DATA"
P = TypeVar("P", bound=Section)


@dataclass(frozen=True)
class Result:
    """What an experiment leaves.

    Attributes:
        metrics: numbers by name; for metrics.json.
        figure: beside the paper's.
        verdict: in a sentence or two, what was found, and what was missed and why.
        tensors: what other experiments go on with, by file and by name; for DVC to keep.
    """

    metrics: Mapping[str, Any]
    figure: Figure
    verdict: str
    tensors: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """Where an experiment runs.

    Attributes:
        root: the folder of params.yaml.
        name: of the experiment.
        data_root: the folder that holds the data sets, one a sub-folder; None where nobody has said.
        seed: of everything random.
        parts: keeps finished parts of long work.
    """

    root: Path
    name: str
    data_root: Path | None
    seed: int
    parts: Shards

    def data(self, folder: str) -> Path:
        """A data set's folder.

        Raises:
            UserError: it is not there; says how to give it.
        """
        if self.data_root is None:
            raise UserError(
                f"the data are not in this repository: set {DATA}, or `data_root` in params.yaml, to a folder that "
                f"holds {folder}/ (experiments/README.md says where it comes from)"
            )
        path = self.data_root / folder
        if not path.is_dir():
            raise UserError(f"{path} is missing: experiments/README.md says where the data set {folder} comes from")
        return path

    def left_by(self, experiment: str, name: str) -> Path:
        """The file of tensors that another experiment has left.

        Raises:
            UserError: it has not run yet.
        """
        path = _tensor_file(self.root / experiment, name)
        if not path.is_file():
            raise UserError(f"{path} is missing: run the experiment {experiment} first")
        return path

    def part(self, name: str, compute: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Tensors that a killed run need not compute again: `compute()`, or what it gave before.

        Args:
            name: of the part, fit for a file name; whatever decides its content beside the parameters must be in it.
        """
        self.parts.run([name], lambda _: compute())
        return self.parts.read(name)


def main(module: str, kind: type[P], run: Callable[[Setting, P], Result]) -> None:
    """Run an experiment from the root of the repository and exit: 0, or 1 with the reason on standard error."""
    die_with_parent()
    name = Path(sys.modules[module].__file__ or "").stem
    try:
        perform(Path("experiments"), name, kind, run)
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(1)


def perform(root: Path, name: str, kind: type[P], run: Callable[[Setting, P], Result]) -> None:
    """Run an experiment and write NAME/metrics.json, NAME/figure.svg, NAME/figure.png, and tensors where it leaves any.

    Args:
        root: the folder of params.yaml.
        name: of the experiment, and of its section in params.yaml.
        kind: what its parameters are.
        run: the experiment.

    Raises:
        UserError: a parameter is wrong or the data are missing.
    """
    raw = read_parameters(root / "params.yaml")
    parameters = _validated(kind, raw.get(name) or {}, name)
    code = content_hash(Path(sys.modules[run.__module__].__file__ or ""))
    key = fingerprint(name, parameters.model_dump(), raw["seed"], code, *code_identity())
    setting = Setting(root, name, data_root(raw), raw["seed"], Shards(root / ".work", name, key))
    torch.manual_seed(setting.seed)
    with deterministic():
        result = run(setting, parameters)
    save(result.figure, root / name / "figure")
    for file, tensors in result.tensors.items():
        write_tensors(_tensor_file(root / name, file), tensors)
    write_json(root / name / "metrics.json", {**result.metrics, "verdict": result.verdict})
    setting.parts.remove()
    print(f"{name}: {result.verdict}", flush=True)


def read_parameters(path: Path) -> dict[str, Any]:
    """experiments/params.yaml, with its defaults.

    Raises:
        UserError: it is missing or not a mapping.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run the command in the repository or in its folder experiments/") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path} must hold a section for every experiment")
    return {"data_root": None, "seed": 0, **raw}


def data_root(raw: Mapping[str, Any]) -> Path | None:
    """Where the data sets are: the environment wins over params.yaml."""
    given = os.environ.get(DATA) or raw["data_root"]
    return Path(given).expanduser() if given else None


def _tensor_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def _validated(kind: type[P], section: object, name: str) -> P:
    try:
        return kind.model_validate(section)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([name, *map(str, first["loc"])])
        raise UserError(f"params.yaml: `{key}`: {first['msg']}, got {first['input']!r}") from None
