import csv
import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import textwrap
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from arconvl_tf.data import Imbalance
from arconvl_tf.experiments import figures, recipes, training
from arconvl_tf.experiments.configuration import RunConfig
from arconvl_tf.experiments.evaluation import evaluate
from arconvl_tf.experiments.preparation import load_pictures, split_pictures
from arconvl_tf.experiments.run_directory import RunDirectory, RunDirectoryError

RECIPE = recipes.RECIPES["digits"].changed(epochs=3)
CONFIG = RunConfig("digits", RECIPE, imbalance=Imbalance(10), feature_dim=8)
FIGURES = ("recalls", "confusion", "latent_space", "regions")


class RunTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.directory = RunDirectory(pathlib.Path(folder.name) / "run")

    def file_names(self):
        return {path.name for path in self.directory.path.iterdir()}

    @pytest.mark.slow
    def test_directory_records_what_happened(self):
        self.assertEqual(self.directory.state, "new")
        metrics = training.run(CONFIG, self.directory)
        written = {"config.json", "history.csv", "best.keras", "latent_space.npz", "metrics.json", "test_predictions.csv"}
        self.assertEqual(self.file_names(), written | {f"{name}.png" for name in FIGURES})
        self.assertEqual(self.directory.state, "finished")
        self.assertEqual(json.loads(self.directory.file("metrics.json").read_text()), metrics)
        self.assertEqual(self.directory.config(), CONFIG)

        with open(self.directory.file("history.csv")) as file:
            history = list(csv.DictReader(file))
        self.assertLen(history, 3)

        confusion = np.array(metrics["test"]["confusion"])
        self.assertAllEqual(confusion.sum(axis=1), [36, 36, 35, 37, 36, 37, 36, 36, 35, 36])
        self.assertAllClose(metrics["test"]["recall"], np.diag(confusion) / confusion.sum(axis=1))
        model = self.directory.model()
        self.assertEqual(evaluate(model, split_pictures(CONFIG, load_pictures(CONFIG)).test), metrics["test"])

        # A second call with the same configuration finds the run finished.
        stamp = self.directory.file("best.keras").stat().st_mtime_ns
        self.assertEqual(training.run(CONFIG, self.directory), metrics)
        self.assertEqual(self.directory.file("best.keras").stat().st_mtime_ns, stamp)
        with self.assertRaisesRegex(RunDirectoryError, "seed 0 in place of 1"):
            training.run(dataclasses.replace(CONFIG, seed=1), self.directory)

        # Figures need neither model nor data.
        before = self.directory.file("latent_space.png").read_bytes()
        for name in ("best.keras", *(f"{name}.png" for name in FIGURES)):
            self.directory.file(name).unlink()
        self.assertLen(figures.draw_run(self.directory).paths, 4)
        self.assertEqual(self.directory.file("latent_space.png").read_bytes(), before)

        for contents in ("", "{}", "[]"):
            self.directory.file("metrics.json").write_text(contents)
            with self.assertRaisesRegex(RunDirectoryError, "Remove it, and the run starts again"):
                training.run(CONFIG, self.directory)
        self.directory.file("metrics.json").unlink()
        self.directory.file("config.json").write_text("{")
        with self.assertRaisesRegex(RunDirectoryError, "Expected the configuration of a run in .*config.json"):
            self.directory.config()
        with self.assertRaisesRegex(RunDirectoryError, "no metrics.json"):
            self.directory.model()

    def test_a_diverged_run_is_no_result(self):
        config = dataclasses.replace(CONFIG, recipe=RECIPE.changed(learning_rate=1e30))
        with self.assertRaisesRegex(ValueError, "Expected a finite loss.*Lower the learning rate"):
            training.run(config, self.directory)
        self.assertEqual(self.directory.state, "failed")
        self.assertIn("finite loss", json.loads(self.directory.file("failed.json").read_text())["reason"])
        self.assertFalse(self.directory.finished(config))

    @pytest.mark.slow
    def test_the_best_epoch_is_saved_and_tested_and_the_last_is_tested_beside_it(self):
        class Spoiler(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 4:
                    self.model.backbone.set_weights([0 * weight for weight in self.model.backbone.get_weights()])

        # At the protocol's rate of 0.1 a class may still be lost after four epochs, on one processor or another.
        recipe = RECIPE.changed(epochs=5, learning_rate=0.02, learning_rate_drops=())
        config = dataclasses.replace(CONFIG, imbalance=Imbalance(), recipe=recipe)
        metrics = training.run(config, self.directory, callbacks=[Spoiler()])
        with open(self.directory.file("history.csv")) as file:
            values = [float(row["val_g_mean"]) for row in csv.DictReader(file)]
        self.assertGreater(max(values[:4]), values[4])
        self.assertEqual(metrics["best_epoch"], int(np.argmax(values)))
        self.assertIn(f"Epoch {metrics['best_epoch']} has the highest val_g_mean", metrics["choice"])
        self.assertLess(metrics["last"]["g_mean"], metrics["test"]["g_mean"])
        model, splits = self.directory.model(), split_pictures(config, load_pictures(config))
        self.assertAllClose(evaluate(model, splits.validation)["g_mean"], max(values), atol=1e-6)
        self.assertEqual(evaluate(model, splits.test), metrics["test"])
        # The optimizer in the file is that of the best epoch.
        self.assertEqual(int(model.optimizer.iterations), (metrics["best_epoch"] + 1) * len(splits.train))

    @pytest.mark.slow
    def test_where_validation_decides_nothing_the_record_says_so(self):
        recipe = RECIPE.changed(epochs=3, learning_rate=1e-3)
        metrics = training.run(dataclasses.replace(CONFIG, imbalance=Imbalance(20), recipe=recipe), self.directory)
        with open(self.directory.file("history.csv")) as file:
            rows = [(float(row["val_g_mean"]), float(row["val_class_wise_accuracy"])) for row in csv.DictReader(file)]
        self.assertEqual([g_mean for g_mean, _ in rows], [0.0] * 3)
        self.assertEqual(rows[metrics["best_epoch"]], max(rows))
        self.assertRegex(metrics["choice"], r"val_g_mean was 0 in every epoch, .*: epoch \d is the one with the best val_class")

    @pytest.mark.slow
    def test_same_seed_same_result(self):
        config = dataclasses.replace(CONFIG, recipe=RECIPE.changed(epochs=1))
        splits = split_pictures(config, load_pictures(config))
        first, again = [training.fit_model(config, splits) for _ in range(2)]
        for before, after in zip(first.model.get_weights(), again.model.get_weights(), strict=True):
            self.assertAllEqual(before, after)

    def test_nothing_is_written_on_bad_options(self):
        bad = {"imbalance": Imbalance(1e6), "method": "none", "loss_options": {"gama": 1}, "dataset": "digit"}
        for changes in ({name: value} for name, value in bad.items()):
            with self.assertRaises(ValueError):
                training.run(dataclasses.replace(CONFIG, **changes), self.directory)
            self.assertFalse(self.directory.path.exists())

    def test_the_papers_readings_reach_the_model(self):
        recipe = RECIPE.changed(momentum=0.9, weight_decay=1e-4, pixel_scale=1 / 255)
        config = dataclasses.replace(CONFIG, recipe=recipe, loss_options={"distribution_weights": "paper"})
        splits = split_pictures(config, load_pictures(config))
        model = training.build_model(config, splits)
        self.assertEqual([each.momentum for each in (model.main_optimizer, model.radius_optimizer)], [0.9, 0.9])
        self.assertEqual([each.weight_decay for each in (model.main_optimizer, model.radius_optimizer)], [1e-4, None])
        self.assertEqual(model.objective.distribution_weights, "paper")
        images = next(iter(splits.test))[0]
        plain = training.build_model(CONFIG, splits)
        plain.set_weights(model.get_weights())
        self.assertAllClose(model(images), plain(images / 255), rtol=1e-4, atol=1e-5)

    def test_learning_rates_follow_the_protocol(self):
        recipe = recipes.RECIPES["mnist"].changed(batch_size=32)
        config = RunConfig("digits", recipe, imbalance=Imbalance(10))
        splits = split_pictures(config, load_pictures(config))
        model, steps = training.build_model(config, splits), len(splits.train)
        rates = {name: [] for name in ("main", "radius")}
        by_name = {"main": model.main_optimizer, "radius": model.radius_optimizer}
        for epoch in range(50):
            for name, optimizer in by_name.items():
                seen = set()
                for iteration in (epoch * steps, epoch * steps + steps - 1):
                    optimizer.iterations.assign(iteration)
                    seen.add(round(float(optimizer.learning_rate), 9))
                self.assertLen(seen, 1)
                rates[name].append(seen.pop())
        self.assertAllClose(rates["main"], [0.1] * 26 + [0.01] * 15 + [0.001] * 9)
        self.assertAllClose(rates["radius"], [0.001] * 3 + [0.01] * 47)

    @pytest.mark.slow
    def test_a_killed_run_is_unfinished_and_starts_again(self):
        config = dataclasses.replace(CONFIG, recipe=RECIPE.changed(epochs=2))
        expected = training.run(config, RunDirectory(self.directory.path.with_name("undisturbed")))["test"]
        script = f"""
            import os, signal, keras
            from arconvl_tf.experiments import training
            from arconvl_tf.experiments.run_directory import RunDirectory
            from tests.test_training import CONFIG, RECIPE, dataclasses

            kill = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: os.kill(os.getpid(), signal.SIGKILL))
            config = dataclasses.replace(CONFIG, recipe=RECIPE.changed(epochs=2))
            training.run(config, RunDirectory({str(self.directory)!r}), callbacks=[kill])
        """
        killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, timeout=300)
        self.assertEqual(killed.returncode, -9, killed.stderr[-2000:])
        self.assertEqual(self.directory.state, "running")
        self.assertIn("run.lock", self.file_names())  # its process is gone
        self.assertEqual(training.run(config, self.directory)["test"], expected)
        self.assertEqual(self.directory.state, "finished")


class RunDirectoryTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.directory = RunDirectory(pathlib.Path(folder.name) / "run")

    def test_a_run_is_recognised_in_whatever_form_its_options_come(self):
        config = dataclasses.replace(CONFIG, imbalance=Imbalance(minority=(1, 2)), loss_options={"beta": 0.5})
        for changes in ({}, {"imbalance": Imbalance(keep={3: 5})}):
            config = dataclasses.replace(config, **changes)
            with self.directory.locked():
                self.directory.begin(config)
            self.assertFalse(self.directory.finished(config))
            self.directory.file("metrics.json").write_text("{}")
            self.assertTrue(self.directory.finished(config))
            self.assertTrue(self.directory.finished(self.directory.config()))
            self.directory.file("metrics.json").unlink()

    def test_configurations_of_version_0_1_are_read(self):
        record = pathlib.Path(__file__).parents[1] / "notebooks/results/mnist-100/arconvl-margin-0-0"
        config = RunDirectory(record).config()
        expected = RunConfig("mnist", recipes.RECIPES["mnist"], imbalance=Imbalance(100), loss_options={"margin": 0.0})
        self.assertEqual(config, expected)
        self.assertEqual(RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))), expected)

    def test_foreign_files_are_left_alone(self):
        self.directory.path.mkdir()
        self.directory.file("thesis.tex").write_text("years of work")
        with self.assertRaisesRegex(RunDirectoryError, "not a run's"):
            training.run(CONFIG, self.directory)

    def test_two_processes_never_share_a_directory(self):
        with self.directory.locked():
            script = f"""
                from arconvl_tf.experiments.run_directory import RunDirectory
                with RunDirectory({str(self.directory)!r}).locked():
                    pass
            """
            script = textwrap.dedent(script)
            other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
            self.assertIn("no other process writes to", other.stderr)
        self.assertFalse(self.directory.file("run.lock").exists())
        with self.directory.locked(), mock.patch("os.kill", side_effect=PermissionError):  # somebody else's process
            other = RunDirectory(self.directory.path)
            with mock.patch("os.getpid", return_value=1), self.assertRaisesRegex(RunDirectoryError, "remove that file"):
                other.locked().__enter__()

    def test_what_was_being_written_when_a_process_was_killed_is_no_foreign_file(self):
        self.directory.path.mkdir()
        self.directory.file("unfinished-config.json").write_text("{")
        self.assertFalse(self.directory.finished(CONFIG))

    def test_a_write_that_fails_leaves_the_old_content(self):
        with self.directory.locked():
            self.directory.finish({"old": True})
            for failing in ("pathlib.Path.write_text", "os.replace"):
                with mock.patch(failing, side_effect=OSError(28, "No space left on device")), self.assertRaises(OSError):
                    self.directory.finish({"new": True})
        self.assertEqual(json.loads(self.directory.file("metrics.json").read_text()), {"old": True})

    def test_reading_a_record_needs_no_tensorflow(self):
        script = (
            "import sys\nfrom arconvl_tf.experiments.run_directory import RunDirectory\n"
            "RunDirectory('nowhere').state\nassert 'tensorflow' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", script], check=True)
