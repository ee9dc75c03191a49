import tempfile

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf import backbones
from arconvl_tf.benchmarks.models import with_stock_layers
from arconvl_tf.layers import ELU, ClassRegions, FusedBatchNormalization, Preprocessing, Sphere


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
        optimizer = keras.optimizers.SGD(1.0)
        optimizer.apply([tf.constant([5.0, -2.0])], [layer.radii])
        self.assertAllClose(layer.radii, [0.0, 2.1])

    def test_refuses_one_class_and_maps(self):
        with self.assertRaisesRegex(ValueError, "at least 2"):
            ClassRegions(1)
        with self.assertRaisesRegex(ValueError, "batch, feature_dim"):
            ClassRegions(2).build((None, 4, 4, 8))


class BatchNormalizationTest(tf.test.TestCase):
    """Against Keras' own layer, which stays the definition."""

    def setUp(self):
        super().setUp()
        rng = np.random.default_rng(0)
        self.images = rng.normal(3.0, 5.0, (8, 6, 6, 5)).astype("float32")
        self.pair = keras.layers.BatchNormalization(), FusedBatchNormalization()
        weights = [rng.uniform(0.5, 2.0, 5).astype("float32") for _ in range(4)]
        for layer in self.pair:
            layer.build(self.images.shape)
            layer.set_weights(weights)

    def outputs_and_gradients(self, layer, **call):
        images = tf.constant(self.images)
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = layer(images, **call)
            total = tf.reduce_sum(outputs**3)
        return [outputs, *tape.gradient(total, [images, layer.gamma.value, layer.beta.value])]

    def assertAlike(self, **call):
        for stock, fused in zip(*[self.outputs_and_gradients(layer, **call) for layer in self.pair]):
            self.assertAllClose(fused, stock, rtol=1e-4, atol=1e-4 * np.max(np.abs(stock)))
        for stock, fused in zip(*[layer.get_weights() for layer in self.pair]):
            self.assertAllClose(fused, stock, rtol=1e-5)

    def test_training(self):
        for _ in range(3):
            self.assertAlike(training=True)

    def test_inference(self):
        self.assertAlike(training=False)

    def test_frozen(self):
        for layer in self.pair:
            layer.trainable = False
        images = tf.constant(self.images)
        self.assertAllClose(*[layer(images, training=True) for layer in self.pair], rtol=1e-4, atol=1e-5)

    def test_renormalisation_is_left_to_keras(self):
        self.pair = [layer_class(renorm=True) for layer_class in (keras.layers.BatchNormalization, FusedBatchNormalization)]
        self.assertAlike(training=True)

    def test_vectors_are_left_to_keras(self):
        vectors = self.images[:, 0, 0]
        layer = FusedBatchNormalization()
        self.assertAllClose(layer(vectors, training=True), keras.layers.BatchNormalization()(vectors, training=True))

    def test_files_of_weights_go_from_one_to_the_other(self):
        fused = backbones.resnet((8, 8, 3), depth=8)
        stock = with_stock_layers(fused)
        images = np.random.default_rng(1).uniform(0, 255, (4, 8, 8, 3))
        with tempfile.TemporaryDirectory() as folder:
            stock.save_weights(f"{folder}/stock.weights.h5")
            fused.load_weights(f"{folder}/stock.weights.h5")
        self.assertAllClose(stock(images), fused(images), rtol=1e-4, atol=1e-5)
        self.assertAllClose(stock(images, training=True), fused(images, training=True), rtol=1e-3, atol=1e-4)
        for a, b in zip(stock.weights, fused.weights):
            self.assertAllClose(a, b, rtol=1e-4, atol=1e-4)


