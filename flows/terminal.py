"""What the commands print."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.summary import as_table, facts_table, summarise
from tasks.reporting.explanation import Explanation, Neighbour


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
    console.print(
        Text(
            f"{explanation.query_id} ({explanation.split}): label {explanation.label}, predicted "
            f"{explanation.predicted}, loss {explanation.loss:.4f} nats"
        )
    )
    for title, neighbours in (("Helpful", explanation.helpful), ("Harmful", explanation.harmful)):
        console.print(_neighbours(title, neighbours))
    console.print(
        f"Influence: predicted change of the query's loss, in nats, if the example were left out of training. "
        f"Damping {explanation.damping:.3g}, relative residual {explanation.residual:.2g}."
    )


def _neighbours(title: str, neighbours: list[Neighbour]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("Example", overflow="fold")
    table.add_column("Label")
    table.add_column("Predicted")
    table.add_column("Influence", justify="right")
    for neighbour in neighbours:
        texts = (neighbour.example_id, neighbour.label, neighbour.predicted, f"{neighbour.influence:+.3g}")
        table.add_row(*map(Text, texts))
    return table
