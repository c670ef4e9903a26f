"""Models trained at once, against the same models trained one after the other."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from influence.objective import SoftmaxCrossEntropy
from influence.retraining import Recipe, Retraining, Run, stacked_outputs
from influence.retraining.descent import Positions

EXAMPLES, WIDTH, CLASSES, PIXELS = 40, 5, 3, 6
OBJECTIVE = SoftmaxCrossEntropy(weight_decay=0.01)
INPUTS = torch.randn(EXAMPLES, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGETS = torch.randint(CLASSES, (EXAMPLES,), generator=torch.Generator().manual_seed(1))
RUNS = [Run(np.random.default_rng(index).permutation(EXAMPLES)[:17], seed=index % 2) for index in range(3)]


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 7), nn.Tanh(), nn.Linear(7, CLASSES))


def start(seed: int, build: Callable[[], nn.Module] = mlp) -> nn.Module:
    torch.manual_seed(seed)
    return build().double()


def read(positions: Positions) -> tuple[Tensor, Tensor]:
    return INPUTS[positions], TARGETS[positions]


def recipe(optimizer: str = "sgd") -> Recipe:
    made = partial(torch.optim.SGD, lr=1.0, momentum=0.9) if optimizer == "sgd" else partial(torch.optim.Adam, lr=1.0)
    return Recipe(made, lambda step, steps: 0.1 * (1 - step / steps), 4, 5, lambda seed, epoch: 100 * seed + epoch)


def by_hand(run: Run, epochs: int, optimizer: str, build: Callable[[], nn.Module] = mlp) -> nn.Module:
    """The training loop as one would write it."""
    model, plan = start(run.seed, build).train(), recipe(optimizer)
    stepper, step = plan.optimizer(list(model.parameters())), 0
    for epoch in range(1, epochs + 1):
        torch.manual_seed(100 * run.seed + epoch)
        order = np.random.default_rng(100 * run.seed + epoch).permutation(len(run.examples))
        batches = np.array_split(run.examples[order], 4)
        for batch in batches:
            stepper.param_groups[0]["lr"] = 0.1 * (1 - step / 16)
            stepper.zero_grad()
            loss = nn.functional.cross_entropy(model(INPUTS[batch]), TARGETS[batch])
            squares = sum(value.square().sum() for name, value in model.named_parameters() if "bias" not in name)
            (loss + 0.005 * squares).backward()
            stepper.step()
            step += 1
    return model


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_models_trained_at_once_are_those_trained_alone(optimizer: str) -> None:
    retraining = Retraining(start, OBJECTIVE, recipe(optimizer), read)
    assert retraining.together > 1
    found = retraining.train(RUNS, epochs=3)
    for index, run in enumerate(RUNS):
        alone = by_hand(run, 3, optimizer)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(found[name][index], value, rtol=1e-9, atol=1e-12)


def test_the_same_seeds_give_the_same_bits_and_others_do_not() -> None:
    retraining = Retraining(start, OBJECTIVE, recipe(), read)
    first, again = (retraining.train(RUNS, epochs=2) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = retraining.train([Run(run.examples, run.seed + 5) for run in RUNS], epochs=2)
    assert not torch.equal(first["0.weight"], other["0.weight"])


class Drops(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.drop = mlp(), nn.Dropout(0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.body(self.drop(inputs))
        return outputs


def normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, CLASSES))


class Ties(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode, self.output = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)
        self.decode.weight = self.encode.weight

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.output(self.decode(self.encode(inputs).tanh()))
        return outputs


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.body(inputs)
        return outputs if outputs.sum() > 0 else 2 * outputs


@pytest.mark.parametrize("build", [Drops, normalised, Ties, Branches])
def test_what_vmap_cannot_do_is_trained_in_a_loop(build: Callable[[], nn.Module]) -> None:
    retraining = Retraining(partial(start, build=build), OBJECTIVE, recipe(), read)
    assert retraining.together == 1 and [len(chunk) for chunk in retraining.chunks(RUNS)] == [1, 1, 1]
    found, alone = retraining.train(RUNS[1:2], epochs=2), by_hand(RUNS[1], 2, "sgd", build)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(found[name][0], value, rtol=1e-9, atol=1e-12)


def test_convolutions_on_a_cpu_are_left_to_the_loop() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Unflatten(1, (1, WIDTH)), nn.Conv1d(1, 2, 2), nn.Flatten(), nn.Linear(8, CLASSES))

    assert Retraining(partial(start, build=build), OBJECTIVE, recipe(), read).together == 1


def test_frozen_parameters_are_left_alone() -> None:
    def build() -> nn.Module:
        model = mlp()
        model[0].weight.requires_grad_(False)
        return model

    found = Retraining(partial(start, build=build), OBJECTIVE, recipe(), read).train(RUNS[:1], epochs=2)
    fresh = start(RUNS[0].seed, build).state_dict()
    assert torch.equal(found["0.weight"][0], fresh["0.weight"])
    assert not torch.equal(found["2.weight"][0], fresh["2.weight"])


def test_chunks_hold_runs_of_one_size_and_no_more_than_memory_allows() -> None:
    sizes = [17] * 18 + [18] * 2
    runs = [Run(np.arange(size), 0) for size in sizes]
    retraining = Retraining(start, OBJECTIVE, recipe(), read)
    assert [len(chunk) for chunk in retraining.chunks(runs)] == [16, 2, 2]
    assert Retraining(start, OBJECTIVE, recipe(), read, memory_limit=1).together == 1


def test_the_epochs_are_told() -> None:
    told: list[int] = []
    Retraining(start, OBJECTIVE, recipe(), read).train(RUNS, 3, told.append)
    assert told == [1, 2, 3]


@pytest.mark.parametrize(
    ("runs", "epochs", "message"),
    [
        ([], 1, "not one chunk"),
        ([RUNS[0], Run(np.arange(3), 0)], 1, "not one chunk"),
        ([Run(np.array([1, 1, 2]), 0)], 1, "twice"),
        (RUNS, 5, "plans 4 epochs, not 5"),
    ],
)
def test_runs_that_make_no_sense_are_refused(runs: list[Run], epochs: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Retraining(start, OBJECTIVE, recipe(), read).train(runs, epochs)


def test_the_outputs_of_a_stack_are_those_of_its_models() -> None:
    found = Retraining(start, OBJECTIVE, recipe(), read).train(RUNS, epochs=1)
    outputs = stacked_outputs(start(9), OBJECTIVE, found, INPUTS[:4])
    torch.testing.assert_close(outputs[2], by_hand(RUNS[2], 1, "sgd")(INPUTS[:4]).detach())
