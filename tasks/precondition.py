"""Learn the curvature of the training loss, and solve for every query what the scores need of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from influence.curvature import EKFAC
from influence.damping import Relative, absolute
from influence.inverse import Solution
from influence.layers import PerExampleGradients, as_vectors
from influence.memory import gradient_batch
from influence.vectors import Vectors, block, zeros_like
from tasks.artifacts import fingerprint, write_json
from tasks.cluster import cluster_of
from tasks.content import content_key
from tasks.dataset import Split, load_split
from tasks.determinism import deterministic
from tasks.device import device_slot
from tasks.parameters import Curvature, Parameters, RelativeDamping
from tasks.problem import load_gradients, model_identity
from tasks.progress import Progress
from tasks.query_choice import choose_queries, misread
from tasks.shard_worker import Advance, Compute
from tasks.shards import Shards, shard_path
from tasks.solver import Solver, curvature_examples, factors_of, fit
from tasks.stage import Work, main
from tasks.tensors import read_tensors, write_tensors
from tasks.validation.damping import Candidate, require_training, tune
from tasks.validation.retrainer import Retrainer
from tasks.workspace import Workspace

ERRORS = "errors"
QUERIES_AT_ONCE = 64


def run(workspace: Workspace, parameters: Parameters) -> Work:
    """Fit EK-FAC and solve the queries' inverse-Hessian-vector products.

    Raises:
        UserError: the curvature cannot be inverted with this damping.
    """
    settings = parameters.precondition
    require_training(parameters)
    train, validation = load_split(workspace, "train"), load_split(workspace, "validation")
    chosen = choose_queries(workspace, validation, settings, parameters.seed)
    chunks = _chunks(validation, chosen)
    curved = curvature_examples(train, settings, parameters.seed)
    seen: list[object] = [content_key(curved, labelled=False)]  # the curvature knows no labels but the model's own
    if "auto" in (settings.curvature, settings.damping):
        seen += [content_key(train), content_key(validation), chosen.tolist()]
    identity = model_identity(workspace, parameters, [])
    shards = Shards(workspace.work, "precondition", fingerprint(identity, settings.model_dump(), parameters.seed, seen))
    with (
        device_slot(parameters.compute.device, workspace.work) as device,
        deterministic(),
        cluster_of(workspace, parameters, device) as cluster,
    ):
        gradients = load_gradients(workspace, parameters, train, device)

        def solver_at(curvature: Curvature, damping: float | RelativeDamping) -> Solver:
            def fitted(_: str) -> dict[str, Tensor]:
                return fit(gradients, curved, settings, curvature, parameters.compute.memory_bytes).state()

            name = factors_of(curvature)
            shards.run([name], fitted)
            factors = _factors(gradients, shards.read(name))
            own = Relative(damping.relative) if isinstance(damping, RelativeDamping) else damping
            return Solver(factors, curved, parameters, absolute(own, factors.mean_eigenvalue()), curvature)

        def solve_at(candidate: Candidate, right: Vectors) -> Vectors:
            return solver_at(candidate.curvature, RelativeDamping(relative=candidate.damping)).solve(right).vectors

        curvature, damping, tuned = settings.curvature, settings.damping, dict[Candidate, float]()
        if curvature == "auto" or damping == "auto":
            retrainer = Retrainer(workspace, parameters, train, validation, device, cluster)
            tuned = tune(shards, retrainer, gradients, chosen, solve_at)
            best = max(tuned, key=tuned.__getitem__)
            curvature, damping = best.curvature, RelativeDamping(relative=best.damping)
        solver = solver_at(curvature, damping)

        finished = sum(len(chunk) for name, chunk in chunks.items() if shards.done(name))
        progress = Progress(f"precondition: {curvature}", len(chosen), "queries", done=finished)
        solve, job = _solve_chunks(solver, validation, chunks), None
        if cluster is not None:
            factors = str(shard_path(shards.folder, factors_of(curvature)).resolve())
            arguments = {"curvature": curvature, "damping": solver.damping, "factors": factors}
            job = cluster.job("tasks.precondition:query_solver", progress, **arguments)
        shards.run(list(chunks), lambda name: solve(name, progress.advance), job)
        wrong = validation.subset(np.flatnonzero(misread(workspace, validation)))
        together = f"{ERRORS}-{content_key(wrong)}"
        shards.run([together], lambda name: solve_together(gradients, solver, wrong, parameters.compute.memory_bytes))
        ids = [validation.ids[index] for index in chosen]
        _write(workspace, shards, list(chunks), together, ids, solver, len(wrong), tuned)
    shards.keep([factors_of(curvature), *chunks, together])
    return Work(len(train), str(device))


def query_solver(
    workspace: Workspace,
    parameters: Parameters,
    device: torch.device,
    curvature: Curvature,
    damping: float,
    factors: str,
) -> Compute:
    """For `tasks.shard_worker`: solves the chunks of queries with the factors fitted by the stage."""
    train, validation = load_split(workspace, "train"), load_split(workspace, "validation")
    gradients = load_gradients(workspace, parameters, train, device)
    curved = curvature_examples(train, parameters.precondition, parameters.seed)
    solver = Solver(_factors(gradients, read_tensors(Path(factors))[0]), curved, parameters, damping, curvature)
    chosen = choose_queries(workspace, validation, parameters.precondition, parameters.seed)
    return _solve_chunks(solver, validation, _chunks(validation, chosen))


def _factors(gradients: PerExampleGradients, state: dict[str, Tensor]) -> EKFAC:
    device = gradients.problem.device
    return EKFAC.from_state(gradients, {name: tensor.to(device) for name, tensor in state.items()})


def _solve_chunks(solver: Solver, validation: Split, chunks: dict[str, np.ndarray]) -> Compute:
    """Solves for a chunk of queries by its name."""
    gradients = solver.ekfac.gradients

    def solve(name: str, advance: Advance) -> dict[str, Tensor]:
        inputs, targets = validation.batch(chunks[name], gradients.problem.device)
        solution = solver.solve(query_gradients(gradients, inputs, targets))
        advance(len(targets), f"residual {solution.certificate.relative_residual.max():.2g}")
        return _as_tensors(solution)

    return solve


def _chunks(validation: Split, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """The queries that are solved for in one block, by a name that holds the hash of what they are."""
    starts = range(0, len(chosen), QUERIES_AT_ONCE)
    parts = {start // QUERIES_AT_ONCE: chosen[start : start + QUERIES_AT_ONCE] for start in starts}
    return {f"queries-{place:04d}-{content_key(validation, part)}": part for place, part in parts.items()}


def solve_together(gradients: PerExampleGradients, solver: Solver, queries: Split, memory: int) -> dict[str, Tensor]:
    """The solution for the summed loss of many queries, one vector {name: [1, *shape]}; zero where there is none."""
    total = zeros_like(block(gradients.problem.parameters))
    if not len(queries):
        return total
    probe, _ = queries.batch(slice(0, 1), gradients.problem.device)
    for inputs, targets in queries.batches(gradient_batch(gradients.problem, probe, memory), gradients.problem.device):
        own = query_gradients(gradients, inputs, targets)
        total = {name: value + own[name].sum(dim=0, keepdim=True) for name, value in total.items()}
    return solver.solve(total).vectors


def query_gradients(gradients: PerExampleGradients, inputs: Tensor, targets: Tensor) -> Vectors:
    """Gradient of each query's loss, a block of as many vectors."""
    return as_vectors(gradients, gradients.read(inputs, targets=targets))


