from unittest import mock

import numpy as np
import tensorflow as tf

from arconvl_tf import hardware, regions
from tests import oracles


def exact_distances(features, centers):
    difference = features[:, None, :].astype("float64") - centers[None, :, :].astype("float64")
    return (difference**2).sum(axis=-1)


class SquaredDistancesTest(tf.test.TestCase):
    def test_equals_loop_oracle(self):
        rng = np.random.default_rng(0)
        features, centers = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
        expected = [[oracles.squared_distance(f, c) for c in centers] for f in features]
        self.assertAllClose(regions.squared_distances(tf.constant(features), tf.constant(centers)), expected, rtol=1e-12)

    def test_relative_error_where_the_expanded_form_cancels(self):
        self.check_relative_error()

    def test_relative_error_on_a_gpu_that_rounds_products(self):
        """TF32 as recent GPUs have it, imitated: factors of float32 products lose all but ten bits."""
        matmul = tf.matmul

        def rounded(*factors, **options):
            if factors[0].dtype == tf.float32:
                factors = [tf.bitcast(tf.bitwise.bitwise_and(tf.bitcast(f, tf.int32), -(1 << 13)), tf.float32) for f in factors]
            return matmul(*factors, **options)

        with mock.patch.object(tf, "matmul", rounded):
            with mock.patch.object(hardware, "rounds_float32_products", return_value=False):
                with self.assertRaises(AssertionError):
                    self.check_relative_error()
            with mock.patch.object(hardware, "rounds_float32_products", return_value=True):
                self.check_relative_error()

    def check_relative_error(self):
        rng = np.random.default_rng(1)
        for dimensions, offset, spread in [(64, 1e3, 1e-2), (2048, 1e2, 1e-3), (2, 1e4, 1.0), (64, 0.0, 1e-15)]:
            # Half of the centres far away, so that moving the origin alone can't help.
            centers = rng.normal(size=(6, dimensions)) * spread
            centers[:3] += offset
            features = np.repeat(centers, 4, axis=0) + rng.normal(size=(24, dimensions)) * spread * 0.1
            features, centers = features.astype("float32"), centers.astype("float32")
            measured = regions.squared_distances(tf.constant(features), tf.constant(centers)).numpy()
            exact = exact_distances(features, centers)
            self.assertGreaterEqual(measured.min(), 0.0)
            self.assertLess(np.max(np.abs(measured - exact) / np.maximum(exact, 1e-37)), 1e-4)

    def test_a_feature_on_its_centre_is_at_distance_zero(self):
        centers = tf.constant(np.random.default_rng(2).normal(size=(3, 64)) * 1e3, tf.float32)
        self.assertAllEqual(tf.linalg.diag_part(regions.squared_distances(centers, centers)), [0.0, 0.0, 0.0])

    def test_gradient_equals_two_times_the_difference(self):
        rng = np.random.default_rng(3)
        features, centers, upstream = (rng.normal(size=shape) for shape in [(5, 3), (4, 3), (5, 4)])
        tensors = [tf.constant(features), tf.constant(centers)]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            total = tf.reduce_sum(regions.squared_distances(*tensors) * upstream)
        difference = features[:, None] - centers[None]
        expected = 2 * upstream[..., None] * difference
        by_features, by_centers = tape.gradient(total, tensors)
        self.assertAllClose(by_features, expected.sum(axis=1), rtol=1e-10)
        self.assertAllClose(by_centers, -expected.sum(axis=0), rtol=1e-10)

    def test_invariant_under_translation_and_rotation(self):
        rng = np.random.default_rng(4)
        features, centers = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        before = regions.squared_distances(tf.constant(features), tf.constant(centers))
        moved = regions.squared_distances(tf.constant(features @ rotation + 7), tf.constant(centers @ rotation + 7))
        self.assertAllClose(before, moved, rtol=1e-9)

    def test_saturates_instead_of_overflowing(self):
        features = tf.constant([[1e25, 0.0], [0.0, 0.0]])
        with tf.GradientTape() as tape:
            tape.watch(features)
            distances = regions.squared_distances(features, tf.constant([[1e25, 0.0], [-1e25, 0.0]]))
        self.assertAllEqual(tf.math.is_finite(distances), tf.ones([2, 2], tf.bool))
        self.assertAllEqual(tf.math.is_finite(tape.gradient(distances, features)), tf.ones([2, 2], tf.bool))
        self.assertEqual(float(distances[0, 0]), 0.0)


class RegionGeometryTest(tf.test.TestCase):
    def test_equals_loop_oracle(self):
        rng = np.random.default_rng(0)
        for scale in (0.1, 1.0, 3.0):
            centers, radii = rng.normal(size=(6, 4)), scale * rng.uniform(size=6)
            measured = regions.region_geometry(tf.constant(centers), tf.constant(radii))
            self.assertAllClose(list(measured), oracles.geometry(centers, radii), rtol=1e-10)

    def test_equal_regions_need_no_force(self):
        # A regular simplex: every centre is equally far from its nearest, and no radius exceeds the benchmark.
        geometry = regions.region_geometry(tf.eye(4, dtype=tf.float64), tf.fill([4], tf.constant(0.1, tf.float64)))
        self.assertAllClose(list(geometry), [0.5, 0.5, 0.0, 0.0])

    def test_scales_with_the_square_of_lengths(self):
        rng = np.random.default_rng(1)
        centers, radii = tf.constant(rng.normal(size=(5, 3))), tf.constant(rng.uniform(size=5))
        before, after = regions.region_geometry(centers, radii), regions.region_geometry(3 * centers, 3 * radii)
        self.assertAllClose([9 * before.benchmark_sq, 9 * before.upper_bound_sq, 9 * before.margin], [after[0], after[1], after[3]])
        self.assertAllClose(before.beta, after.beta)

    def test_two_equal_centres(self):
        geometry = regions.region_geometry(tf.constant([[1.0], [1.0], [3.0]]), tf.constant([0.1, 0.1, 0.1]))
        self.assertAllClose(list(geometry), [0.0, 1.0, 1.0, 0.0])

    def test_blocks_of_rows_change_nothing(self):
        rng = np.random.default_rng(2)
        centers = tf.constant(rng.normal(size=(23, 4)))
        whole = regions.nearest_center_distances(centers)
        with mock.patch.object(regions, "BLOCK_ELEMENTS", 60):
            self.assertAllClose(tf.function(regions.nearest_center_distances)(centers), whole, rtol=1e-12)

