import numpy as np
import tensorflow as tf

from arconvl_tf.layers import ClassRegions


class ClassRegionsTest(tf.test.TestCase):
    def test_logits_are_minus_squared_distances(self):
        layer = ClassRegions(4)
        features = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
        logits = layer(features)
        difference = features[:, None] - layer.centers.numpy()[None]
        self.assertAllClose(logits, -(difference**2).sum(axis=-1), rtol=1e-5)

    def test_starts_as_the_paper_does(self):
        layer = ClassRegions(500)
        layer.build((None, 64))
        limit = np.sqrt(6 / 500)  # he_uniform of a (k, d) kernel has k inputs
        centers = layer.centers.numpy()
        self.assertAllInRange(centers, -limit, limit)
        self.assertAllClose(centers.std(), limit / np.sqrt(3), rtol=0.02)
        self.assertAllEqual(layer.radii, np.full(500, np.float32(0.1)))

    def test_radii_never_become_negative(self):
        layer = ClassRegions(2)
        layer.build((None, 3))
        self.assertAllEqual(layer.radii.constraint(tf.constant([-1.0, 2.0])), [0.0, 2.0])

    def test_refuses_one_class_and_maps(self):
        with self.assertRaisesRegex(ValueError, "at least 2"):
            ClassRegions(1)
        with self.assertRaisesRegex(ValueError, "batch, feature_dim"):
            ClassRegions(2).build((None, 4, 4, 8))
