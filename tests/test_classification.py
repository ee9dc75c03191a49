import csv
import io
import json
import pathlib
import pickle
import tempfile

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from arconvl_tf import ARConvLLoss, CPLLoss, PrototypeClassifier
from arconvl_tf.data.images import Reading
from arconvl_tf.experiments.classification import classify
from arconvl_tf.experiments.run_directory import RunDirectory
from tests.test_cli import arconvl_here

NAMES = ["owl", "häufig", "100 $"]
REGIONS = ARConvLLoss([9, 9, 9])


class ClassificationTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.directory = RunDirectory(self.folder / "run")
        self.directory.path.mkdir()

    def finish(self, input_shape, head="regions", objective=REGIONS, class_names=NAMES, **metrics):
        """A finished run of a small model, which is returned; features of pictures are their mean colours."""
        keras.utils.set_random_seed(0)
        inputs = keras.Input(input_shape)
        features = keras.layers.GlobalAveragePooling2D()(inputs) if len(input_shape) == 3 else inputs
        backbone = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Rescaling(1 / 255)(features)))
        model = PrototypeClassifier(backbone, num_classes=3, head=head, class_names=class_names)
        model.class_regions.radii.assign([0.5, 2.0, 9.0])
        model.compile("sgd", objective=objective)
        self.directory.save_model(model)
        self.directory.finish({"class_names": NAMES, "test": {"recall": []}, **metrics})
        return model

    def pictures(self, number):
        rng = np.random.default_rng(0)
        for index in range(number):
            pixels = rng.integers(0, 256, (3, 5, 4), "uint8")
            Image.fromarray(pixels, "RGBA").save(self.folder / f"{index:03}.png")
        return sorted(self.folder.glob("*.png"))

    def test_rows_say_what_the_model_answers(self):
        reading = Reading((6, 6, 3), fit="pad", background="red")
        model, files = self.finish((6, 6, 3), reading=reading.to_dict()), self.pictures(9)
        logits = model.predict(np.stack([reading.read(file) for file in files]).astype("float32"), verbose=0)
        shares, answers = tf.nn.softmax(logits).numpy(), logits.argmax(axis=1)
        rows, unreadable = classify(self.directory, [self.folder], probabilities=True)
        rows = list(rows)
        self.assertEqual(unreadable, {})
        self.assertEqual(list(rows[0])[5:], [f"p_{name}" for name in NAMES])
        self.assertEqual([row["image"] for row in rows], list(map(str, files)))
        self.assertEqual([row["class"] for row in rows], [NAMES[answer] for answer in answers])
        self.assertAllClose([row["probability"] for row in rows], shares.max(axis=1), atol=1e-5)
        self.assertAllClose([[row[f"p_{name}"] for name in NAMES] for row in rows], shares, atol=1e-5)
        distances = np.sqrt(-logits.max(axis=1))
        self.assertAllClose([row["distance"] for row in rows], distances, atol=1e-4)
        self.assertEqual([row["inside_region"] for row in rows], (distances <= np.array([0.5, 2, 9])[answers]).tolist())
        # A run of an older version: stretched, on white.
        model = self.finish((6, 6, 3), class_names=None)
        logits = model.predict(np.stack([Reading((6, 6, 3)).read(file) for file in files]).astype("float32"), verbose=0)
        rows = list(classify(self.directory, [self.folder / "0*.png"])[0])
        self.assertAllClose([row["probability"] for row in rows], tf.nn.softmax(logits).numpy().max(axis=1), atol=1e-5)
        self.assertEqual([row["class"] for row in rows], [NAMES[answer] for answer in logits.argmax(axis=1)])
        self.assertEqual(list(rows[0]), ["image", "class", "probability", "distance", "inside_region"])

    def test_what_a_model_does_not_have_is_none(self):
        files = self.pictures(1)
        for head, objective, distance in (("linear", CPLLoss(), False), ("regions", CPLLoss(), True)):
            self.finish((6, 6, 3), head, objective)
            (row,) = classify(self.directory, files)[0]
            self.assertEqual((row["distance"] is not None, row["inside_region"]), (distance, None))

    def test_the_models_own_names_count(self):
        self.finish((6, 6, 3), class_names=["a", "b", "c"])
        (row,) = classify(self.directory, self.pictures(1))[0]
        self.assertIn(row["class"], "abc")

    def test_few_pictures_are_in_memory_at_a_time(self):
        """Once the first answer is there, no picture beyond its batch and the one being decoded has been touched."""
        self.finish((256, 256, 3))
        files = self.pictures(300)
        batch = (1 << 24) // (256 * 256 * 3)
        rows, unreadable = classify(self.directory, files)
        first = next(rows)
        for file in files:
            file.unlink()
        self.assertEqual([first["image"], *(row["image"] for row in rows)], list(map(str, files[: 300 - len(unreadable)])))
        self.assertEqual(list(unreadable), files[300 - len(unreadable) :])
        self.assertBetween(300 - len(unreadable), batch, 2 * batch)
        self.assertEqual(set(unreadable.values()), {"No such file or directory"})

    def test_vectors_come_from_an_archive(self):
        model = self.finish((4,))
        x, path = np.random.default_rng(0).normal(size=(3, 4)).astype("float16"), self.folder / "x.npz"
        answers = [NAMES[answer] for answer in model.predict(x.astype("float32"), verbose=0).argmax(axis=1)]
        for arrays, samples in (
            ({}, ["0", "1", "2"]),
            ({"names": ["u", "v", "w"], "y": [0, 1, 2]}, ["u", "v", "w"]),
            ({"names": ["two", "classes"]}, ["0", "1", "2"]),
        ):
            np.savez(path, x=x, **arrays)
            rows = list(classify(self.directory, [path])[0])
            self.assertEqual([row["sample"] for row in rows], samples)
            self.assertEqual([row["class"] for row in rows], answers)

    def test_other_vectors_are_refused(self):
        self.finish((4,))
        good, path = self.folder / "good.npz", self.folder / "bad.npz"
        np.savez(good, x=np.ones((2, 4)))
        expected = r"^Expected one \.npz file with x \(n, 4\).* Received: "
        for content, received in (
            ({"x": np.ones((2, 3))}, r"bad\.npz, whose x is float64 of shape \(2, 3\)"),
            ({"x": np.array([["a", "b", "c", "d"]])}, r"whose x is <U1 of shape \(1, 4\)"),
            ({"x": np.full((1, 4), np.nan)}, "which holds NaN or infinity"),
            ({"x": np.array([[1, 2, 3, {}]])}, r"bad\.npz \(Object arrays cannot be loaded"),
            ({"y": np.ones(3)}, r"bad\.npz \(.*x"),
        ):
            np.savez(path, **content)
            with self.assertRaisesRegex(ValueError, expected + ".*" + received):
                classify(self.directory, [path])
        for contents in (b"", b"no archive", pickle.dumps([1])):
            path.write_bytes(contents)
            with self.assertRaisesRegex(ValueError, expected + r".*bad\.npz \([^.]+\)$"):
                classify(self.directory, [path])
        with self.assertRaisesRegex(ValueError, expected + "2 paths"):
            classify(self.directory, [good, good])

    def test_the_command_writes_rows_and_names_what_it_cannot_read(self):
        self.finish((6, 6, 3))
        files = self.pictures(4)
        everything = list(classify(self.directory, files, probabilities=True)[0])
        broken = [self.folder / "001.png", self.folder / "003.png"]
        for file in broken:
            file.write_bytes(b"no picture")
        out, shown = self.folder / "answers", {}
        for output_format in ("csv", "json"):
            arguments = ["predict", self.directory, self.folder, "--probabilities", "--format", output_format]
            result, written = arconvl_here(*arguments), arconvl_here(*arguments, "--out", out)
            self.assertEqual((result.returncode, written.returncode, written.stdout), (1, 1, ""))
            self.assertEqual(result.stderr, written.stderr)
            said = "arconvl: Expected pictures that can be decoded. Received: 1 that can't: {} (no picture)"
            self.assertEqual(result.stderr.splitlines(), [said.format(file) for file in broken])
            self.assertEqual(out.read_text(encoding="utf-8"), result.stdout)
            shown[output_format] = result.stdout
        rows = json.loads(shown["json"])
        as_text = [{name: str(value) for name, value in row.items()} for row in rows]
        self.assertEqual(list(csv.DictReader(io.StringIO(shown["csv"]))), as_text)
        for row, expected in zip(rows, everything[::2], strict=True):
            self.assertEqual([row[name] for name in ("image", "class")], [expected[name] for name in ("image", "class")])
            self.assertAllClose([row[f"p_{name}"] for name in NAMES], [expected[f"p_{name}"] for name in NAMES], atol=1e-5)

    def test_the_command_without_an_answer(self):
        self.finish((6, 6, 3))
        (self.folder / "only.png").write_bytes(b"")
        for output_format, text in (("csv", ""), ("json", "[]\n")):
            result = arconvl_here("predict", self.directory, self.folder, "--format", output_format)
            self.assertEqual((result.returncode, result.stdout), (1, text))
            self.assertIn("only.png (an empty file)", result.stderr)
        self.pictures(1)
        self.assertEqual(arconvl_here("predict", self.directory, self.folder / "000.png").returncode, 0)