class ELUTest(tf.test.TestCase):
    """Against the formula in float64: x above 0, exp(x) − 1 below."""

    def setUp(self):
        super().setUp()
        self.inputs = np.concatenate([-np.geomspace(1e-3, 8.0, 400), [0.0], np.geomspace(1e-3, 8.0, 100)])

    def assertAccurate(self, dtype, relative_error):
        inputs = tf.constant(self.inputs, dtype)
        layer = ELU(dtype=dtype)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
        gradient = tape.gradient(outputs, inputs)
        exact = tf.cast(inputs, tf.float64).numpy()
        self.assertEqual(outputs.dtype, dtype)
        self.assertAllClose(tf.cast(outputs, tf.float64), np.maximum(exact, np.expm1(np.minimum(exact, 0))), relative_error, 0)
        self.assertAllClose(tf.cast(gradient, tf.float64), np.exp(np.minimum(exact, 0)), relative_error, 0)

    def test_half_precision_keeps_its_digits_near_zero(self):
        self.assertAccurate("bfloat16", 2**-8)
        self.assertAccurate("float16", 2**-10)

    def test_float64_stays_float64(self):
        layer = ELU(dtype="float64")
        self.assertEqual(layer(tf.constant(self.inputs, tf.float64)).dtype, "float64")


class SphereTest(tf.test.TestCase):
    def outputs_and_gradient(self, features, upstream, radius):
        features = tf.constant(features, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(features)
            outputs = Sphere(radius)(features)
            total = tf.reduce_sum(outputs * upstream)
        return outputs, tape.gradient(total, features)

    def test_length_direction_and_gradient(self):
        """The derivative of ρ f/‖f‖ is ρ/‖f‖ (I − u uᵀ) with u = f/‖f‖: what points outwards does not count."""
        rng = np.random.default_rng(0)
        features, upstream = rng.normal(size=(6, 4)) * np.geomspace(1e-6, 1e6, 6)[:, None], rng.normal(size=(6, 4))
        outputs, gradient = self.outputs_and_gradient(features, upstream, 3.5)
        norms = np.linalg.norm(features, axis=1, keepdims=True)
        unit = features / norms
        self.assertAllClose(outputs, 3.5 * unit, rtol=1e-5)
        expected = 3.5 / norms * (upstream - unit * (unit * upstream).sum(axis=1, keepdims=True))
        self.assertAllClose(gradient * norms, expected * norms, rtol=1e-4, atol=1e-5)

    def test_zero_stays_zero_and_moves_nothing(self):
        outputs, gradient = self.outputs_and_gradient([[0.0, 0.0], [3.0, 4.0]], tf.ones((2, 2)), 5.0)
        self.assertAllClose(outputs, [[0.0, 0.0], [3.0, 4.0]])
        self.assertAllClose(gradient, [[0.0, 0.0], [0.16, -0.12]], atol=1e-6)

    def test_computes_in_float32(self):
        outputs = Sphere(1.0)(tf.constant([[1.0, 3.0]], tf.bfloat16))
        self.assertEqual(outputs.dtype, "float32")
        self.assertAllClose(outputs, [[1 / np.sqrt(10), 3 / np.sqrt(10)]], rtol=1e-6)

    def test_refuses_other_radii(self):
        for radius in (0.0, -1.0, float("nan")):
            with self.assertRaisesRegex(ValueError, "Expected `radius` to be positive. Received: radius="):
                Sphere(radius)


class PreprocessingTest(tf.test.TestCase):
    """Against `preprocess_input`, which Keras writes twice: for NumPy arrays, used here, and for tensors."""

    def test_every_family(self):
        pixels = np.random.default_rng(0).uniform(0, 255, (2, 3, 4, 3)).astype("float32")
        families = [name for name in dir(keras.applications) if hasattr(getattr(keras.applications, name), "preprocess_input")]
        self.assertGreater(len(families), 14)
        for family in families:
            expected = getattr(keras.applications, family).preprocess_input(pixels.copy())
            self.assertAllClose(Preprocessing(family)(pixels), expected, rtol=1e-5, atol=1e-4, msg=family)

    def test_keeps_the_digits_of_pixels_in_half_precision(self):
        """200.3 lies between 200 and 201 in bfloat16."""
        outputs = Preprocessing("mobilenet_v2", dtype="mixed_bfloat16")(np.full((1, 1, 1, 3), 200.3, "float32"))
        self.assertAllClose(outputs, np.full((1, 1, 1, 3), 200.3 / 127.5 - 1), rtol=1e-5)

    def test_refuses_other_names(self):
        for family in ("ResNet50", "", "layers"):
            with self.assertRaisesRegex(ValueError, f"Expected `family` .* Received: family='{family}'"):
                Preprocessing(family)
