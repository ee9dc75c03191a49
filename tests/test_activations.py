import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import textwrap
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf.data.sides import Side
from arconvl_tf.experiments import activations
from arconvl_tf.experiments.activations import ActivationStore


def cached_activations(lower, side, views, about, progress=None):
    return activations.cached_activations(ActivationStore.of(lower, views, about), lower, side, views, progress)


def lower_part(seed=0):
    keras.utils.set_random_seed(seed)
    images = keras.Input((6, 4, 1))
    return keras.Model(images, keras.layers.Conv2D(3, 3, use_bias=False)(images))


def pictures(count, seed=0):
    """A side of random pictures; `.seen` are the indices that were fetched."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 6, 4, 1), "uint8")
    seen = []

    def read(indices):
        seen.extend(indices.tolist())
        return pixels[indices]

    def fetch(indices):
        return tf.ensure_shape(tf.numpy_function(read, [indices], tf.uint8), (None, 6, 4, 1))

    digests = np.random.default_rng(seed + 1).integers(0, 256, (count, 16), "uint8")
    return Side(fetch, np.arange(count) % 3, digests=digests), pixels, seen


class ActivationsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        patch = mock.patch.dict(os.environ, XDG_CACHE_HOME=folder.name)
        patch.start()
        self.addCleanup(patch.stop)

    def test_rows_are_the_lower_parts_output_for_each_mirror_image(self):
        lower, (side, pixels, _) = lower_part(), pictures(70)
        cached = cached_activations(lower, side, 4, "test")
        images = pixels.astype("float32")
        mirrors = [images, images[:, :, ::-1], images[:, ::-1], images[:, ::-1, ::-1]]
        expected = np.stack([lower.predict(mirror, verbose=0) for mirror in mirrors], axis=1)
        self.assertAllClose(cached.fetch(tf.range(70)), expected[:, 0], rtol=1e-3)
        drawn = np.stack([cached.draw(tf.constant([5, 69, 5]), [seed, 0]) for seed in range(40)])
        for position, index in enumerate((5, 69, 5)):
            views = [np.argmin([np.abs(row - view).max() for view in expected[index]]) for row in drawn[:, position]]
            self.assertAllClose(drawn[:, position], expected[index][views], rtol=1e-3)
            self.assertEqual(set(views), {0, 1, 2, 3})
        self.assertAllEqual(cached.draw(tf.constant([1, 2]), [7, 1]), cached.draw(tf.constant([1, 2]), [7, 1]))

    def test_a_second_pass_computes_nothing_and_new_pictures_alone(self):
        lower, (side, _, seen) = lower_part(), pictures(40)
        first = cached_activations(lower, side.part(np.arange(30)), 2, "test")
        self.assertCountEqual(seen, range(30))
        seen.clear()
        told = []
        again = cached_activations(lower, side, 2, "test", lambda done, total: told.append((done, total)))
        self.assertCountEqual(seen, range(30, 40))
        self.assertEqual(told, [(10, 10)])
        self.assertAllEqual(first.fetch(tf.range(30)), again.fetch(tf.range(30)))

    def test_other_weights_views_or_readings_are_other_activations(self):
        side, pixels, seen = pictures(3)
        for lower, views, about in ((lower_part(), 1, "a"), (lower_part(1), 1, "a"), (lower_part(), 2, "a"), (lower_part(), 1, "b")):
            seen.clear()
            cached = cached_activations(lower, side, views, about)
            self.assertCountEqual(seen, range(3))
            self.assertAllClose(cached.fetch(tf.range(3)), lower.predict(pixels.astype("float32"), verbose=0), rtol=1e-3)

    def test_equal_pictures_are_computed_once(self):
        side, _, seen = pictures(4)
        side.digests[2] = side.digests[0]
        cached = cached_activations(lower_part(), side, 1, "test")
        self.assertCountEqual(seen, [0, 1, 3])
        self.assertAllEqual(*cached.fetch(tf.constant([0, 2])))

    def test_what_half_precision_cannot_hold_is_its_largest_number(self):
        lower, (side, _, _) = lower_part(), pictures(2)
        lower.set_weights([1e6 * np.ones_like(weight) for weight in lower.get_weights()])
        self.assertAllEqual(cached_activations(lower, side, 1, "test").fetch(tf.range(2)), np.full((2, 4, 2, 3), 65504.0))

    def test_damaged_files_are_computed_again(self):
        for kind in ("rows", "keys"):
            with self.subTest(kind):
                side, _, seen = pictures(5, seed=len(kind))
                expected = cached_activations(lower_part(), side, 1, kind).fetch(tf.range(5))
                for path in self.folder.rglob(f"*.{kind}.npy"):
                    path.write_bytes(path.read_bytes()[:90])
                seen.clear()
                again = cached_activations(lower_part(), side, 1, kind)
                self.assertCountEqual(seen, range(5))
                self.assertAllEqual(again.fetch(tf.range(5)), expected)

    def test_an_interrupted_pass_goes_on_where_it_was(self):
        script = """
            import os, signal
            from tests.test_activations import cached_activations, lower_part, pictures

            side, _, seen = pictures(600)
            kill = lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done > 300 else None
            cached_activations(lower_part(), side, 1, "test", kill)
        """
        killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=pathlib.Path(__file__).parents[1])
        self.assertEqual(killed.returncode, -signal.SIGKILL)
        side, pixels, seen = pictures(600)
        cached = cached_activations(lower_part(), side, 1, "test")
        rows = activations.BATCH_SIZE * activations.SHARD_BATCHES
        self.assertCountEqual(seen, range(rows, 600))
        self.assertAllClose(cached.fetch(tf.range(600)), lower_part().predict(pixels.astype("float32"), verbose=0), rtol=2e-3)


class ActivationStoreTest(tf.test.TestCase):
    def test_two_writers_share_a_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            digests = np.arange(64, dtype="uint8").reshape(4, 16)
            first, second = ActivationStore(folder), ActivationStore(folder)
            first.add(digests[:2], np.array([[1.0], [2.0]], "float16"))
            second.add(digests[2:], np.array([[3.0], [4.0]], "float16"))
            third = ActivationStore(folder)
            self.assertEmpty(third.missing(digests))
            self.assertAllEqual(third.reader(digests)(np.array([3, 0, 2])), [[4.0], [1.0], [3.0]])
            self.assertAllEqual(first.missing(digests), [2, 3])
