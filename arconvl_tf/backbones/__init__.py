"""Networks that turn pictures or vectors into features: the paper's own, pretrained ones, and one for vectors.

Any Keras model that ends in an (n, d) tensor of features can take their place.
"""

from arconvl_tf.backbones.applications import extractor, network_names, pretrained
from arconvl_tf.backbones.cutting import cut_points, split_at
from arconvl_tf.backbones.features import calibrate, projection, standardize, vector
from arconvl_tf.backbones.lite0 import efficientnet_lite0
from arconvl_tf.backbones.paper import resnet, simple_cnn

__all__ = [
    "calibrate",
    "cut_points",
    "efficientnet_lite0",
    "extractor",
    "network_names",
    "pretrained",
    "projection",
    "resnet",
    "simple_cnn",
    "split_at",
    "standardize",
    "vector",
]
