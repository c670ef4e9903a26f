"""Build the reference of packages from their docstrings: `python docs/reference.py FOLDER PACKAGE...`"""

import importlib
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pdoc

import influence


def modules(package: str) -> Iterator[str]:
    """Every module by its name: pdoc itself leaves out those that `__all__` of their package does not list."""
    yield package
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        yield found.name


for name in influence.__all__:  # loaded when asked for, which pdoc does not do
    setattr(influence, name, getattr(influence, name))

warnings.filterwarnings("ignore", message="The module specification")  # that it has found some by itself
pdoc.render.configure(docformat="google")
pdoc.pdoc(*(name for package in sys.argv[2:] for name in modules(package)), output_directory=Path(sys.argv[1]))
