"""The projection, vectors, and where networks can be cut."""

import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from arconvl_tf import backbones


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


class ProjectionTest(tf.test.TestCase):
    def model(self, **options):
        features = keras.Input((10,))
        return keras.Model(features, backbones.projection(features, 4, **options))

    def test_squared_norm_starts_at_the_dimension_times_the_squared_scale(self):
        for scale in (1.0, 0.2):
            outputs = self.model(dropout=0.0, scale=scale)(normal(200, 10), training=True)
            self.assertAllClose(tf.reduce_mean(tf.reduce_sum(outputs**2, axis=1)), 4 * scale**2, rtol=1e-2)

    def test_is_dense_then_normalised_over_the_batch(self):
        model, features = self.model(dropout=0.0, scale=0.5), normal(50, 10)
        kernel, bias = model.get_layer("projection").get_weights()
        dense = features @ kernel + bias
        expected = 0.5 * (dense - dense.mean(0)) / np.sqrt(dense.var(0) + 1e-3)
        self.assertAllClose(model(features, training=True), expected, atol=1e-5)

    def test_dropout_leaves_features_out_in_training_alone(self):
        model, ones = self.model(dropout=0.5), np.ones((1000, 10), "float32")
        dropped = keras.Model(model.input, model.get_layer("projection_dropout").output)(ones, training=True)
        self.assertAllClose(tf.reduce_mean(tf.cast(dropped == 0, tf.float32)), 0.5, atol=0.03)
        self.assertAllEqual(model(ones), model(ones))

    def test_sphere(self):
        outputs = self.model(sphere=2.0)(normal(8, 10), training=True)
        self.assertAllClose(tf.norm(outputs, axis=1), [2.0] * 8, rtol=1e-5)

    def test_refuses_a_scale_that_is_not_positive(self):
        for scale in (0.0, -1.0, float("nan")):
            with self.assertRaisesRegex(ValueError, "Expected `scale` to be positive. Received: scale="):
                self.model(scale=scale)


class VectorTest(tf.test.TestCase):
    def test_standardises_as_the_training_vectors_say(self):
        train = normal(50, 3) * [1.0, 100.0, 1e-4] + [0.0, -7.0, 2e4]
        train[:, 2] = 1234.567  # never changes
        model = backbones.vector(3)
        backbones.standardize(model, train)
        layer = model.get_layer("standardization")
        others = normal(5, 3)
        deviation = np.append(train[:, :2].std(axis=0), 1.0)
        self.assertAllClose(layer(others), (others - train.mean(axis=0)) / deviation, rtol=1e-4)
        self.assertAllClose(layer(train)[:, 2], np.zeros(50), atol=1e-3)

    def test_is_the_identity_before(self):
        vectors = normal(5, 3)
        self.assertAllClose(backbones.vector(3).get_layer("standardization")(vectors), vectors)

    def test_is_saved_with_the_model(self):
        vectors = normal(50, 3) * 5 + 3
        for hidden in (None, 7):
            model = backbones.vector(3, 8, hidden=hidden, sphere=1.0)
            backbones.standardize(model, vectors)
            with tempfile.TemporaryDirectory() as folder:
                model.save(f"{folder}/model.keras")
                loaded = keras.models.load_model(f"{folder}/model.keras")
            self.assertAllEqual(loaded(vectors), model(vectors))
            self.assertAllClose(loaded.get_layer("standardization")(vectors).numpy().std(0), np.ones(3), rtol=1e-4)

    def test_keeps_its_digits_in_half_precision(self):
        """Two vectors 1 apart, far from the origin: half precision has steps of 4 there."""
        keras.config.set_dtype_policy("mixed_bfloat16")
        self.addCleanup(keras.config.set_dtype_policy, "float32")
        model = backbones.vector(1)
        vectors = np.array([[1000.0], [1001.0]])
        backbones.standardize(model, vectors)
        self.assertAllClose(model.get_layer("standardization")(vectors), [[-1.0], [1.0]])

    def test_hidden_layer(self):
        model = backbones.vector(3, 8, hidden=7)
        self.assertEqual(model.count_params(), (3 + 3 + 1) + (3 * 7 + 7) + (7 * 8 + 8) + 4 * 8)

    def test_refuses_vectors_of_another_length(self):
        model = backbones.vector(3)
        for wrong in (normal(5, 4), normal(5), normal(0, 3)):
            with self.assertRaisesRegex(ValueError, r"Expected vectors of shape \(n, 3\)"):
                backbones.standardize(model, wrong)


