"""Build the reference of packages from their docstrings: `python docs/reference.py FOLDER PACKAGE...`"""

import sys
from pathlib import Path

import pdoc

import influence

for name in influence.__all__:  # loaded when asked for, which pdoc does not do
    setattr(influence, name, getattr(influence, name))

pdoc.render.configure(docformat="google")
pdoc.pdoc(*sys.argv[2:], output_directory=Path(sys.argv[1]))
