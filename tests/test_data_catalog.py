import io
import os
import pathlib
import tempfile
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

import arconvl_tf as arc
from arconvl_tf.data import Imbalance, catalog, make_splits
from arconvl_tf.experiments.tables import published_class_counts
from tests.prepared import celeb_a_example, prepare

PREPARED = {"mnist": "Mnist", "fashion_mnist": "Fashion", "cifar10": "Cifar10"}
HAIR = list(catalog.HAIR_COLOURS.values())
# Of the competition's own table, in alphabetical order of the super-categories; the supplement trains on a quarter.
I_NATURALIST_TRAIN = [7835, 11156, 5966, 4037, 143950, 16, 621, 6864, 87192, 20104, 8007, 118800, 211, 22754]
SUPERCATEGORIES = [
    *("Actinopterygii", "Amphibia", "Animalia", "Arachnida", "Aves", "Bacteria", "Chromista"),
    *("Fungi", "Insecta", "Mammalia", "Mollusca", "Plantae", "Protozoa", "Reptilia"),
]


def is_prepared(name):
    folder = os.environ.get("TFDS_DATA_DIR")
    return bool(folder) and (pathlib.Path(folder) / name).is_dir()


def encoded(size, colour, kind="JPEG"):
    """The bytes of a picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def colour_of(number):
    """A colour that tells a picture's number, well apart from others after JPEG."""
    return (40 + 40 * (number % 5), 40 + 40 * (number // 5 % 5), 40 + 40 * (number // 25 % 5))


def svhn(digits):
    return [({"id": str(i), "image": np.full((32, 32, 3), digit, "uint8"), "label": digit}, n) for i, (digit, n) in digits]


def i_naturalist(counts, image=None):
    """Examples of every super-category; without a picture each has its own."""
    if image is not None:
        return [(_i_naturalist_example(image, label), count) for label, count in enumerate(counts)]
    labels = np.repeat(np.arange(14), counts)
    pictures = [encoded((50, 30), colour_of(number)) for number in range(len(labels))]
    return [(_i_naturalist_example(picture, label), 1) for picture, label in zip(pictures, labels)]


def _i_naturalist_example(image, label):
    return {"id": "1", "image": image, "label": 0, "supercategory": SUPERCATEGORIES[label]}


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


class RealDataTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_counts_of_the_supplement_from_the_real_data(self):
        names = [name for name in PREPARED if is_prepared(name)]
        if not names:
            self.skipTest("needs TFDS_DATA_DIR with prepared mnist, fashion_mnist or cifar10")
        for name in names:
            train, test, class_names = catalog.load_arrays(name)
            for q in (1, 10, 20, 50, 100):
                splits = make_splits(train, test, q, class_names=class_names)
                train_counts, test_counts = published_class_counts()[f"{PREPARED[name]}-{q}"]
                self.assertAllEqual(splits.class_counts, train_counts)
                self.assertAllEqual(splits.split_counts["test"], test_counts)
                trained = splits.split_counts["train"] + splits.split_counts["validation"]
                self.assertAllEqual(trained, train_counts)


class PreparedTest(tf.test.TestCase):
    """Data sets that can't be downloaded here, through TFDS' real builders over directories written for the test."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name) / "prepared"
        cache = mock.patch.dict(os.environ, XDG_CACHE_HOME=str(pathlib.Path(folder.name) / "cache"))
        cache.start()
        self.addCleanup(cache.stop)

    def published(self, name):
        return published_class_counts()[name]

    def train_one_epoch(self, dataset, imbalance=1, image_size=None):
        """Trains on it, augmented as in the paper; gives the classes' counts."""
        options = {"batch_size": 8, "augmentation": "paper", "data_dir": self.folder, "image_size": image_size}
        splits = catalog.load_data(dataset, imbalance, **options)
        model = arc.ARConvL(arc.backbones.simple_cnn(splits.image_shape), class_counts=splits.class_counts)
        model.compile()
        history = model.fit(splits.train, validation_data=splits.validation, verbose=0).history
        for name in ("loss", "val_loss"):
            self.assertLen(history[name], 1)
            self.assertTrue(np.isfinite(history[name][0]) and history[name][0] > 0)
        return splits.class_counts.tolist()


class SVHNTest(PreparedTest):
    def test_digit_zero_is_class_nine(self):
        digits = [9, 1, 2, 3, 4, 5, 6, 7, 8, 10]
        prepare("svhn_cropped", self.folder, {side: svhn(enumerate(enumerate(digits))) for side in ("train", "test")})
        train, _, class_names = catalog.load_arrays("svhn", self.folder)
        self.assertAllEqual(np.bincount(train[1]), [1, 2, 3, 4, 5, 6, 7, 8, 10, 9])
        self.assertEqual(class_names, list("1234567890"))
        self.assertAllEqual((train[0][:, 0, 0, 0].astype(int) - 1) % 10, train[1])

    @pytest.mark.slow
    def test_counts_of_the_supplement(self):
        sides = {}
        for side, counts in zip(("train", "test"), self.published("SVHN-1")):
            sides[side] = svhn(enumerate((digit, counts[digit - 1]) for digit in range(10)))
        prepare("svhn_cropped", self.folder, sides)
        train, test, class_names = catalog.load_arrays("svhn", self.folder)
        for q in (1, 10, 20, 50, 100):
            splits = make_splits(train, test, imbalance=q, class_names=class_names)
            counts = (splits.class_counts.tolist(), splits.split_counts["test"].tolist())
            self.assertEqual(counts, self.published(f"SVHN-{q}"))

    @pytest.mark.slow
    def test_trains(self):
        prepare("svhn_cropped", self.folder, {side: svhn(enumerate(enumerate([6] * 10))) for side in ("train", "test")})
        self.assertEqual(self.train_one_epoch("svhn", imbalance=2), [3, 6] * 5)


class CelebATest(PreparedTest):
    @pytest.mark.slow
    def test_counts_of_the_supplement(self):
        """Attributes' totals are the published counts; the text's reading leaves the pictures with two of them out."""
        image, sides = encoded((1, 1), "red"), {}
        twice = 500  # brown and gray
        for side, counts in zip(("train", "validation"), self.published("CelebA")):
            both = twice if side == "train" else 0
            alone = np.array(counts) - np.array([0, both, both, 0, 0])
            examples = [(celeb_a_example(image, name), count) for name, count in zip(HAIR, alone)]
            examples += [(celeb_a_example(image, "Brown_Hair", "Gray_Hair", "Male"), both), (celeb_a_example(image), 90)]
            sides[side] = examples
        prepare("celeb_a", self.folder, sides)
        counted, excluded = [
            catalog.load_data("celeb_a", overlap=overlap, data_dir=self.folder) for overlap in ("count", "exclude")
        ]
        self.assertEqual(counted.class_names, ["blond", "brown", "gray", "bald", "black"])
        self.assertAllEqual(counted.class_counts, self.published("CelebA")[0])
        self.assertAllEqual(counted.split_counts["test"], self.published("CelebA")[1])
        self.assertAllEqual(counted.class_counts - excluded.class_counts, [0, twice, twice, 0, 0])
        with self.assertRaisesRegex(ValueError, "exclude, count"):
            catalog.load_data("celeb_a", overlap="both", data_dir=self.folder)

    @pytest.mark.slow
    def test_pictures_keep_their_hair_and_train(self):
        colours = ["yellow", "brown", "gray", "white", "black"]
        examples = [
            (celeb_a_example(encoded((178, 218), colour), name), 10) for colour, name in zip(colours, HAIR)
        ]
        prepare("celeb_a", self.folder, {"train": examples, "validation": examples})
        splits = catalog.load_data("celeb_a", data_dir=self.folder)
        self.assertEqual(splits.image_shape, (64, 64, 3))
        expected = np.array([Image.new("RGB", (1, 1), colour).getpixel((0, 0)) for colour in colours], "float32")
        for side in (splits.train, splits.validation, splits.test):
            for images, labels in side:
                self.assertAllClose(images[:, 32, 32], expected[labels.numpy()], atol=4)
        self.assertEqual(self.train_one_epoch("celeb_a", image_size=16), [10] * 5)


class INaturalistTest(PreparedTest):
    @pytest.mark.slow
    def test_counts_of_the_supplement(self):
        image = encoded((1, 1), "red")
        train_counts, test_counts = self.published("iNaturalist 2018")
        prepare(
            "i_naturalist2018",
            self.folder,
            {"train": i_naturalist(I_NATURALIST_TRAIN, image), "validation": i_naturalist(test_counts, image)},
        )
        splits = catalog.load_data("i_naturalist2018", data_dir=self.folder)
        self.assertEqual(splits.class_names, SUPERCATEGORIES)
        self.assertAllEqual(splits.class_counts, train_counts)
        self.assertAllEqual(splits.split_counts["test"], test_counts)
        self.assertEqual(splits.image_shape, (224, 224, 3))

    @pytest.mark.slow
    def test_the_seed_draws_the_quarter_and_nothing_is_shared(self):
        prepare("i_naturalist2018", self.folder, {"train": i_naturalist([8] * 14), "validation": i_naturalist([1] * 14)})

        def pictures(seed, side, imbalance=1):
            splits = catalog.load_data("i_naturalist2018", imbalance, seed=seed, data_dir=self.folder, image_size=8)
            batches = getattr(splits, side)
            return {tuple(np.round(image[4, 4] / 40)) + (int(label),) for batch in batches for image, label in zip(*batch)}

        train, validation = pictures(0, "train"), pictures(0, "validation")
        self.assertEqual((len(train), len(validation)), (14, 14))
        self.assertEmpty(train & validation)
        self.assertEqual(pictures(0, "train"), train)
        self.assertNotEqual(pictures(1, "train"), train)
        self.assertEqual(pictures(1, "train", Imbalance(seed=0)), train)

    @pytest.mark.slow
    def test_trains(self):
        prepare("i_naturalist2018", self.folder, {"train": i_naturalist([12] * 14), "validation": i_naturalist([1] * 14)})
        self.assertEqual(self.train_one_epoch("i_naturalist2018", image_size=16), [3] * 14)


class ErrorTest(PreparedTest):
    def test_options_are_refused_before_a_picture_is_read(self):
        for option, value in [("batch_size", 0), ("seed", 1.5), ("augmentation", "strong")]:
            for name in ("digits", "mnist", "celeb_a"):
                with self.assertRaisesRegex(ValueError, f"{option}.*Received: .*{value}"):
                    catalog.load_data(name, data_dir=self.folder, **{option: value})

    def test_unknown_name(self):
        with self.assertRaisesRegex(ValueError, "digits, mnist, fashion_mnist, svhn, cifar10.*Received: 'minst'"):
            catalog.load_data("minst")

    def test_absent_data_names_the_command_that_prepares_it(self):
        for name in ("mnist", "celeb_a", "i_naturalist2018"):
            with self.assertRaisesRegex(OSError, rf'once with: python -c ".*{name}.*{self.folder}.*"$') as caught:
                catalog.load_data(name, data_dir=self.folder)
            script = str(caught.exception).partition('python -c "')[2].removesuffix('"')
            with mock.patch.object(tfds.core.DatasetBuilder, "download_and_prepare", autospec=True) as prepare:
                exec(script)  # the command as it is printed, but for the download
            (builder,) = prepare.call_args.args
            self.assertEqual((builder.name, pathlib.Path(builder.data_dir_root)), (name, self.folder))
        self.assertFalse(self.folder.exists())

    def test_options_for_another_kind_of_data_are_refused(self):
        wrong = ({"image_size": 16}, {"image_size": 0}, {"image_size": 8.5}, {"overlap": "count"}, {"skip_corrupt": True})
        for options in wrong:
            with self.assertRaisesRegex(ValueError, f"Expected .*{next(iter(options))}"):
                catalog.load_data("digits", **options)
