import collections
import contextlib
import csv
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from arconvl_tf import cli
from arconvl_tf.cli import output
from arconvl_tf.data.images import Reading
from arconvl_tf.experiments import training

output.CONSOLE.width = 200

ARCONVL = [sys.executable, "-c", "import sys; sys.argv[0] = 'arconvl'; from arconvl_tf.cli import main; main()"]
# What a terminal of the developer's own asks for stays out of it.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
ENVIRONMENT |= {"COLUMNS": "200", "PYTHONUTF8": "1"}
Result = collections.namedtuple("Result", "returncode stdout stderr")


def arconvl(*arguments, **environment):
    """Runs the command as a process of its own."""
    command = [*ARCONVL, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=600, env={**ENVIRONMENT, **environment})


def arconvl_here(*arguments):
    """Runs the command in this process, which has TensorFlow at hand: the same `main`, without its seconds of starting."""
    out, err = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    with (
        mock.patch.object(sys, "argv", ["arconvl", *map(str, arguments)]),
        mock.patch.dict(os.environ, ENVIRONMENT),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as end:
            return Result(end.code or 0, *[stream.buffer.getvalue().decode() for stream in (out, err)])
        except Exception as error:  # with --debug
            return Result(1, out.buffer.getvalue().decode(), f"Traceback … {type(error).__name__}: {error}")


def write_png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(pixels).numpy())


class CommandTestCase(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(tempfile.mkdtemp())

    def assertOneLine(self, result, *texts):
        self.assertNotEqual(result.returncode, 0)
        self.assertLen(result.stderr.strip().splitlines(), 1, result.stderr)
        self.assertNotIn("Traceback", result.stderr)
        for text in texts:
            self.assertIn(text, result.stderr)


class CommandLineTest(CommandTestCase):
    def test_bad_input_is_one_line_and_writes_nothing(self):
        out = self.folder / "nothing"
        for arguments, texts in [
            (["--dataset", "minst"], ["minst", "fashion_mnist"]),
            (["--method", "svm"], ["svm", "arconvl"]),
            (["--imbalence", "3"], ["--imbalence"]),
            (["--imbalance", "0.5"], ["≥ 1"]),
            (["--imbalance", "nan"], ["Expected a number ≥ 1. Received: nan"]),
            (["--set", "beta=0.5", "--beta", "1"], ["Expected beta once", "--beta and --set beta"]),
            (["--method", "gcpl", "--set", "pull_weight=inf"], ["`pull_weight`", "inf"]),
            (["--imbalance", "5000"], ["none of class 0"]),
            (["--set", "distribution_weights=both"], ["`distribution_weights`", "released", "paper"]),
            (["--momentum", "-1"], ["Expected a number ≥ 0. Received: -1"]),
            (["--beta", "big"], ["adaptive", "big"]),
            (["--epochs", "0"], ["epochs"]),
            (["--method", "cpl", "--beta", "1"], ["beta"]),
            (["--minority", "4,eleven"], ["'eleven'"]),
            (["--keep", "3"], ["WHOLE NUMBER", "'3'"]),
            (["--keep", "3=5", "--keep", "3=6"], ["3 again"]),
            (["--dataset", __file__], ["path and label"]),
            (["--dataset", __file__, "--profile", "exponential"], ["--imbalance beside"]),
            (["--keep", "3=5", "--minority", "odd"], ["`keep` alone"]),
            (["--dataset", "mnist", "--data-dir", self.folder / "empty"], ["tfds.builder('mnist', data_dir=", "empty", "--data-dir"]),
        ]:
            self.assertOneLine(arconvl_here("train", *arguments, "--out", out), *texts)
            self.assertFalse(out.exists(), arguments)

    def test_the_module_is_the_command(self):
        result = subprocess.run([sys.executable, "-m", "arconvl_tf", "--version"], capture_output=True, text=True)
        self.assertIn("arconvl, version ", result.stdout)

    def test_data_shows_counts_and_draws_examples(self):
        sheet = self.folder / "sheet.png"
        result = arconvl_here("data", "digits", "--imbalance", 20, "--out", sheet)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"0 +│ 6 +│ 1 +│ 36")
        self.assertIn("imbalance ratio 24.33", result.stdout)
        self.assertIn("shows as well: 0", result.stdout)
        self.assertEqual(tf.io.decode_png(sheet.read_bytes()).shape[-1], 4)
        self.assertOneLine(arconvl_here("data", "minst"), "minst", "fashion_mnist")

    def test_classes_can_be_thinned_by_hand(self):
        sheet = self.folder / "sheet by hand.png"
        by_count = arconvl_here("data", "digits", "--keep", "3=7", "--keep", "0=20", "--out", sheet).stdout
        self.assertRegex(by_count, r"0 +│ 18 +│ 2 ")
        self.assertRegex(by_count, r"3 +│ 6 +│ 1 ")
        by_class = arconvl_here("data", "digits", "--minority", "3,0", "--imbalance", 20, "--out", sheet).stdout
        self.assertRegex(by_class, r"0 +│ 6 +│ 1 ")
        self.assertRegex(by_class, r"3 +│ 6 +│ 1 ")


