"""Wrong input is one line that says what was expected, what came and what to do."""

import functools
import os
import subprocess
import sys
import textwrap
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import arconvl_tf as arc
from tests.test_models import COUNTS, compiled, toy_backbone, toy_data


class OneLineTest(tf.test.TestCase):
    def assertOneLine(self, function, *texts, error=ValueError):
        with self.assertRaises(error) as caught:
            function()
        message = str(caught.exception)
        self.assertLess(len(message), 300, message)
        self.assertNotIn("\n", message)
        self.assertIn("Expected", message)
        self.assertIn("Received", message)
        for text in texts:
            self.assertIn(text, message)

    @pytest.mark.slow
    def test_labels(self):
        images, labels = toy_data()
        words = np.array(["a", "b", "c"])[labels]
        for options in ({"run_eagerly": True}, {"steps_per_execution": 2}):
            model = compiled(**options)
            for given, texts in [
                (labels + 1, ["labels in 0..2", "to 3", "from 0 without gaps"]),
                (labels - 1, ["labels in 0..2", "from -1"]),
                (labels + 0.25, ["whole numbers", "0.25"]),
                (np.where(np.arange(48) % 5, labels, np.nan), ["whole numbers", "nan"]),
                (np.eye(3)[labels], ["argmax", ", 3)"]),
                (words, ["class numbers", "words", "np.unique"]),
                (None, ["pairs of inputs and labels", "without labels"]),
            ]:
                for call in (model.fit, model.evaluate):
                    self.assertOneLine(functools.partial(call, images, given, batch_size=16, verbose=0), *texts)
        self.assertOneLine(
            lambda: compiled().fit(images, labels, validation_data=(images, words), verbose=0), "class numbers", "words"
        )
        self.assertOneLine(lambda: compiled().train_on_batch(images, labels + 1), "labels in 0..2")
        self.assertOneLine(lambda: compiled().test_on_batch(images, labels + 1), "labels in 0..2")

    @pytest.mark.slow
    def test_one_nan_pixel_is_named_before_it_spoils_a_weight(self):
        images, labels = toy_data(48)
        whole = compiled()
        whole.fit(images[:32], labels[:32], batch_size=16, shuffle=False, verbose=0)
        for bad, options in ((np.nan, {}), (np.inf, {}), (-np.inf, {"run_eagerly": True})):
            images[37, 2, 1] = bad  # sample 5 of the third batch of 16
            model = compiled(**options)
            fit = functools.partial(model.fit, images, labels, batch_size=16, shuffle=False, verbose=0)
            self.assertOneLine(fit, "sample 5", "step 2", "drop it")
            for before, after in zip(whole.get_weights(), model.get_weights(), strict=True):
                self.assertAllClose(before, after, rtol=1e-5, atol=1e-6)

    def test_a_loss_that_is_not_finite_stops_the_training(self):
        images, labels = toy_data()
        model = compiled(optimizer=keras.optimizers.SGD(1e30))
        fit = functools.partial(model.fit, images, labels, batch_size=16, epochs=5, verbose=0)
        self.assertOneLine(fit, "finite loss", "step ", "Lower the learning rate")

    def test_a_pipeline_of_whole_numbers_needs_no_look(self):
        images, labels = toy_data()
        compiled().fit(images.astype("uint8"), labels, verbose=0)

    def test_two_outputs(self):
        images = keras.Input((4, 4, 1))
        flat = keras.layers.Flatten()(images)
        backbone = keras.Model(images, [keras.layers.Dense(2)(flat), keras.layers.Dense(3)(flat)])
        self.assertOneLine(lambda: arc.ARConvL(backbone, class_counts=COUNTS), "one output", "2 outputs")

    def test_class_counts_that_contradict_the_labels(self):
        images = toy_data(84)[0]
        alike = [[48, 12, 24], [480, 120, 240], [0.5, 0.2, 0.3]]
        for counts, warned in [*((counts, False) for counts in alike), ([12, 48, 24], True)]:
            model = arc.ARConvL(toy_backbone(), class_counts=counts)
            model.compile(keras.optimizers.SGD(0.01))
            labels = np.repeat(np.arange(3), [48, 12, 24])
            with self.subTest(counts), warnings.catch_warnings(record=True, action="always") as caught:
                model.fit(images, labels, verbose=0)
            texts = [str(warning.message) for warning in caught if "class_counts" in str(warning.message)]
            self.assertLen(texts, warned)
            for text in texts:
                self.assertRegex(text, r"Expected .*\[12.*Received: \[48, 12, 24\].*give class_counts")

    def test_freezing_needs_a_new_compile(self):
        images, labels = toy_data()
        for trained_before in (True, False):
            model = compiled()
            if trained_before:
                model.fit(images, labels, verbose=0)
            model.backbone.trainable = False
            self.assertOneLine(lambda: model.fit(images, labels, verbose=0), "`compile` to be called again", "in place of")
            model.compile(keras.optimizers.SGD(0.1))
            kernel = model.backbone.layers[1].kernel.numpy()
            model.fit(images, labels, verbose=0)
            self.assertAllEqual(model.backbone.layers[1].kernel, kernel)

    def test_a_learning_rate_set_on_both_optimizers_at_once(self):
        model = compiled()
        for access in (lambda: model.optimizer.learning_rate, lambda: setattr(model.optimizer, "learning_rate", 0.5)):
            self.assertOneLine(access, "model.main_optimizer.learning_rate", "model.radius_optimizer", error=AttributeError)
        model.main_optimizer.learning_rate, model.radius_optimizer.learning_rate = 0.5, 0.25
        rates = [float(optimizer.learning_rate) for optimizer in model.optimizer.optimizers]
        self.assertCountEqual(rates, [0.5, 0.25])

    def test_another_backend(self):
        result = subprocess.run(
            [sys.executable, "-c", "import arconvl_tf; arconvl_tf.ARConvL"],
            capture_output=True,
            text=True,
            env={**os.environ, "KERAS_BACKEND": "numpy"},
        )
        last = result.stderr.strip().splitlines()[-1]
        self.assertRegex(last, 'ImportError: Expected Keras on TensorFlow. Received: KERAS_BACKEND="numpy". Set KERAS_')


class RegistrationTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_saved_models_load_in_whatever_order_things_are_imported(self):
        for imports in (
            "import arconvl_tf, keras",
            "import keras, arconvl_tf",
            "import arconvl_tf, tensorflow",
            "from arconvl_tf.layers import ClassRegions",
            "from arconvl_tf.data import load_data",
            "import sys; sys.argv[0] = 'arconvl'; import arconvl_tf",
        ):
            script = f"""
                {imports}
                import keras, sys
                loaded = keras.saving.get_registered_object("arconvl_tf>ARConvL")
                assert loaded is sys.modules["arconvl_tf.models"].ARConvL
                assert keras.saving.get_registered_object("arconvl_tf>FocalLoss") is not None
            """
            result = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, imports + result.stderr[-2000:])

    def test_importing_the_package_waits_for_tensorflow_until_it_is_needed(self):
        script = "import sys, arconvl_tf, arconvl_tf.cli; assert not {'tensorflow', 'keras'} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", script], check=True)
