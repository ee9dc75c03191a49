import os
import pathlib
import tempfile
from unittest import mock

import numpy as np
import tensorflow as tf

from arconvl_tf.data import catalog
from arconvl_tf.experiments.tables import published_class_counts

PREPARED = {"mnist": "Mnist", "fashion_mnist": "Fashion", "cifar10": "Cifar10"}


def prepared(name):
    folder = os.environ.get("TFDS_DATA_DIR")
    return bool(folder) and (pathlib.Path(folder) / name).is_dir()


class DigitsTest(tf.test.TestCase):
    def test_sides_share_no_picture_and_keep_every_sample(self):
        train, test, class_names = catalog.load_arrays("digits")
        self.assertEqual(len(train[1]) + len(test[1]), 1797)
        self.assertAllInRange(train[0], 0, 255)
        self.assertEqual(train[0].max(), 255)
        seen = {picture.tobytes() for picture in train[0]}
        self.assertEmpty(seen & {picture.tobytes() for picture in test[0]})
        self.assertLen(class_names, 10)

    def test_default_is_digits(self):
        splits = catalog.load_data(imbalance=10)
        self.assertAllEqual(splits.class_counts, [14, 146, 14, 146, 14, 145, 14, 143, 13, 144])


class PreparedTest(tf.test.TestCase):
    def test_counts_of_the_supplement_from_the_real_data(self):
        names = [name for name in PREPARED if prepared(name)]
        if not names:
            self.skipTest("needs TFDS_DATA_DIR with prepared mnist, fashion_mnist or cifar10")
        for name in names:
            for q in (1, 10, 20, 50, 100):
                splits = catalog.load_data(name, imbalance=q)
                train_counts, test_counts = published_class_counts()[f"{PREPARED[name]}-{q}"]
                self.assertAllEqual(splits.class_counts, train_counts)
                self.assertAllEqual(splits.split_counts["test"], test_counts)
                self.assertEqual(splits.split_counts["train"].sum() + splits.split_counts["validation"].sum(), sum(train_counts))


class SVHNTest(tf.test.TestCase):
    def test_digit_zero_is_class_nine(self):
        """Through a real TFDS builder over a prepared directory, with labels of known counts."""
        digits = np.repeat(np.arange(10), [9, 1, 2, 3, 4, 5, 6, 7, 8, 10])
        with tempfile.TemporaryDirectory() as folder:
            write_svhn(folder, digits)
            train, _, class_names = catalog.load_arrays("svhn", data_dir=folder)
        self.assertAllEqual(np.bincount(train[1]), [1, 2, 3, 4, 5, 6, 7, 8, 10, 9])
        self.assertEqual(class_names, list("1234567890"))
        self.assertAllEqual((train[0][:, 0, 0, 0].astype(int) - 1) % 10, train[1])


def write_svhn(folder, digits):
    """A small svhn_cropped, prepared by TFDS itself; every picture carries its digit in its first pixel."""
    import tensorflow_datasets as tfds

    def generate(*_):
        for number, digit in enumerate(digits):
            yield number, {"id": str(number), "image": np.full((32, 32, 3), digit, "uint8"), "label": int(digit)}

    builder = tfds.builder("svhn_cropped", data_dir=folder)
    with (
        mock.patch.object(type(builder), "_split_generators", lambda *_: {"train": generate(), "test": generate()}),
        mock.patch.object(type(builder), "_generate_examples", generate),
    ):
        builder.download_and_prepare()


class ErrorTest(tf.test.TestCase):
    def test_unknown_name(self):
        with self.assertRaisesRegex(ValueError, "digits, mnist, fashion_mnist, svhn, cifar10.*Received: 'minst'"):
            catalog.load_data("minst")

    def test_absent_data_names_the_command_that_prepares_it(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(OSError, f"tfds build mnist --data_dir {folder}"):
                catalog.load_data("mnist", data_dir=folder)
            self.assertEmpty(os.listdir(folder))
