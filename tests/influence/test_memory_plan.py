"""The memory limit holds, measured in processes of their own; what it leaves at once never changes an answer."""

import subprocess
import sys

import pytest
import torch
from oracle import make_problem, relative_error

from influence import Influence
from influence.layers import PerExampleGradients
from influence.memory_plan import MemoryPlan
from influence.peak_memory import PeakMemory

MIB = 2**20
LIMIT = 32 * MIB

JOB = """
import sys, torch
from torch import nn
from influence import Influence, SoftmaxCrossEntropy
from influence.peak_memory import PeakMemory

torch.manual_seed(0)
torch.set_num_threads(1)
curvature, kind, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
if kind == "dense":
    model, inputs = nn.Sequential(nn.Linear(500, 120), nn.ReLU(), nn.Linear(120, 5)), torch.randn(500, 500)
else:
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    model, inputs = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 5)), torch.randn(300, 3, 20, 20)
data = (inputs, torch.arange(len(inputs)) % 5)

def job(data, queries, memory_limit):
    engine = Influence(
        model, SoftmaxCrossEntropy(0.01), data, curvature, damping=0.1, memory_limit=memory_limit, max_iterations=1
    )
    engine.pairwise(queries)
    engine.top(queries, k=5)

few, queries = tuple(part[:4] for part in data), tuple(part[:120] for part in data)
job(few, few, limit)  # loads what torch loads late
memory = PeakMemory(torch.device("cpu"))
job(data, queries, limit)
print(memory.growth())
job(data, queries, 2**32)
print(memory.growth())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read on Linux only")
@pytest.mark.parametrize(
    ("curvature", "kind"), [("ekfac", "dense"), ("gauss-newton", "dense"), ("gauss-newton", "convolutions")]
)
def test_engine_pairwise_and_top_stay_within_the_limit(curvature: str, kind: str) -> None:
    command = [sys.executable, "-c", JOB, curvature, kind, str(LIMIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    within, without = (int(line) / MIB for line in done.stdout.split())
    assert within <= LIMIT / MIB, within
    assert without > LIMIT / MIB, without  # the job is one that takes more if it may


def test_shares_grow_with_the_limit_and_are_one_at_least() -> None:
    problem, data = make_problem("mlp without bias")
    gradients, one = PerExampleGradients(problem, data.inputs[:2]), (data.inputs[:1], data.targets[:1])
    for exact in (True, False):
        plans = [MemoryPlan.of(gradients, *one, limit, exact) for limit in (1, 10_000, 100_000, 10 * MIB)]
        for name in ("solved", "scored", "examples", "read"):
            sizes = [getattr(plan, name) for plan in plans]
            assert sizes[0] == 1 and sizes == sorted(sizes) and sizes[-1] > 1
        vectors = 8 * problem.parameter_count
        assert all(
            2 * plan.scored * vectors <= limit for plan, limit in zip(plans[2:], (100_000, 10 * MIB), strict=True)
        )


@pytest.mark.parametrize("curvature", ["gauss-newton", "ekfac", "diagonal"])
def test_halving_what_is_done_at_once_changes_nothing(curvature: str) -> None:
    answers = []
    for memory_limit in (MIB, MIB // 2, 20_000, 1):
        problem, data = make_problem("sequence")
        engine = Influence(
            problem.model,
            problem.objective,
            data,
            curvature,
            "direct",
            0.1,
            memory_limit=memory_limit,  # type: ignore[arg-type]
        )
        top = engine.top(data, 3)
        answers.append(
            [
                engine.pairwise(data, "margin", "cosine"),
                engine.self_influence(),
                engine.group([[1, 2]], data).first_order,
                engine.perturbation(data, [4]),
                top.helpful()[1],
                top.harmful()[1],
            ]
        )
    for other in answers[1:]:
        assert all(relative_error(same, one) <= 1e-11 for one, same in zip(answers[0], other, strict=True))


def test_the_growth_of_memory_is_seen() -> None:
    memory = PeakMemory(torch.device("cpu"))
    grown = memory.growth()
    if grown is None:
        pytest.skip("this system does not tell")
    held = torch.ones(256 * MIB // 4)  # more than this process is likely to have given back
    after = memory.growth()
    assert after is not None and after >= grown and after >= 0.9 * held.nbytes - grown


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_growth_of_memory_on_a_cuda_device_is_exact() -> None:
    memory = PeakMemory(torch.device("cuda"))
    torch.ones(64 * MIB // 4, device="cuda")
    assert memory.growth() == 64 * MIB
