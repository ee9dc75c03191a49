"""`ClassRegions`: the layer that holds every class's centre and radius."""

import keras

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
        >>> layer = ClassRegions(num_classes=3)
        >>> layer(np.zeros((2, 64))).shape
        TensorShape([2, 3])

    Reference:
        ARConvL, section 3.1; "prototypes" in Yang et al., Robust Classification with Convolutional Prototype
        Learning, CVPR 2018.
    """

    def __init__(self, num_classes, name=None, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(name=name, **kwargs)
        if num_classes < 2:
            raise ValueError(f"Expected `num_classes` to be at least 2. Received: num_classes={num_classes}")
        self.num_classes = num_classes
        self._learn_radii = True

    @property
    def learn_radii(self):
        return self._learn_radii

    @learn_radii.setter
    def learn_radii(self, value):
        self._learn_radii = value
        if self.built:
            self.radii.trainable = value

    def build(self, input_shape):
        if len(input_shape) != 2 or input_shape[-1] is None:
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
        return {**super().get_config(), "num_classes": self.num_classes}
