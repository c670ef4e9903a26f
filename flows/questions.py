"""The commands that ask something of a workspace after a run: each prints a table and leaves a page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

# Heavy modules are imported by the command that needs them, so that --help is there at once.
from flows.browser import open_page
from tasks.workspace import HeldOut, Workspace

if TYPE_CHECKING:
    from tasks.parameters import Parameters

Open = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]


def explain(
    example: Annotated[str, typer.Argument(metavar="ID", help="example_id of the example to explain.")],
    k: Annotated[int, typer.Option("--k", min=1, help="Helpful and harmful training examples to show.")] = 10,
    show: Open = False,
) -> None:
    """Show the training examples that helped and harmed one example most.

    \b
    influence explain 5f3a9c02d1e4 --k 5 --open
    """
    workspace, parameters = _workspace()
    from flows.terminal import print_explanation
    from tasks.explain import explain as compute
    from tasks.reporting.explanation import write_explanation

    explanation = compute(workspace, parameters, example, k)
    print_explanation(explanation)
    _tell(write_explanation(workspace, explanation), show)


def slices(
    by: Annotated[str, typer.Option(help="label, predicted, or a column that prepare.source.slices names.")],
    split: Annotated[HeldOut, typer.Option(help="Whose examples are evaluated.")] = "test",
    show: Open = False,
) -> None:
    """Show how well each slice of the data is read, and which slices of the training set help or mislead it.

    \b
    influence slices --by label
    influence slices --by education --split validation --open
    """
    workspace, parameters = _workspace()
    from flows.terminal import print_slices
    from tasks.reporting.slicing import write_slices_page
    from tasks.slices import slices as compute

    found = compute(workspace, parameters, by, split)
    print_slices(found)
    _tell(write_slices_page(workspace, found), show)


def audit(
    queries: Annotated[int, typer.Option(min=1, help="Correctly read images to attack, drawn at random.")] = 20,
    split: Annotated[HeldOut, typer.Option(help="That they are drawn from.")] = "test",
    levels: Annotated[
        float,
        typer.Option(
            min=0.001, max=255, help="By which a pixel may change, of 255; below .5 the image looks the same."
        ),
    ] = 0.499,
    show: Open = False,
) -> None:
    """Find out how few training images an attacker needs to change to flip a prediction.

    \b
    influence audit
    influence audit --queries 50 --levels 8 --open
    """
    workspace, parameters = _workspace()
    from flows.terminal import print_audit
    from tasks.audit import audit as compute
    from tasks.reporting.auditing import write_audit_page

    found = compute(workspace, parameters, queries, split, levels)
    print_audit(found)
    _tell(write_audit_page(workspace, found), show)


def compare(
    first: Annotated[Path, typer.Argument(metavar="MODEL_A", help="Workspace of one model.")],
    second: Annotated[Path, typer.Argument(metavar="MODEL_B", help="Workspace of the other, of the same data.")],
    query: Annotated[
        str | None,
        typer.Option(metavar="ID", help="example_id to explain; left out: the one on which the models differ most."),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Helpful and harmful training examples to show.")] = 10,
    show: Open = False,
) -> None:
    """Show how two models explain the same prediction.

    \b
    influence compare . ../with-a-network
    influence compare linear/ network/ --query 5f3a9c02d1e4 --open
    """
    workspaces = Workspace(first), Workspace(second)
    for workspace in workspaces:
        _parameters(workspace)
    from flows.terminal import print_comparison
    from tasks.compare import compare as compute
    from tasks.reporting.comparison import write_comparison

    found = compute(*workspaces, query, k)
    print_comparison(found)
    _tell(write_comparison(found), show)


def _workspace() -> tuple[Workspace, "Parameters"]:
    """The current folder, with its own modules importable.

    Raises:
        UserError: it is no workspace.
    """
    workspace = Workspace(Path())
    parameters = _parameters(workspace)
    from tasks.objects import add_import_paths

    add_import_paths(workspace.root)
    return workspace, parameters


def _parameters(workspace: Workspace) -> "Parameters":
    """params.yaml, read before torch is imported: it may be missing."""
    from tasks.parameters import load_parameters

    return load_parameters(workspace.parameters)


def _tell(page: Path, show: bool) -> None:
    print(f"Page: {page.resolve()}")
    if show:
        open_page(page)


QUESTIONS = (explain, slices, audit, compare)
