"""Readers: what lies at `prepare.path`, as `Examples`. A new kind of data is one new file and a line here."""

from pathlib import Path

from tasks.errors import UserError
from tasks.parameters import FunctionSource, IdxSource, ImageFolderSource, Source, TableSource
from tasks.sources import function, idx, image_folder, table
from tasks.sources.examples import Examples

__all__ = ["Examples", "input_paths", "read"]


def read(source: Source, path: Path) -> Examples:
    """Read and check one data set.

    Raises:
        UserError: there is nothing at the path, or what is there is not what the source says.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist: `prepare.path` and `prepare.test_path` must name the data")
    match source:
        case IdxSource():
            return idx.read(source, path)
        case ImageFolderSource():
            return image_folder.read(source, path)
        case TableSource():
            return table.read(source, path)
        case FunctionSource():
            return function.read(source, path)


def input_paths(source: Source, path: Path) -> list[Path]:
    """The files or folders that `read` reads for this path."""
    if isinstance(source, IdxSource) and path.is_file():
        return [path, idx.labels_path(path)]
    return [path]
