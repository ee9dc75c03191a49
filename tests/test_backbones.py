import keras
import numpy as np
import tensorflow as tf

from arconvl_tf import backbones


def conv(kernel, inputs, outputs):
    return kernel * kernel * inputs * outputs + outputs


class SimpleCNNTest(tf.test.TestCase):
    def test_parameter_count_by_hand(self):
        model = backbones.simple_cnn((28, 28, 1))
        expected = conv(3, 1, 32) + conv(3, 32, 32) + conv(3, 32, 64) + conv(3, 64, 64) + (7 * 7 * 64 * 64 + 64) + 4 * 64
        self.assertEqual(model.count_params(), expected)

    def test_features_are_normalised_and_may_be_negative(self):
        model = backbones.simple_cnn((28, 28, 1), feature_dim=3)
        features = model(np.random.default_rng(0).uniform(0, 255, (64, 28, 28, 1)), training=True).numpy()
        self.assertAllClose(features.mean(axis=0), np.zeros(3), atol=1e-3)
        self.assertAllClose(features.std(axis=0), np.ones(3), atol=1e-2)


class ResNetTest(tf.test.TestCase):
    def test_parameter_count_by_hand(self):
        for depth in (44, 56):
            blocks = (depth - 2) // 6
            expected = conv(3, 3, 16) + 4 * 16
            filters_in = 16
            for filters in (16, 32, 64):
                if filters != filters_in:
                    expected += conv(1, filters_in, filters) + 4 * filters
                for _ in range(blocks):
                    expected += conv(3, filters_in, filters) + conv(3, filters, filters) + 2 * 4 * filters
                    filters_in = filters
            self.assertEqual(backbones.resnet((32, 32, 3), depth).count_params(), expected)

    def test_depth_counts_convolutions_and_the_classifier(self):
        for depth in (8, 44):
            model = backbones.resnet((32, 32, 3), depth)
            on_the_path = [
                layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (3, 3)
            ]
            self.assertLen(on_the_path, depth - 1)

    def test_stages_halve_the_resolution(self):
        model = backbones.resnet((32, 32, 3), 8)
        sizes = [tuple(layer.output.shape[1:]) for layer in model.layers if isinstance(layer, keras.layers.Add)]
        self.assertEqual(sizes, [(32, 32, 16), (16, 16, 32), (8, 8, 64)])

    def test_another_feature_length(self):
        self.assertEqual(backbones.resnet((32, 32, 3), 8, feature_dim=2).output_shape, (None, 2))

    def test_refuses_other_depths(self):
        with self.assertRaisesRegex(ValueError, "6m . 2"):
            backbones.resnet((32, 32, 3), 45)
