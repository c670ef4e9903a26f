"""The commands that ask something of a workspace after a run: each prints a table and leaves a page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

# Heavy modules are imported by the command that needs them, so that --help is there at once.
from flows.browser import open_page
from tasks.errors import UserError
from tasks.workspace import HeldOut, Workspace

if TYPE_CHECKING:
    from tasks.parameters import Parameters

Open = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]


def explain(
    example: Annotated[
        str,
        typer.Argument(metavar="ID", help="example_id to explain; with --frozen-model also a file of new examples."),
    ],
    k: Annotated[int, typer.Option("--k", min=1, help="Helpful and harmful training examples to show.")] = 10,
    frozen: Annotated[
        bool, typer.Option("--frozen-model", help="Answer by the gradient index: at once, and approximately.")
    ] = False,
    show: Open = False,
) -> None:
    """Show the training examples that helped and harmed one example most.

    \b
    influence explain 5f3a9c02d1e4 --k 5 --open
    influence index && influence explain new.csv --frozen-model
    """
    workspace, parameters = _workspace()
    if frozen:
        from flows.terminal import print_answers
        from tasks.frozen import explain_frozen

        print_answers(explain_frozen(workspace, parameters, example, k))
        return
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


def index(
    coordinates: Annotated[
        int | None, typer.Option(min=1, help="Kept of each gradient; left out: index.coordinates of params.yaml.")
    ] = None,
) -> None:
    """Build the gradient index, by which `explain --frozen-model` answers new queries at once.

    It keeps the leading coordinates of every training gradient in the eigenbasis of the curvature, and measures how
    many of the exact top training examples it finds. Built again, only what has changed is computed.

    \b
    influence index
    influence index --coordinates 4096
    """
    workspace, parameters = _workspace()
    from tasks.index import build

    if coordinates is not None:
        chosen = parameters.index.model_copy(update={"coordinates": coordinates})
        parameters = parameters.model_copy(update={"index": chosen})
    build(workspace, parameters)


def score(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="New rows, of the kind that prepare.source describes.")],
    frozen: Annotated[
        bool, typer.Option("--frozen-model", help="Keep weights, curvature and solved queries as they are.")
    ] = False,
) -> None:
    """Score new rows as training examples without training on them: which would harm, which would help?

    \b
    influence score new.csv --frozen-model
    """
    if not frozen:
        raise UserError(
            "rows that the model is to learn from belong into the data and take `influence run`; "
            "`influence score FILE --frozen-model` scores them at the model as it is"
        )
    workspace, parameters = _workspace()
    from tasks.new_rows import score_new_rows

    found = score_new_rows(workspace, parameters, file)
    print(
        f"{found.harmful:,} of {found.rows:,} rows would raise the loss of the misread validation examples, were they "
        "added to training"
    )
    print(f"Row by row: {found.own.resolve()}")
    print(f"For every query of the run: {found.top.resolve()}")


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


QUESTIONS = (explain, index, score, slices, audit, compare)
