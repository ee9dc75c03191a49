"""`ClassRegions`, the layer that holds every class's centre and radius; smaller parts that networks are made of."""

import keras
import tensorflow as tf

from arconvl_tf import regions

INITIAL_RADIUS = 0.1


@keras.saving.register_keras_serializable("arconvl_tf")
class ClassRegions(keras.layers.Layer):
    """Classifies features by their squared distance to learnable class centres.

    The layer also holds one radius a class. Radii do not enter its output; the region loss (Eq. 2) teaches them.
    Whatever the precision of the backbone, the layer computes in float32: small distances between long vectors
    would not survive half precision.

    Args:
        num_classes: `k`, at least 2.
        learn_radii: whether the radii count among the trainable weights.
        name: optional name.

    Input shape:
        `(n, d)`, features.

    Output shape:
        `(n, k)`, logits: minus the squared distance to each centre.

    Attributes:
        centers: weight of shape (k, d), `he_uniform` like a dense kernel of k inputs.
        radii: non-negative weight of shape (k,), 0.1 at the start.
        learn_radii: whether the radii count among the trainable weights.

    Raises:
        ValueError: on fewer than two classes, or an input that is not (n, d).

    Example:
        >>> import numpy as np
        >>> layer = ClassRegions(num_classes=3)
        >>> layer(np.zeros((2, 64))).shape
        TensorShape([2, 3])

    Reference:
        ARConvL, section 3.1; "prototypes" in Yang et al., Robust Classification with Convolutional Prototype
        Learning, CVPR 2018.
    """

    def __init__(self, num_classes: int, *, learn_radii: bool = True, name: str | None = None, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(name=name, **kwargs)
        if num_classes < 2:
            raise ValueError(f"Expected `num_classes` to be at least 2. Received: num_classes={num_classes}")
        self.num_classes = num_classes
        self._learn_radii = learn_radii
        # Cancelled distances are found and measured again, a number of pairs that XLA can't know beforehand.
        self.supports_jit = False

    @property
    def learn_radii(self):
        return self._learn_radii

    @learn_radii.setter
    def learn_radii(self, value):
        self._learn_radii = value
        if self.built:
            self.radii.trainable = value

    def build(self, input_shape):
        if len(input_shape) != 2 or not isinstance(input_shape[-1], int):
            raise ValueError(
                "Expected features of shape (batch, feature_dim), with feature_dim known: end the backbone in a "
                f"pooling or Dense layer. Received: shape {tuple(input_shape)}"
            )
        self.centers = self.add_weight(
            name="centers", shape=(self.num_classes, input_shape[-1]), initializer="he_uniform"
        )
        self.radii = self.add_weight(
            name="radii",
            shape=(self.num_classes,),
            initializer=keras.initializers.Constant(INITIAL_RADIUS),
            constraint=keras.constraints.NonNeg(),
            trainable=self.learn_radii,
        )

    def call(self, features):
        return -regions.squared_distances(features, self.centers)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.num_classes)

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes, "learn_radii": self.learn_radii}


@keras.saving.register_keras_serializable("arconvl_tf")
class FixedStatistics(keras.layers.Wrapper):
    """A pretrained network inside a model, whose batch statistics stay as they are while its weights learn.

    Moving averages over a few thousand pictures would spoil those of a million. Keras' advice is to call the network with
    `training=False`; written into a functional model that is overruled when the model itself is called for training, in
    a layer it holds.

    Args:
        layer: the network.

    Example:
        >>> import numpy as np
        >>> layer = FixedStatistics(keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization()]))
        >>> layer(np.array([[2.0], [4.0]]), training=True).numpy().round(1).ravel().tolist()
        [2.0, 4.0]
    """

    def call(self, inputs):
        return self.layer(inputs, training=False)

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)


@keras.saving.register_keras_serializable("arconvl_tf")
class LinearLogits(ClassRegions):
    """Classifies features by a linear layer, `f · c_j + b_j`, as the papers of most competitors have it.

    The rows of the kernel take the centres' place, so that whatever reads logits trains on it; they are no places in the
    feature space, and there are no regions.

    Args, input and output shape: as `ClassRegions`.

    Example:
        >>> import numpy as np
        >>> LinearLogits(num_classes=3)(np.zeros((1, 64))).numpy()
        array([[0., 0., 0.]], dtype=float32)
    """

    def build(self, input_shape):
        super().build(input_shape)
        self.radii.trainable = False
        limit = (6 / (self.num_classes + input_shape[-1])) ** 0.5  # of a dense layer's kernel (Glorot), which is (d, k)
        self.centers.assign(keras.initializers.RandomUniform(-limit, limit)(self.centers.shape))
        self.bias = self.add_weight(name="bias", shape=(self.num_classes,), initializer="zeros")

    def call(self, features):
        return tf.matmul(features, self.centers, transpose_b=True) + self.bias


