"""Where the data lie that params.yaml names: at a path from the workspace, or at a URL whose local copy is read."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import UserError
from tasks.object_storage.location import folder, is_url, last_name
from tasks.object_storage.mirror import keep_only, mirror
from tasks.sources.idx import label_names
from tasks.workspace import Workspace


@dataclass(frozen=True)
class Located:
    """Data as files of this machine.

    Attributes:
        paths: of each thing that was named, in that order.
        copies: the URL of the folder that each local copy stands for, by the path of its folder here.
    """

    paths: list[Path]
    copies: dict[str, str]

    def shown(self, text: str) -> str:
        """The text with the URL where it names a local copy, which the user has never heard of."""
        for path, url in self.copies.items():
            text = text.replace(path, url)
        return text


@contextlib.contextmanager
def located(workspace: Workspace, named: Sequence[str]) -> Iterator[Located]:
    """Files with the data that are named, copied here where that is by URL. Copies of other URLs are dropped.

    Args:
        workspace: from which paths count, and which holds the copies.
        named: paths and URLs, as params.yaml has them; IDX images bring their labels along.

    Raises:
        UserError: a URL cannot be read. Any that is raised in the block is passed on in terms of the URL.
    """
    paths = [_local(workspace, each) for each in named]
    keep_only(workspace.work, filter(is_url, named))
    copies = {path.parent.as_posix(): folder(each) for each, path in zip(named, paths, strict=True) if is_url(each)}
    found = Located(paths, copies)
    try:
        yield found
    except UserError as error:
        raise UserError(found.shown(str(error))) from None


def _local(workspace: Workspace, named: str) -> Path:
    return mirror(workspace.work, named, label_names(last_name(named))) if is_url(named) else workspace.root / named
