import pytest
import torch
from layer_checks import check, randn
from oracle import flatten, loss_gradients, make_problem, networks, output_jacobians, relative_error, unflatten
from torch import Tensor, nn

from influence.layers import GradientBlock, PerExampleGradients, as_vectors, rule
from influence.layers.cotangents import hessian_columns

RULED = {
    "logistic": {"1"},
    "mlp without bias": {"0", "2"},
    "convolutions": {"0", "2", "5"},
    "grouped convolution and norm": {"0", "4"},
    "batch norm": {"0", "3"},
    "layer norm": {"0", "3"},
    "sequence": {"0", "3"},
    "shared module": {"0", "1", "4"},
    "shared weight": {"last"},
    "folded batch": {"last"},
    "learned scale": {"last"},
    "attention": {"last"},
}


@pytest.mark.parametrize("name", networks())
def test_loss_gradients_are_those_of_autograd(name: str) -> None:
    problem, data = make_problem(name)
    gradients = PerExampleGradients(problem, data.inputs[:2])
    assert {layer.name for layer in gradients.layers} == RULED[name]
    found = flatten(as_vectors(gradients, gradients.read(data.inputs, targets=data.targets)))
    assert relative_error(found, loss_gradients(problem, data)) <= 1e-12


@pytest.mark.parametrize("name", networks())
def test_contractions_equal_those_of_dense_gradients(name: str) -> None:
    problem, data = make_problem(name)
    gradients = PerExampleGradients(problem, data.inputs[:2])
    generator = torch.Generator().manual_seed(5)
    cotangents = torch.randn(4, len(data), 3, generator=generator, dtype=torch.float64)
    vectors = torch.randn(2, problem.parameter_count, generator=generator, dtype=torch.float64)
    weights = torch.randn(4, len(data), 2, generator=generator, dtype=torch.float64)
    dense = torch.einsum("lbc,bcp->lbp", cotangents, output_jacobians(problem, data))

    block = GradientBlock(gradients, gradients.read(data.inputs, cotangents))
    along = block.along(unflatten(vectors, problem.parameters))
    assert relative_error(along, torch.einsum("lbp,kp->lbk", dense, vectors)) <= 1e-12
    combined = flatten(block.combine(weights, {name: value.shape for name, value in problem.parameters.items()}))
    assert relative_error(combined, torch.einsum("lbp,lbk->kp", dense, weights)) <= 1e-12


def test_only_chosen_parameters_are_read() -> None:
    model, _shape = networks()["convolutions"]
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    model[5].bias.requires_grad_(False)
    problem, data = make_problem("convolutions")
    problem = type(problem)(model, problem.objective)
    gradients = PerExampleGradients(problem, data.inputs[:2])
    found = flatten(as_vectors(gradients, gradients.read(data.inputs, targets=data.targets)))
    assert list(problem.parameters) == ["2.weight", "5.weight"]
    assert relative_error(found, loss_gradients(problem, data)) <= 1e-12


def test_the_expectation_over_labels_is_sampled_above_the_limit() -> None:
    problem, data = make_problem("logistic", examples=2)
    outputs = problem.outputs(problem.parameters, data.inputs)
    identity = torch.eye(3, dtype=torch.float64).unsqueeze(1)
    truth = problem.objective.output_hessian_product(outputs, data.targets, identity)
    exact = hessian_columns(problem, outputs, data.targets, limit=3)
    assert relative_error(torch.einsum("lbc,lbd->bcd", exact, exact), truth.transpose(0, 1)) <= 1e-12
    many, targets = outputs.repeat(20000, 1), data.targets.repeat(20000)
    sampled = hessian_columns(problem, many, targets, limit=2).view(2, 20000, 2, 3)
    estimate = torch.einsum("lnbc,lnbd->bcd", sampled, sampled) / 20000
    assert relative_error(estimate, truth.transpose(0, 1)) <= 0.03
    gradients = PerExampleGradients(problem, data.inputs[:2])
    assert len(gradients.read_columns(data.inputs, data.targets, limit=2).layers["1"].gradients) == 2


class Doubled(nn.Linear):
    """A layer type of its own, which the rule for Linear would get wrong."""

    def forward(self, inputs: Tensor) -> Tensor:
        return 2.0 * super().forward(inputs)


@pytest.mark.parametrize("wrong", ["outer products", "direct"])
def test_a_rule_that_is_not_the_truth_is_not_used(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outer = rule.find_rule(nn.Linear(4, 4))
    direct = rule.DirectRule(
        2, lambda module, inputs, gradients: {"weight": gradients.unsqueeze(-1) * inputs.unsqueeze(1)}
    )
    monkeypatch.setitem(rule._RULES, Doubled, {"outer products": outer, "direct": direct}[wrong])
    model = nn.Sequential(Doubled(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 3)).double()
    gradients = check(model, randn(5, 4), {"2"})
    assert gradients.rest == ["0.weight"]
