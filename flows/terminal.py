"""What the commands print."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.summary import as_table, facts_table, summarise
from tasks.frozen import Answer, Answers
from tasks.reporting.auditing import Audit, headline
from tasks.reporting.comparison import Comparison, Side
from tasks.reporting.explanation import Explanation, Neighbour
from tasks.reporting.formatting import nats, scaled
from tasks.reporting.slicing import Part, Slices, findings

SHOWN = 3  # queries of a file whose answers are printed


def print_summary(root: Path, outcomes: dict[str, str]) -> None:
    """The outcome of every stage, and what was found."""
    summary = summarise(root, outcomes)
    console = Console(highlight=False)
    console.print()
    console.print(as_table(summary))
    console.print(facts_table(summary))


def print_explanation(explanation: Explanation) -> None:
    """One query, and the training examples that helped and harmed it."""
    console = Console(highlight=False)
    _print_query(console, explanation)
    console.print(
        f"Influence: predicted change of the query's loss, in nats, if the example were left out of training. "
        f"Damping {explanation.damping:.3g}, relative residual {explanation.residual:.2g}."
    )


def print_answers(found: Answers) -> None:
    """The first queries that the index has answered, and how far to trust it."""
    console = Console(highlight=False)
    for answer in found.answers[:SHOWN]:
        _print_query(console, answer)
    count = len(found.answers)
    recalled = " and ".join(f"{share:.1%} of those by {of}" for of, share in found.index.recall.items())
    console.print(
        f"Influence: predicted change of a query's loss, in nats, if the example were left out of training, at the "
        f"frozen model. Damping {found.index.damping:.3g}. Approximate: of the exact top training examples of the "
        f"run's queries the index finds {recalled}."
    )
    if found.outdated:
        console.print("The training set has changed since the index was built: `influence index` takes the change in.")
    shown = f", {SHOWN} of them shown" if count > SHOWN else ""
    console.print(f"Queries: {count:,}{shown}; {found.seconds / count:.2g} s each.")
    print(f"Table: {found.table.resolve()}")


def _print_query(console: Console, query: Explanation | Answer) -> None:
    console.print(
        Text(
            f"{query.query_id} ({query.split}): label {query.label}, predicted {query.predicted}, "
            f"loss {query.loss:.4f} nats"
        )
    )
    for title, neighbours in (("Helpful", query.helpful), ("Harmful", query.harmful)):
        console.print(_neighbours(title, neighbours))


def _neighbours(title: str, neighbours: list[Neighbour]) -> Table:
    table = Table(title=Text(title), title_justify="left")
    table.add_column("Example", overflow="fold")
    table.add_column("Label")
    table.add_column("Predicted")
    table.add_column("Influence", justify="right")
    for neighbour in neighbours:
        texts = (neighbour.example_id, neighbour.label, neighbour.predicted, f"{neighbour.influence:+.3g}")
        table.add_row(*map(Text, texts))
    return table


def print_slices(slices: Slices) -> None:
    """How well every slice is read, and the slices that help and harm it most."""
    console = Console(highlight=False)
    table = Table(title=Text(f"By {slices.column}, evaluated on {slices.split}"), title_justify="left")
    table.add_column("Slice", overflow="fold")
    for name in ("Trained on", slices.split.capitalize(), "Errors", "95 % interval", "Loss"):
        table.add_column(name, justify="right")
    for one in slices.slices:
        trained = f"{one.train.examples:,}" if one.train else "-"
        table.add_row(*map(Text, [one.value, trained, *_part(one.evaluated)]))
    console.print(table)
    console.print(Text(findings(slices)))
    console.print(_who_is_misled_by_whom(slices))
    console.print(
        "Influence: predicted rise of the mean loss of the slice in front if one training example of the other, on "
        "average, were left out of training; positive helps, negative harms. "
        f"Damping {slices.damping:.3g}, largest relative residual {slices.residual:.2g}."
    )


def _part(part: Part | None) -> list[str]:
    if part is None:
        return ["-"] * 4
    interval = f"{part.low:.1%} to {part.high:.1%}"
    return [f"{part.examples:,}", f"{part.error_rate:.1%}", interval, f"{part.mean_loss:.3f}"]


def _who_is_misled_by_whom(slices: Slices) -> Table:
    table = Table(title=f"Influence in {nats(slices.power)}", title_justify="left")
    for name in ("Slice", "Helped most by", "", "Harmed most by", ""):
        table.add_column(name, justify="left" if name else "right", overflow="fold")
    for place, one in enumerate(slices.slices):
        texts = [one.value]
        for found in (slices.strongest(place, 1), slices.strongest(place, -1)):
            texts += (
                ["-", ""]
                if found is None
                else [slices.slices[found.left_out].value, scaled(found.per_example, slices.power)]
            )
        if one.evaluated is not None:
            table.add_row(*map(Text, texts))
    return table


def print_audit(audit: Audit) -> None:
    """The share of predictions that flip by the number of training images changed, beside the controls."""
    console = Console(highlight=False)
    console.print(f"{headline(audit)}.")
    table = Table(title=f"Share of {len(audit.targets)} predictions flipped", title_justify="left")
    for name in ("Images changed", "Attack", "95 % interval", "By chance", "Wrong labels"):
        table.add_column(name, justify="right")
    for count in audit.counts:
        low, high = count.attack.interval
        shares = [f"{share.value:.0%}" for share in (count.attack, count.random, count.label_flip)]
        table.add_row(str(count.images), shares[0], f"{low:.0%} to {high:.0%}", *shares[1:])
    console.print(table)
    console.print(
        f"No pixel moved by more than {audit.largest_change:.3g} of 255 levels. What is trained again is a linear "
        f"layer on the model's features: its accuracy on {audit.split} is {audit.accuracy:.1%}, and it agrees with the "
        f"model on {audit.agreement:.1%}."
    )


def print_comparison(comparison: Comparison) -> None:
    """What both models say of one query, and how far the reasons agree."""
    console = Console(highlight=False)
    own = comparison.sides[0].explanation
    console.print(Text(f"{comparison.query_id} ({own.split}): label {own.label}"))
    table = Table()
    table.add_column("Model")
    for side in comparison.sides:
        table.add_column(Text(side.name), justify="right", overflow="fold")
    for title, value in COMPARED.items():
        table.add_row(title, *(Text(value(side)) for side in comparison.sides))
    console.print(table)
    console.print(
        f"Of {comparison.shared:,} training examples that both have: rank correlation of their influences "
        f"{_correlation(comparison.rank_correlation)}; of the {comparison.k} most helpful {comparison.both_helpful} in "
        f"common, of the {comparison.k} most harmful {comparison.both_harmful}."
    )
    for side in comparison.sides:
        for title, neighbours in (("helpful", side.explanation.helpful), ("harmful", side.explanation.harmful)):
            console.print(_neighbours(f"{side.name}: {title}", neighbours))


def _correlation(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


COMPARED: dict[str, Callable[[Side], str]] = {
    "Predicted": lambda side: side.explanation.predicted,
    "Probability of the label": lambda side: f"{side.probability:.1%}",
    "Loss (nats)": lambda side: f"{side.explanation.loss:.3f}",
    "Training examples": lambda side: f"{side.examples:,}",
    "Helpful, of those with its label": lambda side: _share(side.helpful_same),
    "Helpful, of the others": lambda side: _share(side.helpful_other),
    "|Influence| and distance (Spearman)": lambda side: _correlation(side.distance_correlation),
}
