"""How far the scores can be trusted: models are retrained, and what the scores predicted of them is compared."""

import csv
import io
from typing import Any

import torch
from torch import Tensor

from influence.inverse import NotPositiveDefiniteError
from influence.retraining import NotConvergedError
from tasks.artifacts import read_json, write_json, write_text
from tasks.cluster import Cluster, cluster_of
from tasks.dataset import Split, load_split
from tasks.determinism import derived_seed, deterministic
from tasks.device import device_slot
from tasks.parameters import Parameters
from tasks.problem import load_gradients
from tasks.score import load_queries
from tasks.stage import Work, main
from tasks.validation import halves, leave_one_out, removal, stability
from tasks.validation.methods import Methods
from tasks.validation.names import INFLUENCE
from tasks.validation.retrainer import Retrainer
from tasks.validation.verdict import Verdict, judge_halves, judge_leave_one_out, judge_solver, unmeasured
from tasks.workspace import Workspace

SAMPLE = 7  # purpose of random numbers
SMALLEST = 4  # training examples; halves of fewer are no training sets
Found = tuple[dict[str, Any], Verdict, Tensor, Tensor]  # measured, in words, and what was predicted and came


def run(workspace: Workspace, parameters: Parameters) -> Work:
    """Write validation/metrics.json and validation/retrained.csv.

    Models linear in their parameters, if small, are retrained exactly without single examples. Others are trained again
    on random halves of the training set, the way they were trained first.

    Raises:
        UserError: an artifact of an earlier stage is missing, or is of other data.
    """
    train, validation = load_split(workspace, "train"), load_split(workspace, "validation")
    memory, report = parameters.compute.memory_bytes, read_json(workspace.curvature_report)
    with (
        device_slot(parameters.compute.device, workspace.work) as device,
        deterministic(),
        cluster_of(workspace, parameters, device) as cluster,
    ):
        gradients = load_gradients(workspace, parameters, train, device)
        queries = load_queries(workspace, device)
        methods = Methods(workspace, gradients, queries, train, validation, memory)
        measured, verdict, predicted, actual = _measure(workspace, parameters, methods, validation, report, cluster)
    warnings = [*verdict.warnings, *judge_solver(report)]
    solver = {key: report[key] for key in ("converged", "largest_residual", "median_residual", "damping")}
    content = {"verdict": verdict.text, "warnings": warnings, "queries": len(queries.ids), **measured, "solver": solver}
    write_json(workspace.validation_metrics, content)
    write_text(workspace.retrained, _rows(predicted, actual))
    print(f"validate: {verdict.text}", flush=True)
    for warning in warnings:
        print(f"validate: WARNING: {warning}", flush=True)
    return Work(len(train), str(device))


def _measure(
    workspace: Workspace,
    parameters: Parameters,
    methods: Methods,
    validation: Split,
    report: dict[str, Any],
    cluster: Cluster | None,
) -> Found:
    linear = leave_one_out.is_small_and_linear(methods.gradients.problem, methods.inputs[:2])
    if linear and parameters.train.weight_decay > 0 and (found := _exactly(parameters, methods)):
        return found
    if reason := _why_not(parameters, len(methods.train)):
        return {"method": "none"}, unmeasured(reason), torch.empty(0), torch.empty(0)
    retrainer = Retrainer(workspace, parameters, methods.train, validation, methods.inputs.device, cluster)
    return _on_halves(parameters, retrainer, methods, report)


def _exactly(parameters: Parameters, methods: Methods) -> Found | None:
    """By leaving examples out one at a time; None where the model has no minimum, or too few are asked for."""
    count = min(parameters.validation.examples, len(methods.train) - 1)
    if count < SMALLEST:
        return None
    print(f"validate: retraining exactly without each of {count} examples", flush=True)
    try:
        seed = derived_seed(parameters.seed, SAMPLE)
        left_out = leave_one_out.leave_out(methods, count, seed, parameters.compute.memory_bytes)
    except (NotConvergedError, NotPositiveDefiniteError) as error:
        print(f"validate: that failed ({error}); halves are retrained instead", flush=True)
        return None
    measured = leave_one_out.measure(left_out)
    verdict = judge_leave_one_out(measured, count, len(methods.queries.ids))
    about = {"method": "exact leave-one-out", "examples": count, **measured}
    return about, verdict, left_out.predicted[INFLUENCE].mean(dim=0), left_out.actual.mean(dim=0)


def _on_halves(parameters: Parameters, retrainer: Retrainer, methods: Methods, report: dict[str, Any]) -> Found:
    settings = parameters.validation
    truth = halves.retrain(retrainer, settings.subsets, settings.seeds)
    losses, predicted = truth.at(methods.positions), methods.left_out(~truth.members)
    about = {
        "method": "retraining on random halves",
        "subsets": settings.subsets,
        "seeds": settings.seeds,
        "epochs": retrainer.epochs,
        "queries": len(methods.queries.ids),
        **halves.measure(losses, predicted),
    }
    if settings.removal:
        about["removal"] = removal.measure(removal.remove(retrainer, methods, settings.removal, settings.seeds))
    if settings.stability:
        about["stability"] = stability.compare(retrainer, parameters, methods, report["damping"], report["curvature"])
    return about, judge_halves(about), predicted[INFLUENCE].mean(dim=0), losses.mean(dim=(0, 1))


def _why_not(parameters: Parameters, examples: int) -> str | None:
    """Why nothing is retrained on halves, if so."""
    if parameters.train.checkpoint is not None:
        return "the weights were given, and the training that made them is not known"
    if parameters.validation.subsets == 0:
        return "`validate.subsets` is 0"
    if examples < 2 * SMALLEST:
        return f"there are {examples} training examples only"
    return None


def _rows(predicted: Tensor, actual: Tensor) -> str:
    """Mean over the queries, a line for each model that was retrained: `dvc plots` draws one against the other."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["predicted", "actual"])
    for pair in zip(predicted.tolist(), actual.tolist(), strict=True):
        writer.writerow([f"{value:.6g}" for value in pair])
    return text.getvalue()


if __name__ == "__main__":
    main("validate", run)