@keras.saving.register_keras_serializable("arconvl_tf", name="FusedBatchNormalization")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation of images, in TensorFlow's one fused operation.

    Keras computes moments and normalises in a dozen passes over memory, which on a processor is half of a residual
    network's step; the fused operation makes two. Same function, same arguments, weights and moving statistics: files
    of weights go from one to the other. Masks, synchronised statistics, renormalisation, other types than float32
    weights, and inputs that are not (batch, height, width, channels) are left to Keras.

    Args:
        **kwargs: those of `keras.layers.BatchNormalization`.

    Example:
        >>> import numpy as np
        >>> layer = FusedBatchNormalization()
        >>> bool(np.allclose(layer(np.array([[[[1.0]]], [[[3.0]]]]), training=True).numpy().ravel(), [-1, 1], atol=1e-3))
        True
    """

    def call(self, inputs, training=None, mask=None):
        axis = self.axis if self.axis >= 0 else self.axis + len(inputs.shape)
        supported = self.variable_dtype == "float32" and inputs.dtype in (tf.float32, tf.bfloat16, tf.float16)
        if not supported or len(inputs.shape) != 4 or axis != 3 or mask is not None or self.synchronized or self.renorm:
            return super().call(inputs, training=training, mask=mask)
        channels = inputs.shape[-1]
        training = bool(training) and self.trainable
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.cast(self.gamma, tf.float32) if self.scale else tf.ones([channels]),
            offset=tf.cast(self.beta, tf.float32) if self.center else tf.zeros([channels]),
            mean=tf.zeros([0]) if training else tf.convert_to_tensor(self.moving_mean),
            variance=tf.zeros([0]) if training else tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=training,
        )
        if training:
            # The operation reports the variance of n − 1 degrees of freedom; Keras keeps that of n.
            count = tf.cast(tf.size(inputs) // channels, tf.float32)
            variance = variance * (count - 1.0) / count
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        return outputs


# Keras addresses the weights in a file by the name of a layer's class: with this one, files of weights go from one layer to
# the other, and those of version 0.1 still load. So does its configuration, which says the name below.
FusedBatchNormalization.__name__ = "BatchNormalization"
keras.saving.get_custom_objects()["arconvl_tf>BatchNormalization"] = FusedBatchNormalization


@keras.saving.register_keras_serializable("arconvl_tf")
class ELU(keras.layers.ELU):
    """Keras' exponential linear unit, computed in float32 where the network computes in half precision.

    TensorFlow forms exp(x) − 1 in the type of x. Between −0.002 and 0 that is 0 in bfloat16, and no digit is right near
    by; it is also slower on a processor than the way through float32.

    Args:
        **kwargs: those of `keras.layers.ELU`.

    Example:
        >>> import numpy as np
        >>> ELU()(np.array([-1.0, 2.0], "float32")).numpy()
        array([-0.63212055,  2.        ], dtype=float32)
    """

    def call(self, inputs):
        if inputs.dtype not in (tf.bfloat16, tf.float16):
            return super().call(inputs)
        return tf.cast(super().call(tf.cast(inputs, tf.float32)), inputs.dtype)


@keras.saving.register_keras_serializable("arconvl_tf")
class Sphere(keras.layers.Layer):
    """Puts features on a sphere around the origin: f ↦ ρ f/‖f‖. A zero vector, which has no direction, stays zero.

    Whatever the precision of the network, the layer computes in float32, as `ClassRegions` does.

    Args:
        radius: `ρ`, positive.

    Input shape:
        `(n, d)`.

    Output shape:
        `(n, d)`.

    Raises:
        ValueError: if the radius is not positive.

    Example:
        >>> import numpy as np
        >>> Sphere(5.0)(np.array([[0.3, 0.4], [0.0, 0.0]])).numpy()
        array([[3., 4.],
               [0., 0.]], dtype=float32)
    """

    def __init__(self, radius: float, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        if not radius > 0:
            raise ValueError(f"Expected `radius` to be positive. Received: radius={radius}")
        self.radius = radius

    def call(self, features):
        # Both branches of a `where` pass a gradient on: the root must be kept away from 0 inside of it as well.
        squared_norm = tf.reduce_sum(features**2, axis=-1, keepdims=True)
        zero = squared_norm == 0
        return features * tf.where(zero, 0.0, self.radius / tf.sqrt(tf.where(zero, 1.0, squared_norm)))

    def get_config(self):
        return {**super().get_config(), "radius": self.radius}


@keras.saving.register_keras_serializable("arconvl_tf")
class Preprocessing(keras.layers.Layer):
    """What a family of `keras.applications` does to pixels, as a layer, so that a saved model needs nothing done before it.

    Args:
        family: name of a module in `keras.applications` that has a `preprocess_input`.

    Input shape:
        `(n, height, width, 3)`, RGB in 0–255.

    Output shape:
        The same, in float32 under any policy.

    Raises:
        ValueError: on an unknown family.

    Example:
        >>> import numpy as np
        >>> Preprocessing("mobilenet_v2")(np.array([[[[0.0, 127.5, 255.0]]]])).numpy()
        array([[[[-1., 0., 1.]]]], dtype=float32)
    """

    def __init__(self, family: str, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        module = getattr(keras.applications, family, None)
        if not hasattr(module, "preprocess_input"):
            raise ValueError(f"Expected `family` to be a module of keras.applications. Received: family={family!r}")
        self.family = family
        self._preprocess = module.preprocess_input

    def call(self, images):
        return self._preprocess(images, data_format="channels_last")

    def get_config(self):
        return {**super().get_config(), "family": self.family}
