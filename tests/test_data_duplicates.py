import io
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageFilter
from scipy.sparse.csgraph import connected_components

from arconvl_tf.data import duplicates


def scene(seed, size=(120, 96)):
    """Something like a photograph: noise of several sizes, coloured."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((size[1], size[0], 3))
    for cells in (3, 6, 12, 24):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), "uint8")).resize(size, Image.Resampling.BICUBIC)
        pixels += np.asarray(noise, float) / 4
    return pixels.astype("uint8")


def jpeg(pixels, quality):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def changed(pixels, kind):
    height, width = pixels.shape[:2]
    picture = Image.fromarray(pixels)
    return {
        "exposed less": lambda: (pixels * 0.6).astype("uint8"),
        "exposed more, whites cut off": lambda: np.minimum(pixels * 1.3, 255).astype("uint8"),
        "another gamma": lambda: (255 * (pixels / 255) ** 0.6).astype("uint8"),
        "compressed": lambda: jpeg(pixels, 30),
        "smaller": lambda: np.asarray(picture.resize((width // 2, height // 2))),
        "stretched": lambda: np.asarray(picture.resize((width, 2 * height))),
        "grey": lambda: np.asarray(picture.convert("L")),
        "warmer": lambda: (pixels * [1, 0.85, 0.7]).astype("uint8"),
        "blurred": lambda: np.asarray(picture.filter(ImageFilter.GaussianBlur(1.5))),
        "noisy": lambda: np.clip(pixels + np.random.default_rng(0).normal(0, 8, pixels.shape), 0, 255).astype("uint8"),
        "trimmed": lambda: pixels[2 : height - 2, 2 : width - 2],
    }[kind]()


KINDS = (
    "exposed less", "exposed more, whites cut off", "another gamma", "compressed", "smaller", "stretched", "grey", "warmer",
    "blurred", "noisy", "trimmed",
)  # fmt: skip


def groups_of(pictures, **options):
    return duplicates.near_duplicates(duplicates.picture_hashes(pictures), **options)


class PictureTest(tf.test.TestCase):
    def test_a_changed_copy_is_found_and_other_pictures_are_not(self):
        scenes = [scene(seed) for seed in range(40)]
        for kind in KINDS:
            with self.subTest(kind):
                groups = groups_of([*scenes, *(changed(pixels, kind) for pixels in scenes)])
                self.assertAllEqual(groups, np.tile(np.arange(40), 2))

    def test_mirrored_turned_and_negative_pictures_are_others(self):
        pixels = scene(0, size=(96, 96))
        others = [pixels[:, ::-1], pixels[::-1], pixels.transpose(1, 0, 2), 255 - pixels]
        self.assertAllEqual(groups_of([pixels, *others]), np.arange(5))

    def test_hashes_are_the_signs_of_a_thumbnails_gradients(self):
        pixels = np.random.default_rng(0).integers(0, 256, (16, 16), "uint8")  # a thumbnail already
        [found] = duplicates.picture_hashes([pixels])
        expected = np.sign([*np.diff(pixels.astype(int), axis=0).ravel(), *np.diff(pixels.astype(int), axis=1).ravel()])
        self.assertAllEqual(found, expected)
        self.assertEqual(found.dtype, np.int8)
        self.assertAllEqual(duplicates.picture_hashes([pixels[..., None]]), [found])
        self.assertAllEqual(duplicates.picture_hashes([np.repeat(pixels[..., None], 3, axis=2)]), [found])

    def test_pictures_without_structure_are_alike_only_pixel_for_pixel(self):
        white, black = np.full((40, 40), 255, "uint8"), np.zeros((40, 40), "uint8")
        dotted = [white.copy() for _ in range(3)]
        for pixels, place in zip(dotted, (0, 1, 1)):
            pixels[20 + place, 20] = 0
        pictures = [white, black, white, white[:20], white[:20, :20], *dotted, black, np.full((40, 40, 3), 255, "uint8")]
        self.assertAllEqual(groups_of(pictures), [0, 1, 0, 2, 3, 4, 5, 5, 1, 6])

    def test_copies_are_always_found(self):
        """However many there are, and wherever the threshold is."""
        pictures = [scene(0), np.zeros((9, 9), "uint8"), np.eye(30, dtype="uint8") * 255]
        hashes = duplicates.picture_hashes(pictures)[np.arange(1500) % 3]
        for similarity in (duplicates.SIMILAR, 1.0):
            self.assertAllEqual(duplicates.near_duplicates(hashes, similarity), np.arange(1500) % 3)

    def test_a_generator_of_pictures(self):
        hashes = duplicates.picture_hashes(scene(seed, size=(50 + seed, 70)) for seed in range(3))
        self.assertEqual(hashes.shape, (3, 480))
        self.assertAllEqual(hashes[2:], duplicates.picture_hashes([scene(2, size=(52, 70))]))


class SearchTest(tf.test.TestCase):
    def test_equal_scipys_components_of_the_whole_matrix(self):
        """More rows than one block holds, with chains among them."""
        rng = np.random.default_rng(0)
        hashes = rng.choice([-1, 0, 1], (2500, 60)).astype("int8")
        hashes[1200:] = np.where(rng.random((1300, 60)) < 0.1, -hashes[:1300], hashes[:1300])
        cosines = hashes @ hashes.T.astype(float)
        lengths = np.sqrt(np.diag(cosines))
        for similarity in (0.5012, 0.7512):  # no cosine is just this
            _, expected = connected_components(cosines / np.outer(lengths, lengths) >= similarity)
            found = duplicates.near_duplicates(hashes, similarity)
            pairs = np.unique(np.stack([found, expected]), axis=1)  # the same groups, whatever their numbers
            self.assertLen(pairs[0], found.max() + 1)
            self.assertLen(pairs[0], expected.max() + 1)
            self.assertLess(found.max(), 2400)

    def test_near_duplicates_of_near_duplicates_are_one_group(self):
        vectors = np.eye(4)[[0, 1, 3]] + np.eye(4)[[1, 2, 3]]  # 45° apart, then the next
        self.assertAllEqual(duplicates.near_duplicates(np.r_[vectors, [[1, 1, 1, 0]]], 0.8), [0, 0, 1, 0])

    def test_features_are_compared_from_their_mean(self):
        rng = np.random.default_rng(0)
        features = rng.normal(size=(50, 64)) + 20  # all cosines are above 0.99 as they are
        features = np.r_[features, features[:5] + rng.normal(scale=0.1, size=(5, 64))]
        self.assertAllEqual(duplicates.by_features(features), [*range(50), *range(5)])

    def test_equal_features_are_found_even_at_the_mean(self):
        self.assertAllEqual(duplicates.by_features(np.full((4, 3), 7.0)), [0, 0, 0, 0])
        features = np.array([[1.0, 5], [0, 5], [-1, 5], [0, 5]])
        self.assertAllEqual(duplicates.by_features(features, 1.0), [0, 1, 2, 1])

    @pytest.mark.slow
    def test_memory_stays_bounded_where_all_are_alike(self):
        """A matrix of all pairs would take 256 MB."""
        hashes = np.ones((8_000, 16), "int8")
        tracemalloc.start()
        groups = duplicates.near_duplicates(hashes)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertAllEqual(groups, np.zeros(8_000))
        self.assertLess(peak, 100e6)


class GroupsTest(tf.test.TestCase):
    def test_joined_groups_tear_neither(self):
        rng = np.random.default_rng(0)
        for _ in range(50):
            first, second = rng.integers(0, 25, 40), rng.integers(0, 25, 40).astype("str")
            found = duplicates.joined(first, second)
            together = (first[:, None] == first) | (second[:, None] == second)
            _, expected = connected_components(together)
            self.assertAllEqual(found[:, None] == found, expected[:, None] == expected)

    def test_joined_with_itself_or_with_none_is_itself(self):
        groups = np.array([3, 1, 1, 2, 3])
        for other in (groups, np.arange(5)):
            found = duplicates.joined(groups, other)
            self.assertAllEqual(found[:, None] == found, groups[:, None] == groups)

    def test_share_across(self):
        groups = np.array([0, 0, 1, 2, 2, 3])
        self.assertEqual(duplicates.share_across(groups, np.array([0, 2]), np.array([1, 3, 4, 5])), 0.25)
        self.assertEqual(duplicates.share_across(groups, np.array([0, 1]), np.array([2, 3])), 0.0)
