"""The paper's two networks. Any Keras model that ends in an (n, d) tensor of features can take their place."""

import keras
from keras import layers

from arconvl_tf.layers import ELU, FusedBatchNormalization


def simple_cnn(image_shape: tuple[int, int, int], feature_dim: int = 64) -> keras.Model:
    """The network of the paper's MNIST and Fashion-MNIST experiments.

    For 32, then 64 channels: two 3×3 convolutions with ReLU and a 2×2 max pool; then a dense layer and batch
    normalisation, with no activation after it. All kernels start from `he_uniform`.

    Args:
        image_shape: (height, width, channels).
        feature_dim: `d`, length of the feature vector.

    Returns:
        A Keras model, images (n, *image_shape) in 0–255 → features (n, feature_dim).

    Example:
        >>> simple_cnn((28, 28, 1)).output_shape
        (None, 64)
    """
    images = x = keras.Input(image_shape, name="image")
    for filters in (32, 64):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", activation="relu", kernel_initializer="he_uniform")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(feature_dim, kernel_initializer="he_uniform")(x)
    return keras.Model(images, layers.BatchNormalization()(x), name="simple_cnn")


def resnet(image_shape: tuple[int, int, int], depth: int = 44, feature_dim: int = 64) -> keras.Model:
    """The residual network of the paper's experiments on colour images (44 layers; 56 for the larger ones).

    A stem of 16 filters, then three stages of (depth − 2) / 6 blocks with 16, 32 and 64 filters, ELU, and a global
    average pool. A block is convolution-BN-ELU, convolution-BN and an addition, with no activation after it; the first
    block of the second and third stage halves the resolution, with a 1×1 convolution and BN on its shortcut.

    Args:
        image_shape: (height, width, channels).
        depth: 6m + 2, for instance 20, 44, 56.
        feature_dim: length of the feature vector. The pooled features are 64 long; another length adds a linear layer.

    Returns:
        A Keras model, images (n, *image_shape) in 0–255 → features (n, feature_dim).

    Raises:
        ValueError: if depth is not 6m + 2.

    Example:
        >>> resnet((32, 32, 3), depth=8).output_shape
        (None, 64)
    """
    if depth < 8 or depth % 6 != 2:
        raise ValueError(f"Expected `depth` to be 6m + 2 with m ≥ 1 (8, 14, 20, … 44, 56). Received: depth={depth}")
    images = keras.Input(image_shape, name="image")
    x = ELU()(_convolution(images, 16, 3))
    for stage, filters in enumerate((16, 32, 64)):
        for block in range((depth - 2) // 6):
            x = _residual_block(x, filters, downsample=stage > 0 and block == 0)
    x = layers.GlobalAveragePooling2D()(ELU()(x))
    if feature_dim != 64:
        x = layers.Dense(feature_dim, kernel_initializer="he_normal")(x)
    return keras.Model(images, x, name=f"resnet{depth}")


def _residual_block(x, filters, downsample):
    strides = 2 if downsample else 1
    shortcut = _convolution(x, filters, 1, strides) if downsample else x
    x = ELU()(_convolution(x, filters, 3, strides))
    return layers.Add()([_convolution(x, filters, 3), shortcut])


def _convolution(x, filters, kernel_size, strides=1):
    x = layers.Conv2D(filters, kernel_size, strides, padding="same", kernel_initializer="he_normal")(x)
    return FusedBatchNormalization()(x)
