"""Where Prefect's workers find the flows: `influence_deployment.pipeline` is an entrypoint in prefect.yaml.

Prefect imports it with the workspace first on the module path, where a user's own package called `flows` would take
the place of ours. This module has a name that nobody else's has, and looks past the workspace.
"""

import os
import sys

_path = sys.path[:]
sys.path[:] = [entry for entry in _path if os.path.realpath(entry) != os.path.realpath(os.curdir)]
try:
    from flows.explain_new import explain_new
    from flows.pipeline import pipeline
finally:
    sys.path[:] = _path

__all__ = ["explain_new", "pipeline"]