def _as_tensors(solution: Solution) -> dict[str, Tensor]:
    certificate = solution.certificate
    return {
        **{f"solutions/{name}": value for name, value in solution.vectors.items()},
        "relative_residual": certificate.relative_residual,
        "iterations": certificate.iterations,
        "converged": certificate.converged,
        "negative_curvature": certificate.negative_curvature,
        "stagnated": certificate.stagnated,
        "operator_products": torch.tensor([certificate.operator_products]),
    }


def _write(
    workspace: Workspace,
    shards: Shards,
    names: list[str],
    together: str,
    query_ids: list[str],
    solver: Solver,
    misread: int,
    tuned: dict[Candidate, float],
) -> None:
    parts = [shards.read(name) for name in names]
    joined = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    errors = {f"{ERRORS}/{name}": value for name, value in shards.read(together).items()}
    description = {
        "damping": solver.damping,
        "mean_eigenvalue": solver.ekfac.mean_eigenvalue(),
        "examples": solver.examples,
        "curvature": solver.curvature,
        "solver": solver.description,
    }
    write_tensors(workspace.factors, shards.read(factors_of(solver.curvature)), description)
    write_tensors(workspace.queries, {**joined, **errors}, {**description, "query_ids": json.dumps(query_ids)})
    residual, iterations = joined["relative_residual"], joined["iterations"]
    converged = int(joined["converged"].sum())
    report: dict[str, Any] = {
        **description,
        "weight_decay": solver.shift - solver.damping,
        "parameters": solver.ekfac.gradients.problem.parameter_count,
        "queries": len(query_ids),
        "misread": misread,
        "converged": converged,
        "tolerance": solver.settings.tolerance,
        "largest_residual": float(residual.max()),
        "median_residual": float(residual.median()),
        "largest_iterations": int(iterations.max()),
        "median_iterations": int(iterations.median()),
        "operator_products": int(joined["operator_products"].sum()),
        "negative_curvature": int(joined["negative_curvature"].sum()),
        "stagnated": int(joined["stagnated"].sum()),
    }
    if tuned:
        report["tuned"] = [
            {"curvature": candidate.curvature, "damping": candidate.damping, "score": round(score, 4)}
            for candidate, score in tuned.items()
        ]
    write_json(workspace.curvature_report, report)
    print(
        f"precondition: {converged} of {len(query_ids)} queries solved to a relative residual of "
        f"{solver.settings.tolerance:g} (largest {residual.max():.2g}), damping {solver.damping:.3g}",
        flush=True,
    )
    if converged < len(query_ids):
        print(
            "precondition: the others stopped at `precondition.max_iterations`; their influence is less exact, "
            "as the residual stored with it says: raise it, or raise the damping",
            flush=True,
        )


if __name__ == "__main__":
    main("precondition", run)
