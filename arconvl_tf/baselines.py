"""Competing objectives on the same prototype network, with logits `z = −D`."""

import keras
import tensorflow as tf

from arconvl_tf.losses import batch_mean


@keras.saving.register_keras_serializable("arconvl_tf")
class CPLLoss:
    """Convolutional prototype learning: plain cross-entropy over the distances, `−1/n Σ_i log softmax(−D_i)_{y_i}`.

    Example:
        >>> terms = CPLLoss()(tf.constant([0]), tf.constant([[0.0, 0.0]]))
        >>> round(float(terms["cross_entropy"]), 4)
        0.6931

    Reference:
        Yang et al.: Robust Classification with Convolutional Prototype Learning, CVPR 2018.
    """

    learns_radii = False

    def __call__(self, labels, squared_distances, centers=None, radii=None, sample_weight=None):
        """Returns `{"cross_entropy": scalar}`; see `ARConvLLoss.__call__` for the arguments."""
        values = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, -squared_distances)
        return {"cross_entropy": batch_mean(values, sample_weight)}

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
