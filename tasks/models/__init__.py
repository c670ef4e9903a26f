"""Models, from factories: `factory(shape, classes, **arguments)` maps [B, *shape] to logits [B, classes].

Ready-made factories have a name, one a file; one's own is named `package.module:function` in params.yaml.
"""

from tasks.models.building import FACTORIES, build, factory_source
from tasks.models.loading import load_model, load_weights

__all__ = ["FACTORIES", "build", "factory_source", "load_model", "load_weights"]
