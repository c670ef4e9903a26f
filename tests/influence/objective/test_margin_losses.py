"""Binary cross-entropy, hinge and smooth hinge."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from influence.objective import BinaryCrossEntropy, Hinge, Objective, SmoothHinge, SoftmaxCrossEntropy

BINARY, HINGE = BinaryCrossEntropy(), Hinge()
LOGITS = st.floats(-1e4, 1e4)


@given(logit=LOGITS, target=st.sampled_from([0, 1]))
def test_binary_cross_entropy_is_softmax_with_a_second_logit_of_zero(logit: float, target: int) -> None:
    single = torch.tensor([[logit]], dtype=torch.float64)
    both = torch.cat([torch.zeros_like(single), single], dim=1)
    label = torch.tensor([target])
    assert float(BINARY.loss(single, label)) == pytest.approx(float(SoftmaxCrossEntropy().loss(both, label)), abs=1e-15)
    for name in ("margin", "log_odds"):
        found = getattr(BINARY, name)(single, label)
        assert float(found) == float(getattr(SoftmaxCrossEntropy(), name)(both, label))


@pytest.mark.parametrize("logit", [-80.0, -20.0, 0.0, 20.0, 80.0])
def test_binary_curvature_keeps_its_digits_at_large_logits(logit: float) -> None:
    """p (1 - p) as 1 / (2 + 2 cosh f), in float32."""
    found = BINARY.output_hessian_product(torch.tensor([[logit]]), torch.tensor([1]), torch.ones(1, 1))
    assert float(found) == pytest.approx(1 / (2 + 2 * math.cosh(logit)), rel=1e-5)


@given(output=LOGITS, target=st.sampled_from([-1, 1]))
def test_hinge_is_what_the_margin_lacks_to_one(output: float, target: int) -> None:
    found = HINGE.loss(torch.tensor([[output]], dtype=torch.float64), torch.tensor([target]))
    assert float(found) == max(0.0, 1.0 - target * output)


@given(margin=st.floats(-50, 50), temperature=st.sampled_from([1e-3, 0.1, 1.0]))
def test_smooth_hinge_is_its_formula_and_comes_within_t_log_2_of_the_hinge(margin: float, temperature: float) -> None:
    outputs, targets = torch.tensor([[margin]], dtype=torch.float64), torch.tensor([1])
    found = float(SmoothHinge(temperature).loss(outputs, targets))
    exponent = (1 - margin) / temperature
    formula = temperature * (math.log1p(math.exp(-abs(exponent))) + max(exponent, 0.0))
    assert found == pytest.approx(formula, rel=1e-12, abs=1e-300)
    hinge = float(HINGE.loss(outputs, targets))
    assert -1e-14 * hinge <= found - hinge <= temperature * math.log(2) * (1 + 1e-12)


@pytest.mark.parametrize("margin", [-1e3, 0.0, 0.999, 1.0, 1.001, 1e3])
def test_smooth_hinge_has_finite_derivatives_at_the_papers_temperature_in_float32(margin: float) -> None:
    objective, target = SmoothHinge(0.001), torch.tensor([-1])
    at = torch.tensor([[-margin]], requires_grad=True)
    (slope,) = torch.autograd.grad(objective.loss(at, target).sum(), at)
    sigma = 1 / (1 + math.exp(min((margin - 1) / 0.001, 700.0)))
    assert float(slope) == pytest.approx(sigma, abs=1e-4)  # -y sigma((1 - s) / t)
    curvature = objective.output_hessian_product(at.detach(), target, torch.ones(1, 1))
    assert float(curvature) == pytest.approx(sigma * (1 - sigma) / 0.001, rel=1e-3, abs=1e-30)
    differentiated = Objective.output_hessian_product(objective, at.detach(), target, torch.ones(1, 1))
    assert float(differentiated) == pytest.approx(float(curvature), rel=1e-3, abs=1e-12)


SIGNED = [torch.int64, torch.int8, torch.float32, torch.float64]


@pytest.mark.parametrize(
    ("objective", "dtype"),
    [(BINARY, dtype) for dtype in (*SIGNED, torch.uint8, torch.bool)]
    + [(objective, dtype) for objective in (HINGE, SmoothHinge()) for dtype in SIGNED],
)
def test_outputs_and_targets_may_have_one_column_or_none_and_any_dtype(
    objective: Objective, dtype: torch.dtype
) -> None:
    outputs = torch.tensor([0.5, -2.0, 3.0])
    targets = torch.tensor([1, 0, 0]) if objective is BINARY else torch.tensor([1, -1, -1])
    expected = objective.loss(outputs.unsqueeze(1), targets)
    assert expected.shape == (3,) and expected.dtype == torch.float32
    for given_outputs in (outputs, outputs.unsqueeze(1)):
        for given_targets in (targets.to(dtype), targets.to(dtype).unsqueeze(1)):
            assert torch.equal(objective.loss(given_outputs, given_targets), expected)
    assert objective.margin(outputs, targets).tolist() == [0.5, 2.0, -3.0]


def test_messages() -> None:
    with pytest.raises(ValueError, match=r"targets of BinaryCrossEntropy are 0 or 1, not -1"):
        BINARY.loss(torch.zeros(2, 1), torch.tensor([1, -1]))
    with pytest.raises(ValueError, match=r"targets of Hinge are -1 or 1, not 0"):
        HINGE.loss(torch.zeros(2, 1), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"targets of SmoothHinge are -1 or 1, not 0.5"):
        SmoothHinge().loss(torch.zeros(2, 1), torch.tensor([0.5, 1.0]))
    with pytest.raises(ValueError, match=r"takes one output and one target an example.*not \[2, 3\] and \[2\]"):
        BINARY.loss(torch.zeros(2, 3), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"not \[2, 1\] and \[4\]"):
        HINGE.loss(torch.zeros(2, 1), torch.ones(4))
    for temperature in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="temperature of SmoothHinge must be positive"):
            SmoothHinge(temperature)
    with pytest.raises(TypeError, match="Hinge states no probabilities"):
        HINGE.log_odds(torch.zeros(2, 1), torch.ones(2))
