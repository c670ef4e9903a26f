"""The factories, the check of what they give, and loading."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tasks.artifacts import Encoding
from tasks.errors import UserError
from tasks.models import build, factory_source, load_model, load_weights
from tasks.objects import add_import_paths
from tasks.parameters import Train, load_parameters
from tasks.tensors import write_tensors
from tasks.workspace import Workspace

OWN = """
import torch
from torch import nn

def good(shape, classes, width=4):
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), width), nn.Linear(width, classes))

def too_wide(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), classes + 1))

def wrong_input(shape, classes):
    return nn.Linear(3, classes)

def no_module(shape, classes):
    return "a model"

def no_parameters(shape, classes):
    return nn.Flatten()

class TupleModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, inputs):
        return inputs, inputs

def tuple_outputs(shape, classes):
    return TupleModel()
"""


def encoding(*shape: int, classes: int = 3, kind: str = "image") -> Encoding:
    return Encoding(kind, [f"class {index}" for index in range(classes)], shape, {})


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of one's own in a workspace."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_models_of_test", raising=False)
    path = tmp_path / "own_models_of_test.py"
    path.write_text(OWN)
    add_import_paths(tmp_path)
    return path


@settings(max_examples=25)
@given(
    channels=st.sampled_from([1, 3]),
    height=st.integers(8, 70),
    width=st.integers(8, 70),
    classes=st.integers(2, 5),
    factory=st.sampled_from(["cnn", "mlp", "logistic"]),
)
def test_image_models_take_any_image(channels: int, height: int, width: int, classes: int, factory: str) -> None:
    model = build(Train(factory=factory), encoding(channels, height, width, classes=classes), seed=0)
    assert model(torch.randn(4, channels, height, width)).shape == (4, classes)


@pytest.mark.parametrize("factory", ["text_linear", "mlp", "logistic"])
def test_row_models(factory: str) -> None:
    model = build(Train(factory=factory), encoding(17, kind="text"), seed=0)
    assert model(torch.randn(5, 17)).shape == (5, 3)


def test_cnn_is_small_on_the_bundled_images_and_stays_small_on_large_ones() -> None:
    def size(*shape: int) -> int:
        return sum(p.numel() for p in build(Train(), encoding(*shape, classes=10), 0).parameters())

    assert size(1, 28, 28) == 14_698
    assert size(3, 224, 224) < 25_000


def test_arguments_shape_the_model() -> None:
    model = build(Train(factory="mlp", arguments={"hidden": [7], "activation": "tanh"}), encoding(5), seed=0)
    assert [m.out_features for m in model.modules() if isinstance(m, nn.Linear)] == [7, 3]
    assert any(isinstance(m, nn.Tanh) for m in model.modules())


def test_weights_come_from_the_seed_alone() -> None:
    def weights(seed: int) -> Tensor:
        return torch.cat([p.flatten() for p in build(Train(factory="mlp"), encoding(5), seed).parameters()])

    first = weights(3)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert torch.equal(first, weights(3))
    assert torch.equal(before, torch.get_rng_state())  # building leaves the caller's random numbers alone
    assert not torch.equal(first, weights(4))
    assert not torch.equal(first, weights(-3))


@pytest.mark.parametrize(
    ("factory", "arguments", "shape", "message"),
    [
        ("cnm", {}, (1, 8, 8), r"`train\.factory`: there is no 'cnm'; write logistic, mlp, cnn, text_linear, or "),
        ("cnn", {}, (6,), r"cnn is for images, but the inputs are \[6\]"),
        ("cnn", {}, (1, 8, 7), r"at least 8 x 8, but these are 8 x 7"),
        ("text_linear", {}, (1, 8, 8), r"text_linear is for texts, but the inputs are \[1, 8, 8\]"),
        ("mlp", {"hiden": [4]}, (6,), r"`train\.arguments`: mlp .*'hiden'.*it is mlp\(shape.*hidden"),
        ("mlp", {"hidden": [0]}, (6,), r"`train\.arguments\.hidden\.0`: Input should be greater than 0, got 0"),
        ("mlp", {"activation": "rele"}, (6,), r"`train\.arguments\.activation`: .*'relu', 'gelu' or 'tanh'"),
        ("cnn", {"channels": []}, (1, 8, 8), r"`train\.arguments\.channels`: .*at least 1 item"),
        (
            "own_models_of_test:good",
            {"depth": 2},
            (6,),
            r"`train\.arguments`: .*'depth'.*good\(shape, classes, width=4\)",
        ),
        ("own_models_of_test:absent", {}, (6,), r"has no function 'absent'"),
        ("own_models_of_test:no_module", {}, (6,), r"no_module returned a str, not a torch\.nn\.Module"),
        ("own_models_of_test:no_parameters", {}, (6,), r"no parameters to train"),
        ("own_models_of_test:too_wide", {}, (6,), r"shape \[2, 4\] for a batch of 2; expected was \[2, 3\]"),
        ("own_models_of_test:wrong_input", {}, (6,), r"cannot take inputs \[2, 6\]: mat1 and mat2"),
        ("own_models_of_test:tuple_outputs", {}, (6,), r"gives a tuple, not a tensor of logits"),
    ],
)
def test_messages(own_models: Path, factory: str, arguments: dict, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(Train(factory=factory, arguments=arguments), encoding(*shape), seed=0)


def test_ones_own_factory(own_models: Path) -> None:
    train = Train(factory="own_models_of_test:good", arguments={"width": 9})
    assert build(train, encoding(2, 3), seed=0)(torch.zeros(4, 2, 3)).shape == (4, 3)
    source = factory_source(train.factory)
    assert source is not None and source.resolve() == own_models.resolve()
    assert factory_source("cnn") is None


def test_a_saved_model_loads_as_it_was(tmp_path: Path, make_prepared: Callable[..., Workspace]) -> None:
    workspace = make_prepared(tmp_path, kind="image", train={"factory": "cnn"})
    parameters = load_parameters(workspace.parameters)
    saved = build(parameters.train, encoding(1, 8, 8), seed=5)
    write_tensors(workspace.weights, saved.state_dict())
    loaded = load_model(workspace, parameters, encoding(1, 8, 8), torch.device("cpu"))
    inputs = torch.randn(3, 1, 8, 8)
    assert torch.equal(saved(inputs), loaded(inputs))
    assert not loaded.training


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("output.bias"), r"it lacks output\.bias$"),
        (lambda state: state.update(extra=torch.zeros(1)), r"it has besides extra$"),
        (
            lambda state: state.update({"output.weight": torch.zeros(3, 7)}),
            r"differs in output\.weight \(\[3, 7\] there, \[3, 6\] in the model\)$",
        ),
        (lambda state: state.clear(), r"it lacks output\.weight, output\.bias$"),
    ],
)
def test_weights_of_another_model(tmp_path: Path, change: Callable, message: str) -> None:
    model = build(Train(factory="logistic"), encoding(6), seed=0)
    state = dict(model.state_dict())
    change(state)
    write_tensors(tmp_path / "w.safetensors", state)
    with pytest.raises(UserError, match=message):
        load_weights(model, tmp_path / "w.safetensors", "logistic")


def test_weights_that_are_missing_or_damaged(tmp_path: Path) -> None:
    model = build(Train(factory="logistic"), encoding(6), seed=0)
    with pytest.raises(UserError, match=r"absent\.safetensors is missing"):
        load_weights(model, tmp_path / "absent.safetensors", "logistic")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not safetensors at all")
    with pytest.raises(UserError, match=r"damaged\.safetensors cannot be read as safetensors"):
        load_weights(model, damaged, "logistic")
