"""The page of `influence compare`: how two models explain the same prediction."""

from dataclasses import dataclass, replace
from pathlib import Path

from tasks.artifacts import read_json
from tasks.provenance import write_page
from tasks.reporting.charts import Chart, Series, scatter_chart
from tasks.reporting.exhibits import Gallery, load_gallery
from tasks.reporting.explanation import Explanation, Neighbour, file_stem
from tasks.reporting.formatting import name, nats, percent, power_of_ten
from tasks.reporting.page import render_page
from tasks.workspace import SplitName, Workspace


@dataclass(frozen=True)
class Point:
    """A training example: distance of its input from the query's, its influence in nats, and whether it has the query's
    label."""

    distance: float
    influence: float
    same_label: bool


@dataclass(frozen=True)
class Side:
    """What one model says of the query, and why.

    Attributes:
        name: of the model's folder.
        workspace: the folder.
        explanation: the strongest influences of its own training set.
        probability: that it gives to the query's label.
        examples: it was trained on.
        distance_correlation: Spearman's, of |influence| with the distance of inputs as this model sees them; None
            where either is the same for all.
        helpful_same, helpful_other: share of the training examples with the query's label, and of the others, that
            help it; None where there is none.
        points: training examples to draw: the strongest, and a random sample.
    """

    name: str
    workspace: Workspace
    explanation: Explanation
    probability: float
    examples: int
    distance_correlation: float | None
    helpful_same: float | None
    helpful_other: float | None
    points: list[Point]

    @property
    def power(self) -> int:
        """The power of ten in which its influences read well."""
        return power_of_ten([one.influence for one in [*self.explanation.helpful, *self.explanation.harmful]])


@dataclass(frozen=True)
class Comparison:
    """Two models on one query.

    Attributes:
        query_id: the example that is explained.
        sides: the two models.
        shared: training examples that both were trained on.
        rank_correlation: Spearman's, of their influences on the query; None where one has the same for all.
        k: length of the lists.
        both_helpful, both_harmful: examples among the k most helpful (harmful) shared ones of both models.
    """

    query_id: str
    sides: tuple[Side, Side]
    shared: int
    rank_correlation: float | None
    k: int
    both_helpful: int
    both_harmful: int

    def common(self, example_id: str) -> bool:
        """Whether both models have this example in the same list."""
        return any(
            all(example_id in {one.example_id for one in getattr(side.explanation, tail)} for side in self.sides)
            for tail in ("helpful", "harmful")
        )


def render_comparison(comparison: Comparison) -> str:
    """The comparison as one self-contained HTML page. An example is shown as the first model's data has it.

    Raises:
        UserError: a prepared split is missing.
    """
    gallery = Gallery()
    for side in reversed(comparison.sides):
        _join(gallery, load_gallery(side.workspace, _shown(side.explanation)))
    kind = read_json(comparison.sides[0].workspace.encoding)["kind"]
    charts = [_chart(side) for side in comparison.sides]
    words = findings(comparison)
    return render_page("comparison.html.j2", gallery, data=comparison, kind=kind, charts=charts, findings=words)


def findings(comparison: Comparison) -> str:
    """What the two models say of the query, each in a clause."""
    label = comparison.sides[0].explanation.label
    clauses = [
        f"“{name(side.name)}” predicts “{name(side.explanation.predicted)}” and gives “{name(label)}”, the label, a "
        f"probability of {percent(side.probability, 1)}"
        for side in comparison.sides
    ]
    return f"{'; '.join(clauses)}."


def write_comparison(comparison: Comparison) -> Path:
    """Write the page into the folder compare/ of the first workspace and return its path.

    Raises:
        UserError: a prepared split is missing.
    """
    workspaces = [side.workspace for side in comparison.sides]
    root = workspaces[0].root
    path = root / "compare" / f"{file_stem(comparison.query_id)}.html"
    settings = {"query": comparison.query_id}
    write_page(path, render_comparison(comparison), "influence compare", settings, root, workspaces)
    return path


def _shown(explanation: Explanation) -> dict[SplitName, list[str]]:
    wanted: dict[SplitName, list[str]] = {"train": [], "validation": [], "test": []}
    neighbours: list[Neighbour] = [*explanation.helpful, *explanation.harmful]
    wanted["train"] += [neighbour.example_id for neighbour in neighbours]
    wanted[explanation.split].append(explanation.query_id)
    return wanted


def _join(gallery: Gallery, other: Gallery) -> None:
    """Take in another gallery's examples, over those of the same ids."""
    offset = len(gallery.pictures)
    gallery.pictures += other.pictures
    for example_id, exhibit in other.exhibits.items():
        moved = None if exhibit.picture is None else exhibit.picture + offset
        gallery.exhibits[example_id] = replace(exhibit, picture=moved)


def _chart(side: Side) -> Chart:
    power = power_of_ten([point.influence for point in side.points])
    series = []
    for title, style, same in (("another label", "other", False), ("the query's label", "same", True)):
        points = [point for point in side.points if point.same_label == same]
        if points:
            xs = [point.distance for point in points]
            series.append(Series(title, style, xs, [point.influence / 10.0**power for point in points]))
    return scatter_chart(
        f"Influence by distance: {side.name}",
        "Influence of training examples on the query by the distance of their inputs from it, one dot an example.",
        "distance of the input",
        f"influence ({nats(power)})",
        series,
    )
