"""Slices of the data: how well each is read, and which slice of the training set helps or misleads which."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.func import grad

from influence.memory import gradient_batch
from influence.problem import Problem
from influence.scores import Pairwise, first_order_groups
from influence.vectors import Vectors, add_scaled, block, concatenate, scaled, zeros_like
from tasks.artifacts import SCORES, SLICE_INFLUENCE, SLICES, provenance, read_table, write_table
from tasks.dataset import Split, load_split
from tasks.determinism import deterministic
from tasks.device import device_slot
from tasks.errors import UserError
from tasks.grouping import group
from tasks.intervals import wilson_interval
from tasks.parameters import Parameters
from tasks.problem import load_gradients
from tasks.reporting.slicing import Influence, Part, Slice, Slices
from tasks.solver import load_solver
from tasks.workspace import HeldOut, SplitName, Workspace


def slices(workspace: Workspace, parameters: Parameters, column: str, split: HeldOut = "test") -> Slices:
    """Errors of every slice, and the influence of each on the mean loss of each; written to slices/*.parquet.

    Influence is linear in the query, so that one system is solved for a slice, however many examples it has.

    Args:
        column: see `tasks.grouping.group`.
        split: whose examples are evaluated.

    Raises:
        UserError: there is no such column, it has one value only, no example is evaluated, or a stage has not run yet,
            or not since data were prepared anew.
    """
    splits: tuple[SplitName, ...] = ("train", split)
    tables = {name: _predictions(workspace, name) for name in splits}
    groups = group(workspace, column, tables)
    values, names = groups.codes, groups.names
    train, evaluated = load_split(workspace, "train"), load_split(workspace, split)
    left_out, asked = (np.unique(codes).tolist() for codes in values)
    if len(left_out) < 2:
        raise UserError(
            f"all training examples have the same {column!r}, {names[left_out[0]]!r}: there is nothing to compare; "
            "slice by another column"
        )
    with device_slot(parameters.compute.device, workspace.work) as device, deterministic():
        gradients = load_gradients(workspace, parameters, train, device)
        solver = load_solver(workspace, gradients, train, parameters)
        probe, _ = train.batch(slice(0, 1), device)
        size = gradient_batch(gradients.problem, probe, parameters.compute.memory_bytes)
        print(f"slices: solving for {len(asked)} slices of {split}", flush=True)
        members = [evaluated.subset(np.flatnonzero(values[1] == code)) for code in asked]
        solution = solver.solve(concatenate([mean_gradient(gradients.problem, part, size) for part in members]))
        print(f"slices: scoring {len(train):,} training examples", flush=True)
        pairwise = Pairwise(gradients, solution.vectors, len(train))
        sets = [torch.from_numpy(np.flatnonzero(values[0] == code)) for code in left_out]
        found = first_order_groups(pairwise, train, sets, size).double().cpu()
    sizes = [len(chosen) for chosen in sets]
    result = Slices(
        column=column,
        split=split,
        slices=_slices(workspace, names, tables["train"], tables[split], values),
        influences=[
            Influence(out, of, float(found[row, place]), float(found[row, place]) / sizes[place])
            for place, out in enumerate(left_out)
            for row, of in enumerate(asked)
        ],
        damping=solver.damping,
        residual=float(solution.certificate.relative_residual.max()),
    )
    _write(workspace, parameters, result)
    return result


def mean_gradient(problem: Problem, examples: Split, size: int) -> Vectors:
    """Gradient of the mean loss of some examples, a block of one; `size` of them at a time."""
    total = zeros_like(block(problem.parameters))
    for inputs, targets in examples.batches(size, problem.device):
        part = grad(lambda theta, batch: problem.loss(theta, *batch).sum())(problem.parameters, (inputs, targets))
        total = add_scaled(total, 1.0, block(part))
    return scaled(1.0 / len(examples), total)


def _predictions(workspace: Workspace, split: SplitName) -> pa.Table:
    """example_id, label, predicted and loss of a split's examples, in its order.

    Raises:
        UserError: there is no example, or the predictions are of other examples.
    """
    path = workspace.split(split)
    ids = read_table(path, ["example_id"])["example_id"]
    predictions = read_table(workspace.predictions, ["example_id", "split", "label", "predicted", "loss"])
    table = predictions.filter(pc.equal(predictions["split"], split)).drop_columns("split")
    if not ids.equals(table["example_id"]):
        raise UserError(
            f"{workspace.predictions} is not of the examples in {path.parent}: rerun train and precondition"
        )
    if not len(table):
        raise UserError(f"{path} holds no examples to evaluate: choose another with --split")
    return table


def _slices(
    workspace: Workspace, names: list[str], train: pa.Table, evaluated: pa.Table, values: list[np.ndarray]
) -> list[Slice]:
    flagged = None
    if workspace.flags.exists():
        ids = read_table(workspace.flags, ["example_id"])["example_id"].combine_chunks()
        flagged = pc.is_in(train["example_id"], value_set=ids).to_numpy()
    return [
        Slice(
            value=name,
            train=_part(train, values[0] == code),
            evaluated=_part(evaluated, values[1] == code),
            flagged=None if flagged is None else int(flagged[values[0] == code].sum()),
        )
        for code, name in enumerate(names)
    ]


def _part(table: pa.Table, chosen: np.ndarray) -> Part | None:
    examples = int(chosen.sum())
    if not examples:
        return None
    errors = int(pc.not_equal(table["label"], table["predicted"]).to_numpy()[chosen].sum())
    loss = float(table["loss"].to_numpy()[chosen].astype(np.float64).mean())
    return Part(examples, errors, *wilson_interval(errors, examples), loss)


def _write(workspace: Workspace, parameters: Parameters, found: Slices) -> None:
    train, evaluated = workspace.split("train"), workspace.split(found.split)
    inputs = [train, evaluated, workspace.weights, workspace.predictions, workspace.factors]
    settings = {
        "column": found.column,
        **parameters.model_dump(mode="json", include={"seed", "compute", "precondition"}),
    }
    origin = provenance("slices", settings, inputs)
    rows = [
        {
            "column": found.column,
            "value": one.value,
            "split": name,
            "examples": part.examples,
            "errors": part.errors,
            "error_rate": part.error_rate,
            "error_rate_low": part.low,
            "error_rate_high": part.high,
            "mean_loss": part.mean_loss,
            "flagged": one.flagged if name == "train" else None,
        }
        for one in found.slices
        for name, part in (("train", one.train), (found.split, one.evaluated))
        if part is not None
    ]
    write_table(workspace.slices, pa.Table.from_pylist(rows, SLICES), SLICES, origin)
    influences = [
        {
            "column": found.column,
            "left_out": out.value,
            "evaluated": of.value,
            "left_out_examples": out.train.examples if out.train else 0,
            "evaluated_examples": of.evaluated.examples if of.evaluated else 0,
            "influence": one.total,
            "influence_per_example": one.per_example,
        }
        for one in found.influences
        for out, of in [(found.slices[one.left_out], found.slices[one.evaluated])]
    ]
    meaning = {
        "unit": "nats",
        "meaning": "predicted rise of the mean loss of the evaluated slice if all training examples of the other were "
        "left out, to the first order",
        "sign": "positive: helpful; negative: harmful",
        "split": found.split,
        "damping": found.damping,
        "largest_relative_residual": found.residual,
    }
    table = pa.Table.from_pylist(influences, SLICE_INFLUENCE)
    write_table(workspace.slice_influence, table, SLICE_INFLUENCE, {**origin, SCORES: meaning})
