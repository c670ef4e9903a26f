"""Per-example gradient rules: one file a layer type, a registry, and vmap for everything else."""

# The layer types register their rules.
from influence.layers import batch_norm, convolution, embedding, group_norm, layer_norm, linear  # noqa: F401
from influence.layers.contraction import GradientBlock, along, as_vectors
from influence.layers.gradients import LayerGradients, PerExampleGradients, Readings

__all__ = ["GradientBlock", "LayerGradients", "PerExampleGradients", "Readings", "along", "as_vectors"]
