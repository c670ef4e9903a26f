"""What holds of every layer, whatever rule reads it, against the dense float64 oracles."""

from collections.abc import Collection

import torch
from oracle import (
    decay_diagonal,
    flatten,
    gauss_newton,
    loss_gradients,
    output_jacobians,
    relative_error,
    unflatten,
)
from torch import Tensor, nn

from influence.curvature import EKFAC, FactoredGaussNewton, fit_ekfac
from influence.layers import GradientBlock, PerExampleGradients, as_vectors
from influence.objective import Objective, SoftmaxCrossEntropy
from influence.problem import Problem, TensorData
from influence.scores import SelfInfluence

EXACT = 1e-10
SOFTMAX = SoftmaxCrossEntropy(weight_decay=0.03)


def randn(*shape: int, seed: int = 11) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tokens(*shape: int, entries: int) -> Tensor:
    return torch.randint(entries, shape, generator=torch.Generator().manual_seed(12))


def randomised(model: nn.Module) -> nn.Module:
    """In float64, in evaluation mode, with every parameter and running statistic away from its initial value."""
    generator = torch.Generator().manual_seed(13)
    for name, value in model.double().eval().state_dict().items():
        if value.is_floating_point():
            drawn = 0.5 * torch.randn(value.shape, generator=generator, dtype=torch.float64)
            value.copy_(drawn.exp() if name.endswith("running_var") else drawn)
    return model


def classifier(layer: nn.Module, inputs: Tensor) -> nn.Module:
    """The layer, a nonlinearity and an output layer of three classes."""
    width = layer.to(torch.float64).eval()(inputs[:2]).flatten(1).shape[1]
    return randomised(nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.Linear(width, 3)))


def check(
    model: nn.Module,
    inputs: Tensor,
    layers: Collection[str],
    direct: Collection[str] = (),
    parameters: Collection[str] | None = None,
    objective: Objective = SOFTMAX,
    targets: Tensor | None = None,
) -> PerExampleGradients:
    """Gradients, their contractions, EK-FAC's eigenvalues and self-influence are those of the dense formulas.

    Args:
        model: in float64 and evaluation mode.
        inputs: [N, ...].
        layers: names of the layers that must be read as outer products.
        direct: names of those whose gradients must be written down directly; all others must be left to vmap.
        parameters: names of the parameters that count; None: all.
        objective: with regularised weights.
        targets: [N, ...]; None: labels of three classes.
    """
    problem = Problem(model, objective, parameters)
    data = TensorData(inputs, torch.arange(len(inputs)) % 3 if targets is None else targets)
    gradients = PerExampleGradients(problem, inputs[:2])
    assert {layer.name for layer in gradients.layers} == set(layers)
    assert {layer.name for layer in gradients.direct} == set(direct)
    found = flatten(as_vectors(gradients, gradients.read(inputs, targets=data.targets)))
    assert relative_error(found, loss_gradients(problem, data)) <= EXACT
    _check_contractions(gradients, data)
    truth = gauss_newton(problem, data)
    _check_products(gradients, data, truth)
    ekfac = fit_ekfac(gradients, data, batch_size=3)
    _check_eigenvalues(ekfac, truth)
    _check_self_influence(ekfac, data)
    return gradients


def _check_contractions(gradients: PerExampleGradients, data: TensorData) -> None:
    problem = gradients.problem
    cotangents = randn(4, *problem.outputs(problem.parameters, data.inputs).shape)
    vectors, weights = randn(2, problem.parameter_count), randn(4, len(data), 2)
    dense = torch.einsum("lbc,bcp->lbp", cotangents, output_jacobians(problem, data))
    block = GradientBlock(gradients, gradients.read(data.inputs, cotangents))
    along = block.along(unflatten(vectors, problem.parameters))
    assert relative_error(along, torch.einsum("lbp,kp->lbk", dense, vectors)) <= EXACT
    combined = flatten(block.combine(weights, {name: value.shape for name, value in problem.parameters.items()}))
    assert relative_error(combined, torch.einsum("lbp,lbk->kp", dense, weights)) <= EXACT


def _check_products(gradients: PerExampleGradients, data: TensorData, truth: Tensor) -> None:
    vectors = randn(3, len(truth))
    operator = FactoredGaussNewton(gradients, data)
    product = flatten(operator @ unflatten(vectors, gradients.problem.parameters))
    assert relative_error(product, vectors @ truth) <= EXACT


def _check_eigenvalues(ekfac: EKFAC, truth: Tensor) -> None:
    """What defines EK-FAC: in its own basis, and in the coordinates of the rest, it has G's diagonal."""
    parameters = ekfac.gradients.problem.parameters
    for layer in ekfac.gradients.layers:
        factors = ekfac.layers[layer.name]
        for basis in (factors.activation_basis, factors.gradient_basis):
            assert basis is not None and relative_error(basis.T @ basis, torch.eye(len(basis)).double()) <= EXACT
        out, width = factors.eigenvalues.shape
        directions = factors.rotate_back(torch.eye(out * width, dtype=torch.float64).view(-1, out, width))
        vectors = {name: torch.zeros(len(directions), *value.shape).double() for name, value in parameters.items()}
        vectors[layer.weight] = directions[..., : -1 if layer.bias else None].reshape(vectors[layer.weight].shape)
        if layer.bias:
            vectors[layer.bias] = directions[..., -1]
        flat = flatten(vectors)
        assert relative_error(factors.eigenvalues.flatten(), ((flat @ truth) * flat).sum(dim=1)) <= EXACT
    diagonal = unflatten(truth.diagonal().unsqueeze(0), parameters)
    assert list(ekfac.rest) == ekfac.gradients.rest
    for name, value in ekfac.rest.items():
        assert torch.allclose(value, diagonal[name][0], rtol=EXACT, atol=1e-14)


def _check_self_influence(ekfac: EKFAC, data: TensorData) -> None:
    problem = ekfac.gradients.problem
    shift, identity = 0.2, torch.eye(problem.parameter_count, dtype=torch.float64)
    operator = flatten(ekfac @ unflatten(identity, problem.parameters)) + shift * identity
    gradients = loss_gradients(problem, data)
    shares = gradients + decay_diagonal(problem) * torch.cat([p.flatten() for p in problem.parameters.values()])
    truth = (gradients * torch.linalg.solve(operator, shares.T).T).sum(dim=1) / len(data)
    assert relative_error(SelfInfluence(ekfac, shift, len(data)).batch(data.inputs, data.targets), truth) <= EXACT
