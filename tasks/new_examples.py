"""Examples of a file that the pipeline has not prepared, encoded as those that the model was trained on."""

from pathlib import Path

import torch

from tasks.dataset import Split, load_encoding, stored_inputs
from tasks.encoding import encode
from tasks.errors import UserError
from tasks.identity import example_ids
from tasks.labels import require_known
from tasks.parameters import Parameters
from tasks.sources import read
from tasks.workspace import Workspace


def read_new(workspace: Workspace, parameters: Parameters, path: Path) -> Split:
    """Read a file or folder of the kind that `prepare.source` describes, labels included.

    Raises:
        UserError: there is nothing at the path, or it is of another kind, or holds a label that training did not.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist: name a file or folder of the kind that `prepare.source` describes")
    encoding = load_encoding(workspace)
    examples = read(parameters.prepare.source, path)
    if not len(examples):
        raise UserError(f"{path} holds no example: give at least one")
    require_known(examples, encoding.classes)
    places = {label: place for place, label in enumerate(encoding.classes)}
    labels = torch.tensor([places[label] for label in examples.labels], dtype=torch.int64)
    return Split(example_ids(examples)[0], labels, stored_inputs(encode(examples, encoding), encoding, path), encoding)
