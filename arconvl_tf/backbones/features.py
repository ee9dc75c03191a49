"""From features to the latent space: the projection that every pretrained network ends in, and vectors as they come."""

import keras
import numpy as np
from keras import layers

from arconvl_tf.layers import Sphere

_STANDARDIZATION, _NORMALIZATION = "standardization", "projection_bn"


def projection(features, feature_dim: int | None, *, dropout: float = 0.3, scale: float = 0.2, sphere: float | None = None):
    """Features → latent space: dropout, a dense layer, batch normalisation, and a sphere if one is asked for.

    Args:
        features: Keras tensor (n, c).
        feature_dim: `d`, length of the result; `None` stops behind the dropout, which is what a linear head takes.
        dropout: share of the features that a training step leaves out, in [0, 1).
        scale: γ of the batch normalisation at the start. A result's squared norm starts near d · scale², and the loss weighs
            squared distances against the logarithms of the classes' shares: it learns little where one dwarfs the other.
        sphere: optional radius ρ; every result f becomes ρ f/‖f‖.

    Returns:
        Keras tensor (n, feature_dim), or (n, c).

    Raises:
        ValueError: on a scale or a radius that is not positive.

    Example:
        >>> features = keras.Input((1280,))
        >>> projection(features, 64, sphere=3.5).shape
        (None, 64)
    """
    if not scale > 0:
        raise ValueError(f"Expected `scale` to be positive. Received: scale={scale}")
    x = layers.Dropout(dropout, name="projection_dropout")(features)
    if feature_dim is None:
        return x
    x = layers.Dense(feature_dim, name="projection")(x)
    x = layers.BatchNormalization(gamma_initializer=keras.initializers.Constant(scale), name=_NORMALIZATION)(x)
    return x if sphere is None else Sphere(sphere, name="projection_sphere")(x)


def vector(
    input_dim: int,
    feature_dim: int | None = 64,
    *,
    hidden: int | None = None,
    dropout: float = 0.3,
    scale: float = 0.2,
    sphere: float | None = None,
) -> keras.Model:
    """A backbone for vectors: embeddings, measurements, the columns of a table.

    Standardisation, a hidden layer with ReLU if one is asked for, then `projection`. The standardisation is the identity
    until `standardize` has seen the training vectors; it is saved with the model.

    Args:
        input_dim: length of a vector.
        feature_dim: `d`, length of the features; `None` as in `projection`.
        hidden: width of the hidden layer; None for none.
        dropout: see `projection`.
        scale: see `projection`.
        sphere: see `projection`.

    Returns:
        A Keras model, vectors (n, input_dim) → features (n, feature_dim).

    Example:
        >>> train = np.array([[0.0, 7.0], [2.0, 7.0]])
        >>> backbone = vector(2, feature_dim=8)
        >>> standardize(backbone, train)
        >>> backbone(train).shape
        TensorShape([2, 8])
    """
    vectors = keras.Input((input_dim,), name="vector")
    # In float32 under any policy: a large offset would leave half precision no digits.
    x = layers.Normalization(dtype="float32", name=_STANDARDIZATION)(vectors)
    if hidden is not None:
        x = layers.Dense(hidden, activation="relu", kernel_initializer="he_normal", name="hidden")(x)
    return keras.Model(vectors, projection(x, feature_dim, dropout=dropout, scale=scale, sphere=sphere), name="vector")


def standardize(model: keras.Model, vectors) -> None:
    """Sets a `vector` backbone's standardisation, (x − mean) / standard deviation, to that of the training vectors.

    A component that never changes has no deviation: it is centred, and divided by 1.

    Args:
        model: made by `vector`, or any functional model built on one.
        vectors: (n, input_dim) of the training part, without the pictures or rows kept for validation and test.

    Raises:
        ValueError: if the model has no such layer, or the vectors another length.

    Example:
        >>> backbone = vector(2)
        >>> standardize(backbone, np.array([[0.0, 7.0], [2.0, 7.0]]))
        >>> backbone.get_layer("standardization")(np.array([[3.0, 8.0]])).numpy()
        array([[2., 1.]], dtype=float32)
    """
    layer = model.get_layer(_STANDARDIZATION)
    vectors = np.asarray(vectors, "float64")
    if vectors.ndim != 2 or vectors.shape[1:] != layer.adapt_mean.shape or not len(vectors):
        raise ValueError(
            f"Expected vectors of shape (n, {layer.adapt_mean.shape[0]}), as the backbone was made for. Received: shape "
            f"{vectors.shape}"
        )
    constant = vectors.min(axis=0) == vectors.max(axis=0)
    variance = np.where(constant, 1.0, vectors.var(axis=0))
    layer.set_weights([vectors.mean(axis=0), variance, np.array(len(vectors))])
    layer.finalize_state()


def calibrate(backbone: keras.Model, batches) -> None:
    """Sets the statistics of a `projection`'s batch normalisation to those of training samples.

    They start at 0 and 1 and follow the batches while a model trains. What reads features before that, class means for
    instance, would see another latent space than the first training step.

    Args:
        backbone: a functional model that ends in a `projection`.
        batches: arrays of its inputs (m, …).

    Example:
        >>> backbone = vector(2, feature_dim=3, scale=1.0)
        >>> samples = np.random.default_rng(0).normal(size=(500, 2))
        >>> calibrate(backbone, [samples[:300], samples[300:]])
        >>> features = backbone(samples).numpy()
        >>> bool(np.allclose(features.mean(axis=0), 0, atol=1e-5) and np.allclose(features.std(axis=0), 1, atol=1e-2))
        True
    """
    normalization = backbone.get_layer(_NORMALIZATION)
    before = keras.Model(backbone.input, normalization.input)
    features = np.concatenate([np.asarray(before(inputs, training=False), "float64") for inputs in batches])
    normalization.moving_mean.assign(features.mean(axis=0))
    normalization.moving_variance.assign(features.var(axis=0))
