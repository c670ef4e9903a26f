"""Evidence for and against a flagged label, against the full matrix of influence."""

from pathlib import Path

import numpy as np
import pytest
import torch
from dense_system import dense_system

from tasks.dataset import load_split
from tasks.evidence import OPPONENTS, Evidence, find_evidence
from tasks.parameters import Parameters, load_parameters
from tasks.problem import load_ekfac, load_gradients
from tasks.workspace import Workspace

CPU = torch.device("cpu")
FLAGGED = np.array([3, 17, 40, 99, 149])


def found_in(scored: Path, **flag: int) -> tuple[Evidence, np.ndarray, np.ndarray, Parameters]:
    workspace = Workspace(scored)
    parameters = load_parameters(workspace.parameters)
    parameters = parameters.model_copy(update={"flag": parameters.flag.model_copy(update=flag)})
    train = load_split(workspace, "train")
    labels = train.labels.numpy()
    suggested = (labels[FLAGGED] + 1) % 4
    return find_evidence(workspace, parameters, train, FLAGGED, suggested, CPU), labels, suggested, parameters


def influence(scored: Path, parameters: Parameters) -> np.ndarray:
    """Of every training example on the flagged ones, through a dense EK-FAC, [F, N]."""
    workspace = Workspace(scored)
    train = load_split(workspace, "train")
    system = dense_system(workspace, parameters)
    ekfac, damping = load_ekfac(workspace, load_gradients(workspace, parameters, train, CPU))
    shapes = {name: value.shape for name, value in ekfac.gradients.problem.parameters.items()}
    pieces = system.gradients[FLAGGED].float().split([shapes[name].numel() for name in system.names], dim=1)
    right = {name: part.view(-1, *shapes[name]) for name, part in zip(system.names, pieces, strict=True)}
    solved = system.flat(ekfac.power(right, -1.0, damping + parameters.train.weight_decay))
    return (solved @ system.shares.T / len(train)).numpy()


@pytest.mark.parametrize("k", [1, 4, 200])
def test_each_tail_is_of_one_label_and_never_the_example_itself(scored: Path, k: int) -> None:
    evidence, labels, suggested, parameters = found_in(scored, evidence=k)
    full = influence(scored, parameters)
    for place, position in enumerate(FLAGGED):
        scores = full[place]
        others = np.arange(150) != position
        helpful = np.flatnonzero(others & (labels == labels[position]) & (scores > 0))
        harmful = np.flatnonzero(others & (labels == suggested[place]) & (scores < 0))
        assert evidence.supporting[place] == helpful[np.argsort(-scores[helpful])][:k].tolist()
        assert evidence.opposing[place] == harmful[np.argsort(scores[harmful])][:k].tolist()
        strongest = np.flatnonzero(others & (scores < 0))
        strongest = strongest[np.argsort(scores[strongest])][:OPPONENTS]
        assert evidence.opponents_suggested[place] == pytest.approx(np.mean(labels[strongest] == suggested[place]))
    assert scores[FLAGGED[-1]] > 0  # of its own label and helpful to itself: only its exclusion keeps it out


def test_memory_for_one_query_and_few_examples_at_a_time_changes_nothing(
    scored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = found_in(scored)[0]
    monkeypatch.setattr(type(load_parameters(Workspace(scored).parameters).compute), "memory_bytes", 4000)
    assert found_in(scored)[0] == whole


def test_none_asked_for(scored: Path) -> None:
    assert found_in(scored, evidence=0)[0] == Evidence([[]] * 5, [[]] * 5, [None] * 5)


def test_flags_beyond_those_explained_have_none_and_leave_the_others_alone(scored: Path) -> None:
    whole, some = found_in(scored)[0], found_in(scored, explained=2)[0]
    assert some.supporting == [*whole.supporting[:2], [], [], []] and any(whole.supporting[2:])
    assert some.opposing == [*whole.opposing[:2], [], [], []] and any(whole.opposing[2:])
    assert some.opponents_suggested == [*whole.opponents_suggested[:2], None, None, None]
