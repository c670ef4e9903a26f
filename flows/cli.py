"""The command line: `influence`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

# Heavy modules are imported by the command that needs them, so that --help is there at once.
from flows import settings
from flows.browser import open_page
from flows.doctor import doctor
from flows.provenance import provenance
from flows.questions import QUESTIONS
from flows.review.command import review
from flows.status import status
from flows.trust import trust
from flows.verdicts import verdicts
from tasks.errors import UserError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Which training examples made my model do this, and which of my labels are wrong?",
)


def main() -> None:
    """Run a command; what the user can mend ends it with one sentence and exit code 1."""
    try:
        app()
    except UserError as error:
        print(f"influence: {error}", file=sys.stderr)
        sys.exit(1)


@app.command()
def run(
    target: Annotated[
        list[str] | None, typer.Option(help="Only this stage and those it depends on; may be repeated.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run stages even where nothing has changed.")] = False,
    push: Annotated[bool, typer.Option("--push", help="Upload the outputs to the DVC remote in the end.")] = False,
    fail_on_drift: Annotated[
        bool, typer.Option("--fail-on-drift", help="End with exit code 3 where the report alerts to drift.")
    ] = False,
) -> None:
    """Bring every stage of dvc.yaml up to date, and say what was found.

    \b
    influence run
    influence run --target train --force
    influence run --fail-on-drift
    """
    root = Path.cwd()
    settings.configure(root)
    settings.configure_terminal()
    from flows import checks
    from flows.dvc_graph import require_remote

    checks.check(root, target)  # the flow does so too, but only once a server has started
    if push:
        require_remote(root)
    from flows.launch import launch
    from flows.terminal import print_summary

    print_summary(root, launch(root, target, force, push))
    if fail_on_drift:
        from flows import drift

        if drift.drift(root):
            sys.exit(drift.EXIT_CODE)


app.add_typer(verdicts, name="verdicts")
for question in (*QUESTIONS, trust, review, provenance, status, doctor):
    app.command()(question)


@app.command()
def report(
    show: Annotated[bool, typer.Option("--open/--no-open", help="Whether to open it in the browser.")] = True,
) -> None:
    """Open the last report.

    \b
    influence report
    influence report --no-open
    """
    from tasks.workspace import Workspace

    page = Workspace(Path.cwd()).report
    if not page.exists():
        raise UserError(f"there is no report at {page} yet: make it with `influence run`")
    print(page)
    if show:
        open_page(page)


@app.command()
def serve(
    cron: Annotated[str | None, typer.Option(help="When to run, as minute hour day month weekday, in UTC.")] = None,
    interval: Annotated[float | None, typer.Option(help="Or: seconds between two starts.")] = None,
    name: Annotated[str, typer.Option(help="Name of the deployment.")] = "scheduled",
    explain: Annotated[
        str | None, typer.Option(help="Also: when to explain the queries in the inbox, as --cron.")
    ] = None,
) -> None:
    """Run the pipeline on a schedule until interrupted.

    Uses the Prefect server of PREFECT_API_URL; without one it starts its own, reached from this machine only.
    What goes wrong is told to the address in INFLUENCE_WEBHOOK.

    \b
    influence serve --cron "0 3 * * 1"
    influence serve --interval 3600
    influence serve --cron "0 2 * * *" --explain "30 * * * *"
    """
    root = Path.cwd()
    settings.configure(root)
    from flows.serve import serve as serve_pipeline

    serve_pipeline(root, cron, interval, name, explain, lambda line: print(line, flush=True))


@app.command()
def automate() -> None:
    """Have the Prefect server mark runs whose process died, run them again, and tell people what went wrong.

    `influence serve` does so by itself. With workers, run it once on the server of PREFECT_API_URL, and again when
    INFLUENCE_WEBHOOK, the address that is told, has changed.

    \b
    influence automate
    INFLUENCE_WEBHOOK=https://chat.example/hook influence automate
    """
    settings.configure(Path.cwd())
    from flows.automations import set_up

    for line in set_up():
        print(line)


@app.command()
def experiment(
    name: Annotated[
        str,
        typer.Argument(help="components, leave_one_out, nonconvex, hinge, dog_fish, attack, hospital or spam."),
    ],
    force: Annotated[bool, typer.Option("--force", help="Run it even where nothing has changed.")] = False,
) -> None:
    """Run one experiment of Koh & Liang 2017, in a checkout of this project's repository.

    \b
    INFLUENCE_DATA=~/data influence experiment leave_one_out
    """
    root = Path.cwd()
    settings.configure(root)
    settings.configure_terminal()
    from flows.experiments import FOLDER, run_experiment

    for stage, outcome in run_experiment(root, name, force).items():
        print(f"{stage}: {outcome} ({FOLDER}/{stage}/metrics.json)")


@app.command()
def init(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="A CSV or Parquet file, or a folder of images: a path, or a URL s3://..."),
    ],
    label: Annotated[str | None, typer.Option(help="Column of the label.")] = None,
    identity: Annotated[str | None, typer.Option("--id", help="Column that identifies a row.")] = None,
    text: Annotated[str | None, typer.Option(help="Column of text to classify.")] = None,
    image: Annotated[str | None, typer.Option(help="Column of encoded images (Parquet).")] = None,
    columns: Annotated[str | None, typer.Option(help="Names a,b,c of a CSV file without a header.")] = None,
    missing: Annotated[str | None, typer.Option(help="What to do with missing values: error or impute.")] = None,
    factory: Annotated[
        str | None, typer.Option(help="logistic, mlp, cnn, text_linear or package.module:function.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite params.yaml, dvc.yaml and prefect.yaml.")] = False,
) -> None:
    """Make the current folder a workspace for your own data.

    \b
    influence init data/adult.csv --label income
    influence init pictures/
    influence init reviews.parquet --label stars --text review
    influence init s3://bucket/adult.parquet --label income
    """
    settings.configure(Path.cwd())
    from flows.init import initialise
    from flows.sniff import Hints

    hints = Hints(label, identity, text, image, columns.split(",") if columns else None, missing)
    for line in initialise(Path.cwd(), data, hints, factory, force):
        print(line)


if __name__ == "__main__":
    main()
