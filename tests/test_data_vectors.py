import io
import pathlib
import pickle
import tempfile
import zipfile

import numpy as np
import tensorflow as tf

from arconvl_tf.data.vectors import checked_vectors, read_vectors

X = np.random.default_rng(0).normal(size=(6, 3))
Y = np.array([0, 1, 0, 1, 0, 1])


class ArchiveTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "features.npz"

    def read(self, save=np.savez, **arrays):
        save(self.path, **arrays)
        return read_vectors(self.path)

    def assertRefused(self, *texts):
        with self.assertRaises(ValueError) as caught:
            read_vectors(self.path)
        message = str(caught.exception)
        self.assertRegex(message, r"^Expected [^\n]*features\.npz[^\n]*$")
        self.assertIn("Received: ", message)
        for text in texts:
            self.assertIn(text, message)


class WhatIsReadTest(ArchiveTest):
    def test_everything(self):
        vectors = self.read(
            x=X,
            y=Y,
            split=["train", "", "test", "validation", "train", "test"],
            group=[7, 7, 8, 8, 10, 9],
            names=["a.png", "b.png", "c.png", "d.png", "e.png", "f.png"],
            class_names=["owl", "hen"],
            remark="of no interest",
        )
        self.assertAllEqual(vectors.x, X.astype("float32"))
        self.assertEqual((vectors.x.dtype, vectors.labels.dtype), (np.float32, np.int64))
        self.assertAllEqual(vectors.labels, Y)
        self.assertEqual(vectors.class_names, ["owl", "hen"])
        self.assertEqual({side: list(indices) for side, indices in vectors.sides.items()}, {
            "train": [0, 1, 4], "validation": [3], "test": [2, 5],
        })  # fmt: skip
        self.assertEqual(vectors.groups.tolist(), ["7", "7", "8", "8", "10", "9"])
        self.assertEqual(vectors.names.tolist(), ["a.png", "b.png", "c.png", "d.png", "e.png", "f.png"])

    def test_the_least(self):
        vectors = self.read(x=X, y=Y, save=np.savez_compressed)
        self.assertEqual(list(vectors.sides), ["train"])
        self.assertAllEqual(vectors.sides["train"], np.arange(6))
        self.assertIsNone(vectors.groups)
        self.assertIsNone(vectors.names)

    def test_labels_of_any_kind(self):
        for y, names, labels in [
            ([10, 2, 2, 10, -1, 2], ["-1", "2", "10"], [2, 1, 1, 2, 0, 1]),
            (np.array([3, 0, 3, 0, 0, 0], "uint8"), ["0", "3"], [1, 0, 1, 0, 0, 0]),
            (["owl", "Hen", "owl", "ärger", "owl", "Hen"], ["Hen", "owl", "ärger"], [1, 0, 1, 2, 1, 0]),
        ]:
            vectors = self.read(x=X, y=y)
            self.assertEqual(vectors.class_names, names)
            self.assertAllEqual(vectors.labels, labels)
            self.assertAllEqual(np.array(vectors.class_names)[vectors.labels], np.array(y).astype("str"))

    def test_numbers_of_any_kind(self):
        for kind in ("float16", "float32", "float64", "int64", "uint8", "bool", ">f4"):
            x = np.arange(18).reshape(6, 3).astype(kind)
            vectors = self.read(x=x, y=Y)
            self.assertEqual(vectors.x.dtype, np.dtype("float32"))
            self.assertAllEqual(vectors.x, x.astype("float64"))

    def test_bytes_are_words(self):
        vectors = self.read(x=X, y=np.array([b"hen", b"owl"])[Y], group=np.array(["ä".encode()] * 6), names=[b"p"] * 6)
        self.assertEqual((vectors.groups[0], vectors.names[0]), ("ä", "p"))
        self.assertEqual(vectors.class_names, ["hen", "owl"])

    def test_as_many_names_as_classes_are_theirs(self):
        vectors = self.read(x=X, y=Y, names=["owl", "hen"])
        self.assertEqual(vectors.class_names, ["owl", "hen"])
        self.assertIsNone(vectors.names)
        two = self.read(x=X[:2], y=Y[:2], names=["1.png", "2.png"])  # as many as samples: those of the samples
        self.assertEqual((two.class_names, two.names.tolist()), (["0", "1"], ["1.png", "2.png"]))


