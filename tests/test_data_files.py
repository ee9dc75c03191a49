import io
import pathlib
import shutil
import tempfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from arconvl_tf.data import Imbalance, load_data
from arconvl_tf.data.images import Reading


def save(path, pixels, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels), mode).save(path, **options)


def flat(value, size=(8, 8), channels=3):
    return np.full((*size, channels) if channels > 1 else size, value, "uint8")


class FolderTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name) / "pictures"

    def fill(self, counts, under="", first=0):
        """Grey pictures that carry their number, class by class."""
        for label, (name, count) in enumerate(counts.items()):
            for number in range(count):
                save(self.root / under / name / f"{number:03}.png", flat(first + 40 * label + number, channels=1))

    def values(self, dataset):
        return [(int(image[0, 0, 0]), int(label)) for images, labels in dataset for image, label in zip(images, labels)]

    def test_class_folders(self):
        self.fill({"owl": 30, "cat": 20, "Ünïcode name": 10})
        splits = load_data(str(self.root), batch_size=7)
        self.assertEqual(splits.class_names, ["cat", "owl", "Ünïcode name"])
        self.assertEqual(splits.image_shape, (8, 8, 1))
        self.assertAllEqual(splits.split_counts["test"], [4, 6, 2])
        self.assertAllEqual(splits.class_counts, [16, 24, 8])
        everything = [value for name in ("train", "validation", "test") for value in self.values(getattr(splits, name))]
        classes = ((0, 1, 30), (1, 0, 20), (2, 2, 10))
        expected = [(40 * number + i, label) for number, label, count in classes for i in range(count)]
        self.assertCountEqual(everything, expected)

    @pytest.mark.slow
    def test_same_seed_same_pictures_and_smaller_draws_are_nested(self):
        self.fill({"a": 40, "b": 40})
        draws = [self.values(load_data(str(self.root), imbalance=q, seed=3).train) for q in (4, 4, 8)]
        self.assertEqual(draws[0], draws[1])
        tests = [self.values(load_data(str(self.root), imbalance=q, seed=3).test) for q in (1, 8)]
        self.assertEqual(*tests)
        other = load_data(str(self.root), Imbalance(8, seed=3), seed=4)
        self.assertEqual(self.values(other.test), tests[0])
        self.assertCountEqual(self.values(other.train), draws[2])
        self.assertNotEqual(self.values(other.train), draws[2])

    def test_given_sides_are_kept(self):
        for number, side in enumerate(("train", "validation", "test")):
            self.fill({"a": 6, "b": 5}, under=side, first=100 * (number == 2))
        splits = load_data(str(self.root))
        self.assertAllEqual([splits.split_counts[side] for side in ("train", "validation", "test")], [[6, 5]] * 3)
        self.assertAllInRange([value for value, _ in self.values(splits.test)], 100, 200)

    def test_kinds_of_pictures_mix(self):
        rng = np.random.default_rng(0)
        colour = np.array([200, 30, 90], "uint8") * np.ones((8, 8, 1), "uint8")
        kinds = {
            "colour.png": (colour, None, {}),
            "colour.bmp": (colour, None, {}),
            "colour.jpg": (colour, None, {"quality": 100, "subsampling": 0}),
            "alpha.png": (np.concatenate([colour, flat(255)[..., :1]], axis=-1), None, {}),
            "large.png": (np.repeat(np.repeat(colour, 5, 0), 3, 1), None, {}),
            "one pixel.png": (colour[:1, :1], None, {}),
            "colour.webp": (colour, None, {"lossless": True}),
        }
        for name, (pixels, mode, options) in kinds.items():
            save(self.root / "a" / name, pixels, mode, **options)
            self.assertAllClose(Reading((8, 8, 3)).read(self.root / "a" / name), colour, atol=3, msg=name)
        save(self.root / "b" / "grey.png", flat(77, channels=1))
        Image.new("I;16", (8, 8), 40_000).save(self.root / "b" / "sixteen bits.png")
        Image.new("LA", (8, 8), (50, 3)).save(self.root / "b" / "grey and alpha.png")
        Image.fromarray(rng.integers(0, 255, (8, 8), "uint8")).save(self.root / "b" / "grey.gif")
        splits = load_data(str(self.root), image_size=8)
        self.assertEqual(splits.image_shape, (8, 8, 3))
        self.assertAllEqual(Reading((8, 8, 3)).read(self.root / "b" / "grey.png"), flat(77))
        self.assertEqual(splits.reading, Reading((8, 8, 3), full_scale=65535))
        self.assertAllEqual(splits.reading.read(self.root / "b" / "sixteen bits.png"), flat(round(40_000 / 257)))
        for images, _ in splits.train:
            self.assertEqual(images.shape[1:], (8, 8, 3))

    def test_sizes_that_differ_become_64(self):
        self.fill({"a": 4, "b": 4})
        save(self.root / "a" / "wide.png", flat(3, size=(8, 30), channels=1))
        self.assertEqual(load_data(str(self.root)).image_shape, (64, 64, 1))

    def test_unreadable_pictures_are_named_or_left_out(self):
        self.fill({"a": 10, "b": 10})
        (self.root / "a" / "broken.png").write_bytes(b"\x89PNG but not really")
        whole = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), "uint8")).save(whole, "PNG")
        (self.root / "b" / "cut.png").write_bytes(whole.getvalue()[:2000])
        (self.root / "b" / "empty.jpg").write_bytes(b"")
        (self.root / "b" / "link.jpg").symlink_to("absent.jpg")
        (self.root / "b" / "loop.jpg").symlink_to("loop.jpg")
        names = r"broken\.png.*cut\.png.*empty\.jpg.*link\.jpg.*loop\.jpg"
        with self.assertRaisesRegex(ValueError, rf"5 that can't: .*{names}.*--skip-corrupt"):
            load_data(str(self.root))
        with self.assertRaisesRegex(ValueError, "batch_size=0"):  # what costs nothing is looked at first
            load_data(str(self.root), batch_size=0)
        splits = load_data(str(self.root), skip_corrupt=True)
        self.assertEqual(sum(counts.sum() for counts in splits.split_counts.values()), 20)

    def test_link_loops_are_not_entered(self):
        self.fill({"a": 10, "b": 10})
        (self.root / "a" / "again").symlink_to(self.root, target_is_directory=True)
        self.assertEqual(load_data(str(self.root)).split_counts["train"].sum(), 14)

    def test_folders_that_make_no_sense(self):
        self.fill({"a": 5})
        with self.assertRaisesRegex(ValueError, "at least two classes"):
            load_data(str(self.root))
        (self.root / "b").mkdir()
        with self.assertRaisesRegex(ValueError, "none in .*b"):
            load_data(str(self.root))
        for name in "ab":
            shutil.rmtree(self.root / name)
        self.fill({"a": 5, "b": 5}, under="train")
        self.fill({"a": 5, "c": 5}, under="test")
        with self.assertRaisesRegex(ValueError, "classes a, b in .*test. Received: c"):
            load_data(str(self.root))
        with self.assertRaisesRegex(ValueError, "pictures in test. Received: none"):
            for path in (self.root / "test").rglob("*.png"):
                path.unlink()
            (self.root / "test" / "c").rmdir()
            load_data(str(self.root))
        with self.assertRaisesRegex(ValueError, "image_size=0"):
            load_data(str(self.root), image_size=0)

    def test_groups_and_near_duplicates_stay_on_one_side(self):
        rng = np.random.default_rng(0)
        for name in "ab":
            for number in range(24):
                pixels = rng.integers(0, 200, (6, 6), "uint8").repeat(6, 0).repeat(6, 1)
                for copy in range(2):
                    save(self.root / name / f"part{number % 6}" / f"{number:02}-{copy}.png", pixels + np.uint8(copy))

        def things(splits):
            """The things that each side shows, whatever the copy."""
            parts = {side: [pathlib.Path(name).parts[-3:] for name in part.names] for side, part in splits.parts.items()}
            return {side: {(label, folder, name[:2]) for label, folder, name in part} for side, part in parts.items()}

        apart = things(load_data(str(self.root)))
        self.assertNotEmpty(apart["test"] & apart["train"])
        for options in ({"group_by": r"(\d\d)-\d"}, {"keep_duplicates_together": True}, {"group_by": "1"}):
            splits = load_data(str(self.root), **options)
            together = things(splits)
            self.assertEmpty(together["test"] & (together["train"] | together["validation"]), options)
            self.assertAllEqual(splits.class_counts + splits.split_counts["test"], [48, 48])
        folders = {side: {folder for _, folder, _ in shown} for side, shown in together.items()}
        self.assertEmpty(folders["test"] & (folders["train"] | folders["validation"]))

    def test_rare_classes_are_tested_too(self):
        self.fill({"common": 90, "rare": 3, "rarest": 2})
        splits = load_data(str(self.root))
        self.assertAllEqual(splits.split_counts["test"] >= 1, [True] * 3)
        self.assertAllEqual(splits.class_counts + splits.split_counts["test"], [90, 3, 2])
        (self.root / "rarest" / "000.png").unlink()
        with self.assertRaisesRegex(ValueError, "Received: one of class rarest"):
            load_data(str(self.root))

    def test_names_in_any_bytes_and_hidden_files(self):
        self.fill({"a": 10, "b": 10})
        (self.root / "a" / "._000.png").write_bytes(b"not a picture")
        (self.root / "a" / "000.png").rename(self.root / "a" / "caf\udce9.png")  # Latin-1
        self.assertEqual(sum(counts.sum() for counts in load_data(str(self.root)).split_counts.values()), 20)

    def test_large_pictures_are_not_taken_as_they_are(self):
        for number in range(5):
            for name in "ab":
                save(self.root / name / f"{number}.png", flat(number, size=(10, 300), channels=1))
        self.assertEqual(load_data(str(self.root)).image_shape, (64, 64, 1))
