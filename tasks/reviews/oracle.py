"""A review by somebody who knows the truth: what the loop of flags and verdicts finds of planted errors, and gains."""

import csv
import io
from dataclasses import dataclass, field

import numpy as np
import pyarrow.compute as pc

from tasks.artifacts import read_table, write_text
from tasks.errors import UserError
from tasks.figures import save
from tasks.intervals import wilson_interval
from tasks.parameters import Parameters
from tasks.reporting.detection import RANDOM
from tasks.reviews import store
from tasks.reviews.mending import TRAININGS, Mending
from tasks.reviews.oracle_figure import ALL, LOOP, RUN, Point, draw
from tasks.reviews.queue import Item, build, open_to, verdict_on
from tasks.reviews.verdict import Verdict
from tasks.workspace import Workspace

ORACLE = "oracle"  # the reviewer
COLUMNS = ("round", "order", "inspected", "mended", "test_accuracy", "low", "high")


def require_fresh(workspace: Workspace) -> None:
    """Make sure that there are errors to be found, and no verdict yet.

    Raises:
        UserError: no error was planted, or somebody has given verdicts, with which those of an oracle must not mix.
    """
    if store.read(workspace):
        raise UserError(
            f"{workspace.verdicts} holds verdicts already, and an oracle's must not mix with them: "
            "try it in a copy of this folder, with the file as `influence init` makes it"
        )
    if workspace.truth.exists() and not pc.any(read_table(workspace.truth)["planted"]).as_py():
        raise UserError(
            "no errors were planted, so an oracle has nothing to find: set `prepare.corruption`, such as 0.05"
        )


@dataclass
class Review:
    """The rounds of a review so far.

    Attributes:
        mending: the training set before the first round.
        inspected: of every round, which training examples have been judged by its end, bool [N].
        points: what every round's own model reads right.
        answers: how many questions were answered in each round.
    """

    mending: Mending
    inspected: list[np.ndarray] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    @classmethod
    def begin(cls, workspace: Workspace, parameters: Parameters) -> "Review":
        """After a run without verdicts."""
        review = cls(Mending(workspace, parameters))
        review.record(workspace)
        return review

    def answer(self, workspace: Workspace) -> int:
        """Answer every open question by the truth: relabel where the given label is not the true one, else keep."""
        truth = read_table(workspace.truth)
        true = dict(zip(truth["example_id"].to_pylist(), truth["true_label"].to_pylist(), strict=True))
        verdicts = [_say(item, true) for item in build(workspace) if open_to(item, ORACLE)]
        store.append(workspace, verdicts)
        self.answers.append(len(verdicts))
        return len(verdicts)

    def record(self, workspace: Workspace) -> Point:
        """After a run: what has been judged by now, and what the run's own model reads right."""
        judged = {verdict.example_id for verdict in store.read(workspace)}
        self.inspected.append(np.array([example_id in judged for example_id in self.mending.ids]))
        said = read_table(workspace.predictions, ["split", "label", "predicted"])
        said = said.filter(pc.equal(said["split"], "test"))
        accuracy = pc.mean(pc.equal(said["label"], said["predicted"])).as_py()
        point = self._point(len(self.inspected) - 1, RUN, self.inspected[-1], accuracy)
        self.points.append(point)
        return point

    def compare(self) -> list[Point]:
        """The model trained again after the same budgets, spent by the loop, by orders of the first run, at random.

        Of a random order every training has its own. Last, with every planted error mended.
        """
        mending = self.mending
        plans: list[tuple[int, str, list[np.ndarray]]] = []
        for number, inspected in enumerate(self.inspected):
            budget = int(inspected.sum())
            plans.append((number, LOOP, [inspected] * TRAININGS))
            plans += [(number, name, [_first(order, budget)] * TRAININGS) for name, order in mending.orders.items()]
            plans.append((number, RANDOM, [_first(mending.random(n), budget) for n in range(TRAININGS)]))
        plans.append((len(self.inspected) - 1, ALL, [np.ones(len(mending.ids), dtype=bool)] * TRAININGS))
        accuracies = mending.accuracies([[chosen & mending.planted for chosen in sets] for _, _, sets in plans])
        return [
            self._point(number, name, np.mean(sets, axis=0), float(accuracy))
            for (number, name, sets), accuracy in zip(plans, accuracies, strict=True)
        ]

    def write(self, workspace: Workspace) -> list[Point]:
        """Write reviews/oracle.csv and the figure of it."""
        points = [*self.points, *self.compare()]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for point in points:
            shares = (point.inspected, point.mended, point.test_accuracy, *point.interval)
            writer.writerow([point.round, point.order, *(f"{share:.6g}" for share in shares)])
        write_text(workspace.oracle_table, text.getvalue())
        save(draw(points), workspace.oracle_table.with_suffix(""))
        return points

    def _point(self, number: int, order: str, inspected: np.ndarray, accuracy: float) -> Point:
        """`inspected` is bool [N], or the share of several orders in which each example is inspected."""
        planted, tests = self.mending.planted, len(self.mending.test)
        low, high = wilson_interval(round(accuracy * tests), tests)
        share, mended = float(inspected.mean()), float(inspected[planted].mean())
        return Point(number, order, share, mended, accuracy, (low, high))


def _first(order: np.ndarray, budget: int) -> np.ndarray:
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order[:budget]] = True
    return chosen


def _say(item: Item, true: dict[str, str]) -> Verdict:
    label = true.get(item.example_id, item.given_label)  # of a held-out example: nothing was planted there
    if label == item.given_label:
        return verdict_on(item, "keep", ORACLE)
    return verdict_on(item, "relabel", ORACLE, label)
