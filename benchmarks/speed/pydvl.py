"""pyDVL's job, in its own environment: `python -m benchmarks.speed.pydvl JOB FOLDER --examples N`."""

import torch
import torch.nn.functional as F
from pydvl.influence.torch import DirectInfluence
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.speed.bench import DECAY, Bench, run_job, scored
from benchmarks.speed.measure import Cost

BATCH = 2000  # of 100 to 2,000 the one that took it the least CPU time


def regression_pairwise(bench: Bench) -> Cost:
    """The full Hessian by automatic differentiation, a dense solve for all queries, and scores batch by batch."""
    model, train, (inputs, targets) = bench.model("regression"), TensorDataset(*bench.train()), bench.queries()

    def job() -> Tensor:
        loader = DataLoader(train, batch_size=BATCH)
        influence = DirectInfluence(model, F.cross_entropy, regularization=DECAY).fit(loader)
        factors = influence.influence_factors(inputs, targets)
        return torch.cat([influence.influences_from_factors(factors, *batch) for batch in loader], dim=1)

    return scored(bench, "pydvl-regression-pairwise", job)


JOBS = {"regression-pairwise": regression_pairwise}

if __name__ == "__main__":
    run_job(JOBS)
