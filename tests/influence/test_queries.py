"""What cannot be asked is refused with a sentence, before any work is done."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from influence import BinaryCrossEntropy, Influence, Logit, Relative, SoftmaxCrossEntropy, SquaredError
from influence.inverse_curvature import InverseCurvature
from influence.scores.top import TwoSidedTop

INPUTS, LABELS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 2
QUERIES = (INPUTS[:2], LABELS[:2])


def engine(**options: Any) -> Influence:
    torch.manual_seed(0)
    return Influence(nn.Linear(3, 2), SoftmaxCrossEntropy(0.1), (INPUTS, LABELS), **options)


REFUSED_ENGINES: list[tuple[dict[str, Any], str]] = [
    ({"curvature": "fisher"}, "curvature is one of hessian, .*, not 'fisher'"),
    ({"solver": "magic"}, "solver is one of direct, .*, not 'magic'"),
    ({"preconditioner": "jacobi"}, "preconditioner is one of auto, .*, not 'jacobi'"),
    ({"damping": -0.1}, "damping is a number from 0 on, or Relative"),
    ({"damping": float("nan")}, "damping is a number from 0 on"),
    ({"tolerance": 0.0}, "tolerance must be positive, got 0"),
    ({"max_iterations": 0}, "max_iterations must be at least 1, got 0"),
    ({"memory_limit": 0}, "memory_limit must be positive, got 0"),
    ({"memory_limit": "4 gigs"}, "write a size such as 512MiB"),
    ({"parameters": ["weights"]}, "no parameter 'weights'; it has weight, bias"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED_ENGINES, ids=range(len(REFUSED_ENGINES)))
def test_an_engine_of_unknown_or_impossible_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        engine(**options)


REFUSED_TRAINING: list[tuple[Tensor, Tensor, str]] = [
    (INPUTS[:0], LABELS[:0], "the training set is empty"),
    (INPUTS[:, :2], LABELS, r"cannot read the inputs of the training set, \[N, 2\] of torch.float32"),
    (INPUTS.double(), LABELS, r"\[N, 3\] of torch.float64, with parameters of torch.float32"),
    (INPUTS, LABELS + 1, "target 2 is not a class: the model has 2 outputs, for classes 0 to 1"),
    (INPUTS, LABELS - 100, "target -100 is not a class"),
    (INPUTS, LABELS.float(), r"class indices \[N\] of int64, not \[6\] of torch.float32"),
    (INPUTS, LABELS.unsqueeze(1), r"class indices \[N\] of int64, not \[6, 1\]"),
    (INPUTS, LABELS.int(), r"cannot be computed from outputs \[1, 2\] and targets \[N\] of torch.int32"),
]


@pytest.mark.parametrize(("inputs", "targets", "message"), REFUSED_TRAINING, ids=range(len(REFUSED_TRAINING)))
def test_a_training_set_that_model_or_objective_cannot_take(inputs: Tensor, targets: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Influence(nn.Linear(3, 2), SoftmaxCrossEntropy(), (inputs, targets))


def test_targets_of_other_objectives() -> None:
    with pytest.raises(ValueError, match="targets of BinaryCrossEntropy are 0 or 1, not 2"):
        Influence(nn.Linear(3, 1), BinaryCrossEntropy(), (INPUTS, LABELS + 1))
    with pytest.raises(ValueError, match="a target of SquaredError is NaN or infinite"):
        Influence(nn.Linear(3, 1), SquaredError(), (INPUTS, INPUTS[:, 0].log()))
    with pytest.raises(ValueError, match="takes a target for every output"):
        Influence(nn.Linear(3, 2), SquaredError(), (INPUTS, LABELS.float()))


REFUSED_QUESTIONS: list[tuple[Callable[[Influence], object], type[Exception], str]] = [
    (lambda e: e.pairwise(INPUTS), TypeError, "the query set is of type Tensor: pass two tensors"),
    (lambda e: e.pairwise((INPUTS[:0], LABELS[:0])), ValueError, "the query set is empty"),
    (lambda e: e.pairwise((INPUTS[0], LABELS[:3])), ValueError, r"inputs \[Q, 3\] of torch.float32, not \[Q\]"),
    (lambda e: e.pairwise((INPUTS[:1].unsqueeze(0), LABELS[:1])), ValueError, r"not \[Q, 1, 3\] of torch.float32"),
    (lambda e: e.pairwise((INPUTS.double(), LABELS)), ValueError, r"not \[Q, 3\] of torch.float64"),
    (lambda e: e.pairwise((INPUTS[:, :2], LABELS)), ValueError, "cannot read the inputs of the query set"),
    (lambda e: e.pairwise((INPUTS, LABELS[:2])), ValueError, "must be as many"),
    (lambda e: e.pairwise((INPUTS, LABELS + 1)), ValueError, "target 2 is not a class"),
    (lambda e: e.pairwise(QUERIES, "logodds"), ValueError, "measurement is one of loss, margin, log-odds"),
    (lambda e: e.pairwise(QUERIES, Logit(2)), ValueError, "there is no logit 2"),
    (lambda e: e.pairwise(QUERIES, lambda f, y: f), ValueError, "must be of shape"),
    (lambda e: e.pairwise(QUERIES, relation="relatif"), ValueError, "relation is None or one of theta-relative"),
    (lambda e: e.top(QUERIES, k=0), ValueError, "k must be at least 1, got 0"),
    (lambda e: e.top(QUERIES, relation="relatif"), ValueError, "relation is None or one of"),
    (lambda e: e.group([], QUERIES), ValueError, "no set of training examples"),
    (lambda e: e.group([[0, 6]], QUERIES), ValueError, "no training example 6"),
    (lambda e: e.group([range(6)], QUERIES), ValueError, "6 of 6 examples cannot be left out"),
    (lambda e: e.leave_one_out(QUERIES, [6]), ValueError, "no training example 6: positions go from 0 to 5"),
    (lambda e: e.leave_one_out(QUERIES, []), ValueError, "no position"),
    (lambda e: e.perturbation(QUERIES, [-1]), ValueError, "no training example -1"),
]


@pytest.mark.parametrize(("ask", "error", "message"), REFUSED_QUESTIONS, ids=range(len(REFUSED_QUESTIONS)))
def test_a_question_that_has_no_answer(
    ask: Callable[[Influence], object], error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = engine()

    def work(self: InverseCurvature, right: object) -> None:
        raise AssertionError("a system was solved before the question was looked at")

    monkeypatch.setattr(InverseCurvature, "solve", work)
    with pytest.raises(error, match=message):
        ask(asked)


def test_an_objective_that_has_no_margin() -> None:
    asked = Influence(nn.Linear(3, 1), SquaredError(0.1), (INPUTS, INPUTS[:, 0]))
    with pytest.raises(TypeError, match="SquaredError has no margin"):
        asked.pairwise((INPUTS, INPUTS[:, 0]), "margin")


def test_targets_of_a_measurement_of_one_s_own_are_one_s_own() -> None:
    """They need not be such as the objective takes."""
    weights = torch.randn(2, 2, generator=torch.Generator().manual_seed(1))
    asked = engine(damping=0.1)
    found = asked.pairwise((INPUTS[:2], weights), lambda outputs, targets: (outputs * targets).sum(dim=-1))
    both = torch.stack([asked.pairwise(QUERIES, Logit(index)) for index in (0, 1)], dim=-1)
    assert torch.allclose(found, (both * weights.unsqueeze(1)).sum(dim=-1), rtol=1e-3, atol=1e-6)


def test_a_system_without_solution_is_an_error_that_says_so_or_a_flag() -> None:
    """Softmax is blind to a common shift of the biases, which a logit is not. It takes rounding to decide which."""
    asked = engine()
    try:
        asked.pairwise(QUERIES, Logit(0))
    except FloatingPointError as error:
        assert "singular, or nearly so, along a right-hand side; add damping" in str(error)
    else:
        assert not asked.certificate.converged and asked.certificate.largest_residual > 0.1


def test_relative_damping_must_be_positive() -> None:
    with pytest.raises(ValueError, match="relative damping must be positive"):
        engine(damping=Relative(0.0))


def test_a_top_of_more_than_there_are_holds_what_there_are() -> None:
    top: TwoSidedTop = engine().top(QUERIES, k=100)
    assert top.helpful()[0].shape == (2, 6)