@pytest.mark.slow
class FinishedRunTest(CommandTestCase):
    @classmethod

    def setUpClass(cls):
        super().setUpClass()
        cls.run_directory = cls.folder / "a run"
        cls.trained = arconvl("train", "--epochs", 12, "--out", cls.run_directory)

    def test_train_then_evaluate(self):
        self.assertEqual(self.trained.returncode, 0, self.trained.stderr)
        self.assertEqual(self.trained.stderr, "")
        metrics = json.loads((self.run_directory / "metrics.json").read_text())
        g_mean = f"G-mean {metrics['test']['g_mean']:.3f}"
        self.assertIn(g_mean, self.trained.stdout)
        versions = json.loads((self.run_directory / "config.json").read_text())["versions"]
        self.assertEqual(versions["onednn"], os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1"))
        self.assertIn("imbalance 10,", self.trained.stdout)
        self.assertNotIn("Steps in an epoch", self.trained.stdout)
        again = arconvl_here("train", "--epochs", 12, "--beta", "adaptive", "--out", self.run_directory)
        self.assertIn("finished before", again.stdout)
        evaluated = arconvl_here("evaluate", self.run_directory)
        self.assertIn(g_mean, evaluated.stdout)
        self.assertOneLine(arconvl_here("evaluate", self.run_directory, "--logit-adjustment", "nan"), "a number ≥ 0")



    def test_letters_that_a_pipe_cannot_take_end_no_training(self):
        out = self.folder / "in ascii"
        result = arconvl("train", "--epochs", 1, "--out", out, PYTHONIOENCODING="ascii")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn(r"\u03b2 0.", result.stdout)
        self.assertTrue((out / "metrics.json").exists())



    def test_predict_classifies_pictures(self):
        digits = load_digits()
        for number in range(20):
            pixels = np.round(digits.images[number][..., None] * 255 / 16).astype("uint8")
            # A model of grey pictures takes colour as well, in any size.
            pixels = np.repeat(np.repeat(np.repeat(pixels, 2, 0), 2, 1), 3, 2) if number % 2 else pixels
            write_png(self.folder / "pictures" / f"{number:02}.png", pixels)
        as_csv = arconvl("predict", self.run_directory, self.folder / "pictures")
        as_json = arconvl_here("predict", self.run_directory, self.folder / "pictures", "--format", "json")
        rows, same_rows = list(csv.DictReader(io.StringIO(as_csv.stdout))), json.loads(as_json.stdout)
        self.assertEqual([row["image"] for row in rows], [row["image"] for row in same_rows])
        right = np.mean([int(row["class"]) == digits.target[number] for number, row in enumerate(same_rows)])
        self.assertGreaterEqual(right, 0.7)
        model = keras.models.load_model(self.run_directory / "best.keras")
        pixels = [Reading((8, 8, 1)).read(row["image"]) for row in same_rows]
        logits, radii = model.predict(tf.cast(tf.stack(pixels), tf.float32), verbose=0), model.class_regions.radii.numpy()
        distances = np.sqrt(-logits.max(axis=1))
        self.assertAllClose([row["distance"] for row in same_rows], distances, atol=1e-4)
        self.assertAllClose([row["probability"] for row in same_rows], tf.nn.softmax(logits).numpy().max(axis=1), atol=1e-4)
        inside = distances <= radii[logits.argmax(axis=1)]
        self.assertEqual([row["inside_region"] for row in same_rows], inside.tolist())
        (self.folder / "pictures" / "00.png").write_bytes(b"not a picture")
        partly = arconvl_here("predict", self.run_directory, self.folder / "pictures")
        self.assertOneLine(partly, "1 that can't", "00.png")
        kept = [(row["image"], row["class"]) for row in csv.DictReader(io.StringIO(partly.stdout))]
        self.assertEqual(kept, [(row["image"], row["class"]) for row in rows[1:]])



    def test_own_folder_of_pictures_from_training_to_prediction(self):
        pictures, out = self.folder / "own pictures", self.folder / "own run"
        rng = np.random.default_rng(0)
        for label, name in enumerate(["häufig", "rare one"]):
            for number in range((60, 12)[label]):
                pixels = rng.integers(0, 80, (16, 20, 3), "uint8")
                pixels[:, label * 10 : label * 10 + 10] += 150
                write_png(pictures / name / f"{number}.png", pixels)
        options = ["--image-size", 16, "--epochs", 60, "--batch-size", 16, "--backbone", "simple_cnn", "--augmentation", "none"]
        trained = arconvl_here("train", "--dataset", pictures, "--out", out, *options)
        self.assertEqual(trained.returncode, 0, trained.stderr)
        metrics = json.loads((out / "metrics.json").read_text())
        self.assertEqual((metrics["class_names"], metrics["class_counts"]), (["häufig", "rare one"], [48, 10]))
        self.assertIn("classes as they are", trained.stdout)
        self.assertIn("Steps in an epoch: 4.", trained.stdout)
        rows = json.loads(arconvl_here("predict", out, pictures / "rare one", "--format", "json").stdout)
        self.assertGreaterEqual(np.mean([row["class"] == "rare one" for row in rows]), 0.9)
        moved = pictures.rename(self.folder / "moved")
        self.assertOneLine(arconvl_here("evaluate", out), "Expected a data set", "own pictures")
        self.assertIn(f"G-mean {metrics['test']['g_mean']:.3f}", arconvl_here("evaluate", out, "--dataset", moved).stdout)
        (moved / "häufig" / "0.png").unlink()
        result = arconvl_here("evaluate", out, "--dataset", moved)
        self.assertOneLine(result, "Expected the data that", "was trained on")



    def test_a_crash_is_one_line_and_debug_shows_where_it_came_from(self):
        with mock.patch.object(training, "load_pictures", side_effect=ZeroDivisionError("of ours")):
            arguments = ["train", "--out", self.folder / "crash"]
            self.assertOneLine(arconvl_here(*arguments), "ZeroDivisionError: of ours", "--debug")
            self.assertIn("Traceback … ZeroDivisionError", arconvl_here(*arguments, "--debug").stderr)
        debugged = arconvl("evaluate", self.folder / "no run", "--debug")
        self.assertIn("Traceback (most recent call last)", debugged.stderr)
        self.assertIn("in evaluate", debugged.stderr)



    def test_the_papers_readings_are_options(self):
        out = self.folder / "readings"
        numbers = {"momentum": 0.9, "weight_decay": 1e-4, "pixel_scale": 0.00392}
        options = [part for name, value in numbers.items() for part in (f"--{name.replace('_', '-')}", value)]
        trained = arconvl_here("train", "--epochs", 1, "--out", out, "--set", "distribution_weights=paper", *options)
        self.assertEqual(trained.returncode, 0, trained.stderr)
        config = json.loads((out / "config.json").read_text())
        self.assertEqual(config["loss_options"], {"distribution_weights": "paper"})
        self.assertEqual({name: config["recipe"][name] for name in numbers}, numbers)
        self.assertOneLine(arconvl_here("train", "--epochs", 1, "--out", out), "distribution_weights paper in place of None")

    def test_another_run_is_not_overwritten(self):
        self.assertOneLine(arconvl_here("train", "--seed", 7, "--out", self.run_directory), "seed 0 in place of 7")

    def test_bad_pictures_and_directories(self):
        (self.folder / "broken.png").write_bytes(b"not a picture")
        (self.folder / "empty folder").mkdir(exist_ok=True)
        for arguments, texts in [
            ([self.run_directory, self.folder / "broken.png"], ["broken.png", "decoded"]),
            ([self.run_directory, self.folder / "empty folder"], ["empty folder", "without any"]),
            ([self.run_directory, self.folder / "absent.png"], ["absent.png", "does not exist"]),
            ([self.folder / "no run", self.folder / "broken.png"], ["no run"]),
            ([self.run_directory], ["PATHS"]),
        ]:
            self.assertOneLine(arconvl_here("predict", *arguments), *texts)
        self.assertOneLine(arconvl_here("evaluate", self.folder / "no run"), "no run")