class WhatIsRefusedTest(ArchiveTest):
    def test_arrays_that_make_no_sense(self):
        nan, infinite, huge = X.copy(), X.astype("float16"), X.copy()
        nan[[2, 4], 1], infinite[5, 0], huge[3, 2] = np.nan, np.inf, 1e39
        for arrays, *texts in [
            ({"x": X}, "arrays x and y", "Received: x. "),
            ({"features": X, "labels": Y}, "Received: none known", "np.savez(path, x=…, y=…)"),
            ({"x": X, "y": Y[:5]}, "(6, 3) and (5,)"),
            ({"x": X[:, 0], "y": Y}, "(6,) and (6,)"),
            ({"x": X[:0], "y": Y[:0]}, "(0, 3) and (0,)"),
            ({"x": X[..., None], "y": Y}, "(6, 3, 1)"),
            ({"x": X, "y": np.eye(2)[Y]}, "(6, 2)"),
            ({"x": X.astype("complex64"), "y": Y}, "real numbers as x", "complex64"),
            ({"x": X.astype("str"), "y": Y}, "real numbers as x", "<U32"),
            ({"x": X, "y": Y + 0.0}, "integers or words as y", "float64"),
            ({"x": nan, "y": Y}, "in 2 of 6 rows", "first row 2"),
            ({"x": infinite, "y": Y}, "in 1 of 6 rows", "first row 5"),
            ({"x": huge, "y": Y}, "beyond single precision", "first row 3"),
            ({"x": X, "y": Y * 0}, "at least two classes", "Received: 0"),
            ({"x": X, "y": Y + 1, "class_names": ["a", "b"]}, "y in 0..1 beside 2 class names", "1 to 2"),
            ({"x": X, "y": Y - 1, "class_names": ["a", "b"]}, "-1 to 0"),
            ({"x": X, "y": np.array(["a", "b"])[Y], "class_names": ["a", "b"]}, "y in 0..1", "Received: words"),
            ({"x": X, "y": Y, "class_names": ["a", "a"]}, "different names", "a, a"),
            ({"x": X, "y": Y, "class_names": ["a", "b", "c"]}, "every class", "none of class 'c'"),
            ({"x": X, "y": Y, "class_names": [1, 2]}, "class_names", "words", "int64"),
            ({"x": X, "y": Y, "split": ["train", "test"] * 3}, "every class", "none of class '1'"),
            ({"x": X, "y": Y, "split": ["train"] * 5 + ["holdout"]}, "`split` among train", "'holdout' in row 5"),
            ({"x": X, "y": Y, "split": ["train"] * 5}, "6 values in split", "Received: 5"),
            ({"x": X, "y": Y, "split": [0] * 6}, "split", "words", "int64"),
            ({"x": X, "y": Y, "group": [1] * 4}, "6 values in group", "Received: 4"),
            ({"x": X, "y": Y, "group": [1.0] * 6}, "group", "words or integers", "float64"),
            ({"x": X, "y": Y, "group": ["a", "b", "", "", "c", "d"]}, "a group for every vector", "row 2"),
            ({"x": X, "y": Y, "group": np.zeros((6, 1), int)}, "one axis", "(6, 1)"),
            ({"x": X, "y": Y, "names": ["a", "b", "c", "d", "e"]}, "6 values in names", "Received: 5"),
        ]:  # fmt: skip
            with self.subTest(texts=texts):
                np.savez(self.path, **arrays)
                self.assertRefused(*texts)

    def test_nothing_pickled_is_loaded(self):
        class Trap:
            def __reduce__(self):
                return pathlib.Path.touch, (trapped,)

        trapped = self.path.with_suffix(".trapped")
        np.savez(self.path, x=X, y=np.array([Trap()] * 6, dtype=object))
        self.assertRefused("plain arrays", "pickle")
        self.path.write_bytes(pickle.dumps(Trap()))
        self.assertRefused("isn't one")
        self.assertFalse(trapped.exists())

    def test_files_of_other_kinds(self):
        array = io.BytesIO()
        np.save(array, X)
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("x", "no array")
        for contents in (b"", b"path,label\n", array.getvalue(), archive.getvalue()):
            self.path.write_bytes(contents)
            self.assertRefused()
        self.path.unlink()
        with self.assertRaises(FileNotFoundError):
            read_vectors(self.path)

    def test_damaged_files_are_refused_or_read_as_they_were(self):
        rng = np.random.default_rng(0)
        for save in (np.savez, np.savez_compressed):
            save(self.path, x=X, y=Y, group=["a", "b"] * 3)
            whole, refused = self.path.read_bytes(), 0
            for trial in range(300):
                damaged = bytearray(whole[: rng.integers(len(whole))] if trial % 3 == 0 else whole)
                for place in rng.integers(0, len(damaged), 3) if damaged else ():
                    damaged[place] ^= 1 << rng.integers(8)
                self.path.write_bytes(damaged)
                try:
                    vectors = read_vectors(self.path)
                except ValueError as error:
                    self.assertRegex(str(error), r"^Expected [^\n]*Received: [^\n]*$")
                    refused += 1
                else:
                    self.assertAllEqual(vectors.x, X.astype("float32"))
                    self.assertAllEqual(vectors.labels, Y)
            self.assertGreater(refused, 150)

    def test_a_few_bytes_that_would_fill_the_memory(self):
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("x.npy", bytes(1000))
            file.filelist[0].file_size = 2**31  # as the directory at the end of the archive will say
        self.assertRefused("2 GiB in memory")
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**15, 3)})
        with zipfile.ZipFile(self.path, "w") as file:
            file.writestr("x.npy", header.getvalue() + bytes(100))
        self.assertRefused("damaged")


class CheckedTest(tf.test.TestCase):
    def test_lists_and_arrays(self):
        x, y = checked_vectors([[1, 2], [3, 4]], ["a", "b"], "training")
        self.assertAllEqual(x, [[1, 2], [3, 4]])
        self.assertEqual((x.dtype, y.tolist()), (np.float32, ["a", "b"]))

    def test_single_precision_is_not_copied(self):
        x = np.ones((2, 2), "float32")
        self.assertIs(checked_vectors(x, [0, 1], "test")[0], x)

    def test_the_side_is_named(self):
        with self.assertRaisesRegex(ValueError, "finite numbers as x in test. .* the first row 1"):
            checked_vectors([[1.0], [np.nan]], [0, 1], "test")
