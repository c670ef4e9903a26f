"""`influence doctor`: find and mend what a crash has left."""

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is wrong, and what would be done.")] = False,
) -> None:
    """Find and mend what a crash can leave behind: damaged locks, orphans, half-written files, wrong packages.

    What cannot be mended here is said, and the exit code is then 1. With --dry-run it is 1 if anything was found.

    \b
    influence doctor
    influence doctor --dry-run
    """
    from flows import settings
    from flows.health import dvc_files, packages
    from tasks.doctor import examine

    root = Path.cwd()
    settings.configure(root)
    left = 0
    for found in [*packages(), *dvc_files(root), *examine(root)]:
        if dry_run or found.mend is None:
            print(f"{found.problem}: {found.remedy}")
            left += 1
        else:
            try:
                found.mend()
            except OSError as error:
                print(f"{found.problem}: {found.remedy} (could not be done: {error.strerror or error})")
                left += 1
            else:
                print(f"{found.problem}: done: {found.remedy}")
    if not left:
        print("Nothing more to mend.")
    raise typer.Exit(1 if left else 0)
