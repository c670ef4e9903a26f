"""This library's jobs, through its public face: `python -m benchmarks.speed.ours JOB FOLDER --examples N`."""

import torch
from torch import Tensor

from benchmarks.speed.bench import DAMPING, DECAY, Bench, run_job, scored
from benchmarks.speed.measure import Cost, measured
from influence import Influence, SoftmaxCrossEntropy

RANK = 4  # of the low-rank inverse


def regression_pairwise(bench: Bench) -> Cost:
    """The exact Hessian is that of Gauss and Newton, the model being linear."""
    model, train, queries = bench.model("regression"), bench.train(), bench.queries()
    objective = SoftmaxCrossEntropy(weight_decay=DECAY)

    def job() -> Tensor:
        return Influence(model, objective, train, curvature="gauss-newton", solver="direct").pairwise(queries)

    return scored(bench, "ours-regression-pairwise", job)


def mlp_fit(bench: Bench) -> Cost:
    model, train = bench.model("mlp"), bench.train()
    return measured(lambda: _engine(model, train))[1]


def mlp_self(bench: Bench) -> Cost:
    engine = _engine(bench.model("mlp"), bench.train())
    return scored(bench, "ours-mlp-self", engine.self_influence)


def mlp_pairwise(bench: Bench) -> Cost:
    engine, queries = _engine(bench.model("mlp"), bench.train()), bench.queries()
    return scored(bench, "ours-mlp-pairwise", lambda: engine.pairwise(queries))


def mlp_low_rank(bench: Bench) -> Cost:
    """The engine measures the error of its scores itself, within the job."""
    engine, queries = _engine(bench.model("mlp"), bench.train(), low_rank=RANK), bench.queries()
    return scored(bench, "ours-mlp-low-rank", lambda: engine.pairwise(queries))


def mlp_top(bench: Bench) -> Cost:
    engine, queries = _engine(bench.model("mlp"), bench.train()), bench.queries()
    return measured(lambda: engine.top(queries, k=20))[1]


def cnn_fit_and_self(bench: Bench) -> Cost:
    model, train = bench.model("cnn"), bench.train()
    return scored(bench, "ours-cnn-fit-and-self", lambda: _engine(model, train).self_influence())


def _engine(model: torch.nn.Module, train: tuple[Tensor, Tensor], low_rank: int | None = None) -> Influence:
    return Influence(model, SoftmaxCrossEntropy(), train, curvature="ekfac", damping=DAMPING, low_rank=low_rank)


JOBS = {
    "regression-pairwise": regression_pairwise,
    "mlp-fit": mlp_fit,
    "mlp-self": mlp_self,
    "mlp-pairwise": mlp_pairwise,
    "mlp-low-rank": mlp_low_rank,
    "mlp-top": mlp_top,
    "cnn-fit-and-self": cnn_fit_and_self,
}

if __name__ == "__main__":
    run_job(JOBS)
