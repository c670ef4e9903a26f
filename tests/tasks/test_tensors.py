"""Safetensors with deterministic bytes."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tasks.errors import UserError
from tasks.tensors import read_tensors, write_tensors

WRITE = """
import sys, torch
from pathlib import Path
from tasks.tensors import write_tensors
write_tensors(Path(sys.argv[1]), {"b": torch.ones(2), "a": torch.zeros(3)}, {c: [c] for c in "fedcba"})
"""


def test_round_trip(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    tensors = {"weight": weight, "tied": weight, "view": weight.T, "count": torch.tensor(7)}
    metadata = {"classes": ["ä", "<b>"], "shape": (1, 2), "nested": {"x": 0.1}}
    write_tensors(tmp_path / "x.safetensors", tensors, metadata)
    read, header = read_tensors(tmp_path / "x.safetensors")
    assert header == {"classes": ["ä", "<b>"], "shape": [1, 2], "nested": {"x": 0.1}}
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


def test_bytes_are_the_same_in_every_process(tmp_path: Path) -> None:
    """safetensors orders its own metadata at random, differently in every process."""
    contents = set()
    for number in range(3):
        path = tmp_path / f"{number}.safetensors"
        subprocess.run([sys.executable, "-c", WRITE, path], check=True)
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_a_folder_or_a_cut_file_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        read_tensors(path)
    with pytest.raises(UserError, match="is missing"):
        read_tensors(tmp_path)


class Hostile:
    """Unpickled, it would run a command."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.witness,)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    witness, plain = tmp_path / "witness", tmp_path / "weights.pkl"
    plain.write_bytes(pickle.dumps({"weight": Hostile(witness)}))
    torch.save({"weight": Hostile(witness)}, tmp_path / "weights.pt")
    for path in (plain, tmp_path / "weights.pt"):
        with pytest.raises(UserError, match=r"cannot be read as safetensors.*safetensors\.torch\.save_file"):
            read_tensors(path)
    assert not witness.exists()
    pickle.loads(plain.read_bytes())
    assert witness.exists()  # it would have
