"""One's own code, named in params.yaml as `package.module:function`."""

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tasks.errors import UserError

OWN_PACKAGES = frozenset({"influence", "tasks", "flows"})


def add_import_paths(root: Path) -> None:
    """Make the workspace's modules importable, after everything installed.

    Stages run isolated (`python -I`), so that a user's own package called `tasks` cannot take the place of this one.
    """
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    for entry in [str(root.resolve()), *filter(None, inherited)]:
        if entry not in sys.path:
            sys.path.append(entry)


@contextlib.contextmanager
def import_paths(root: Path) -> Iterator[None]:
    """`add_import_paths` for a while.

    Afterwards the workspace's modules are forgotten, so that another workspace may have its own of the same names.
    """
    paths = list(sys.path)
    add_import_paths(root)
    try:
        yield
    finally:
        sys.path[:] = paths
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file is not None and Path(file).resolve().is_relative_to(root.resolve()):
                del sys.modules[name]


def load_object(spec: str, key: str) -> Callable[..., Any]:
    """Import `package.module:function`.

    Args:
        spec: what to import.
        key: the key in params.yaml that named it, for the message.

    Raises:
        UserError: the module or the name is not there, or the module is hidden by one of this package's own.
    """
    module_name, separator, attribute = spec.partition(":")
    if not separator or not module_name or not attribute:
        raise UserError(f"`{key}`: write it as package.module:function, not {spec!r}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise  # the module is there; something it imports is not
        if module_name.split(".")[0] in OWN_PACKAGES:
            raise UserError(
                f"`{key}`: {module_name!r} lies in a package whose name this project uses itself; "
                "move the function to a module of another name"
            ) from None
        raise UserError(f"`{key}`: there is no module {module_name!r} in the workspace or installed") from None
    value = getattr(module, attribute, None)
    if not callable(value):
        raise UserError(f"`{key}`: {module_name} has no function {attribute!r}")
    return value