class CuttingTest(tf.test.TestCase):
    def branches(self):
        inputs = keras.Input((4,))
        x = keras.layers.Dense(4, name="first")(inputs)
        x = keras.layers.Dense(8, activation="relu", name="wide")(x)
        y = keras.layers.Dense(8, name="branch")(x)
        x = keras.layers.Add(name="sum")([x, y])
        x = keras.layers.Dense(3, name="narrow")(x)
        x = keras.layers.BatchNormalization(name="after")(x)
        return keras.Model(inputs, keras.layers.Dense(2, name="last")(x))

    def test_branches_are_not_cut(self):
        self.assertEqual(backbones.cut_points(self.branches()), ["first", "wide", "sum", "narrow", "after"])

    def test_default_is_the_last_of_the_narrowest_that_leave_a_third(self):
        inputs = x = keras.Input((4,))
        for number, width in enumerate([4, 4, 4, 4, 4, 6, 3, 3, 4, 4]):  # the cuts after 5 and 6 leave 0.4 and 0.3
            x = keras.layers.Dense(width, name=f"layer{number}")(x)
        lower, upper = backbones.split_at(keras.Model(inputs, x))
        self.assertEqual(lower.layers[-1].name, "layer6")
        self.assertLen(upper.layers, 1 + 3)

    @pytest.mark.slow
    def test_the_parts_are_the_whole_before_and_after_a_step(self):
        for network, layer, shape in (
            (self.branches(), "sum", (6, 4)),
            (backbones.efficientnet_lite0((32, 32, 3), None), None, (6, 32, 32, 3)),
            (backbones.extractor("mobilenet_v3_small", (32, 32, 3), None), None, (6, 32, 32, 3)),
        ):
            lower, upper = backbones.split_at(network, layer)
            inputs = normal(*shape)
            self.assertAllEqual(upper(lower(inputs)), network(inputs))
            before = network(inputs).numpy()
            for weight in upper.trainable_weights:
                weight.assign(weight * 1.5 + 0.1)
            self.assertAllEqual(upper(lower(inputs)), network(inputs))
            self.assertNotAllClose(network(inputs), before)

    def test_a_network_that_was_cut_is_saved_whole(self):
        network = backbones.resnet((8, 8, 3), depth=8)
        _, upper = backbones.split_at(network)
        with tempfile.TemporaryDirectory() as folder:
            for part, inputs in ((network, normal(2, 8, 8, 3)), (upper, normal(2, *upper.input_shape[1:]))):
                part.save(f"{folder}/part.keras")
                self.assertAllEqual(keras.models.load_model(f"{folder}/part.keras")(inputs), part(inputs))

    def test_wrong_names_are_answered_with_right_ones(self):
        network = backbones.efficientnet_lite0((32, 32, 3), None)
        for wrong, right in {"block10": "block10_add", "block8_project": "block8_project_bn"}.items():
            with self.assertRaisesRegex(ValueError, f"Received: layer='{wrong}'. Take one of .*{right}"):
                backbones.split_at(network, wrong)

    def test_a_network_without_such_a_cut_is_refused(self):
        inputs = keras.Input((4,))
        network = keras.Model(inputs, keras.layers.Dense(4)(inputs) + keras.layers.Dense(4)(inputs), name="pair")
        with self.assertRaisesRegex(ValueError, "Received: pair, which can be cut after no layer"):
            backbones.split_at(network)
