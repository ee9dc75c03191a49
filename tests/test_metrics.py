import keras
import numpy as np
import tensorflow as tf
from scipy.stats import gmean
from sklearn.metrics import balanced_accuracy_score, recall_score

from arconvl_tf import metrics


def random_predictions(seed, n=200, k=5):
    rng = np.random.default_rng(seed)
    labels = rng.choice(k, n, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    logits = rng.normal(size=(n, k)) + 2 * np.eye(k)[labels]
    return labels, logits


class StreamingMetricsTest(tf.test.TestCase):
    def test_equal_scipy_and_scikit_learn_over_batches(self):
        for seed in range(3):
            labels, logits = random_predictions(seed)
            streams = [metrics.GMean(), metrics.ClassWiseAccuracy()]
            for part in np.array_split(np.arange(200), 7):
                for stream in streams:
                    stream.update_state(labels[part][:, None] if seed else labels[part], logits[part])
            predicted = logits.argmax(axis=1)
            self.assertAllClose(streams[0].result(), gmean(recall_score(labels, predicted, average=None)), rtol=1e-6)
            self.assertAllClose(streams[1].result(), balanced_accuracy_score(labels, predicted), rtol=1e-6)

    def test_one_lost_class_makes_the_g_mean_exactly_zero(self):
        stream = metrics.GMean()
        stream.update_state([0, 1, 1], np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]))
        self.assertEqual(float(stream.result()), 0.0)

    def test_classes_without_samples_are_left_out(self):
        stream = metrics.GMean()
        stream.update_state([0, 0, 2, 2], np.eye(3)[[0, 0, 2, 0]])
        self.assertAllClose(stream.result(), np.sqrt(0.5), rtol=1e-6)

    def test_sample_weights_count_samples(self):
        labels, logits = random_predictions(0)
        weights = np.random.default_rng(1).integers(0, 3, 200)
        weighted, repeated = metrics.GMean(), metrics.GMean()
        weighted.update_state(labels, logits, sample_weight=weights)
        repeated.update_state(np.repeat(labels, weights), np.repeat(logits, weights, axis=0))
        self.assertAllClose(weighted.result(), repeated.result(), rtol=1e-6)

    def test_takes_lists_and_refuses_a_single_column(self):
        self.assertEqual(float(metrics.GMean()([0, 1], [[0.9, 0.1], [0.2, 0.8]])), 1.0)
        with self.assertRaisesRegex(ValueError, r"k ≥ 2. Received: shape \(2, 1\)"):
            metrics.GMean().update_state([0, 1], [[0.9], [0.2]])

    def test_reset_forgets(self):
        stream = metrics.GMean()
        stream.update_state([0, 1], np.eye(2)[[1, 0]])
        stream.reset_state()
        stream.update_state([0, 1], np.eye(2))
        self.assertAllClose(stream.result(), 1.0)

    def test_survive_serialisation(self):
        for metric in (metrics.GMean(name="g"), metrics.ClassWiseAccuracy()):
            copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
            self.assertEqual((type(copy), copy.name), (type(metric), metric.name))


class ConfusionTest(tf.test.TestCase):
    def test_recalls_and_means(self):
        recalls = metrics.class_recalls([[3, 1, 0], [0, 0, 0], [0, 2, 2]])
        self.assertAllEqual(np.isnan(recalls), [False, True, False])
        self.assertAllClose(metrics.g_mean(recalls), np.sqrt(0.75 * 0.5))
        self.assertAllClose(metrics.class_wise_accuracy(recalls), 0.625)
        self.assertEqual(metrics.g_mean([1.0, 0.0]), 0.0)
