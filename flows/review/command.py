"""`influence review`: the page of the review, served to this machine only."""

import getpass
from pathlib import Path
from typing import Annotated

import typer

# Heavy modules are imported by the command that needs them, so that --help is there at once.
from flows.browser import open_address


def review(
    reviewer: Annotated[str | None, typer.Option(help="Who judges; the login name if it is left out.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Where to serve; else one that is free.")] = None,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Whether to open it in the browser.")] = True,
    oracle: Annotated[
        bool, typer.Option("--oracle", help="Let the truth of planted errors answer instead, run by run.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Of answers by the oracle.")] = 1,
) -> None:
    """Judge what the last run flagged, on a page in the browser; Ctrl-C ends it.

    \b
    influence review
    influence review --reviewer ann --port 8600 --no-open
    influence review --oracle --rounds 3
    """
    root = Path.cwd()
    if oracle:
        from flows.oracle import run_oracle

        run_oracle(root, rounds)
        return
    from flows.review.serving import serving

    with serving(root, reviewer or getpass.getuser(), port) as server:
        print(f"The review is at {server.url}, for this machine only. Ctrl-C ends it.", flush=True)
        if show:
            open_address(server.url)
        server.wait()
