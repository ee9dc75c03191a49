import keras
import numpy as np
import pytest
import tensorflow as tf

import arconvl_tf as arc


def dataset(labels, batch_size=4, image=None):
    labels = np.asarray(labels)
    images = np.ones((len(labels), 8, 8, 1), "float32") * labels[:, None, None, None] if image is None else image
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size)


class Batches(keras.utils.PyDataset):
    """Keras' own kind of dataset, of batches that lie ready."""

    def __init__(self, *batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, number):
        return self.batches[number]


class Endless(keras.utils.PyDataset):
    num_batches = None

    def __getitem__(self, number):
        return np.zeros((2, 8, 8, 1)), np.array([0, 1])


def listed(given):
    return Batches(*given.as_numpy_iterator())


def weighted(given, weight=0.25):
    return given.map(lambda images, labels: (images, labels, tf.fill(tf.shape(labels), weight)))


class FromDatasetsTest(tf.test.TestCase):
    def test_counts_are_found_and_nothing_is_changed(self):
        train = dataset([0, 2, 2, 1, 2, 0, 2, 2, 2])
        splits = arc.from_datasets(train, dataset([1, 1]), dataset([0, 2, 1]))
        self.assertAllEqual(splits.class_counts, [2, 1, 6])
        self.assertAllEqual(splits.split_counts["validation"], [0, 2, 0])
        self.assertEqual((splits.class_names, splits.image_shape), (["0", "1", "2"], (8, 8, 1)))
        for ours, theirs in zip(splits.train, train, strict=True):
            self.assertAllEqual(ours[0], theirs[0])

    def test_any_kind_of_dataset_is_counted(self):
        """Alike for both classes of datasets, with weights and without: samples count, whatever their weight."""
        train, validation, test = dataset([0, 2, 2, 1, 2, 0, 2, 2, 2]), dataset([1, 1]), dataset([0, 2, 1])
        plain = arc.from_datasets(train, validation, test)
        for change in (weighted, listed, lambda given: listed(weighted(given)), lambda given: weighted(given, 0.0)):
            for changed in ((True, True, True), (True, False, False), (False, True, False), (False, False, True)):
                sides = [change(side) if here else side for side, here in zip((train, validation, test), changed)]
                splits = arc.from_datasets(*sides)
                self.assertAllEqual([*splits.split_counts.values()], [*plain.split_counts.values()])
                self.assertEqual(splits.image_shape, (8, 8, 1))
                self.assertIs(splits.train, sides[0])

    def test_weights_are_passed_on(self):
        train = weighted(dataset([0, 1, 1, 0, 1]), 0.125)
        splits = arc.from_datasets(train, train, train)
        self.assertAllEqual(np.concatenate([weights for _, _, weights in splits.train]), [0.125] * 5)

    def test_nothing_is_hung_on_a_dataset_of_ones_own(self):
        side = dataset([0, 1])
        self.assertIsNone(arc.from_datasets(side, side, side).epoch)
        self.assertFalse(hasattr(side, "epoch"))

    def test_shapes_are_those_of_the_pictures(self):
        """Where a dataset doesn't say its shapes beforehand, and where pictures differ."""
        arrays = [(np.zeros((2, 8, width, 3), "float32"), [0, 1]) for width in (8, 8, 9)]

        def generated(number):
            types = (tf.float32, tf.int64)
            return tf.data.Dataset.from_generator(lambda: iter(arrays[:number]), output_types=types)

        alike, different = generated(2), generated(3)
        self.assertEqual(arc.from_datasets(alike, different, alike).image_shape, (8, 8, 3))
        self.assertEqual(arc.from_datasets(different, alike, alike).image_shape, (8, None, 3))

    def test_half_precision_is_looked_through_as_well(self):
        for kind in ("float16", "bfloat16"):
            side = dataset([0, 1, 1]).map(lambda images, labels, kind=kind: (tf.cast(images, kind), labels))
            self.assertAllEqual(arc.from_datasets(side, side, side).class_counts, [1, 2])
            broken = side.map(lambda images, labels: (images / 0, labels))
            with self.assertRaisesRegex(ValueError, "finite test images"):
                arc.from_datasets(side, side, broken)

    def test_pixels_of_two_ranges_are_refused(self):
        pictures = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1))
        bytes_, large, unit, dark = [
            dataset([0, 1] * 3, image=image)
            for image in (
                pictures.astype("uint8"), pictures.astype("float32"), pictures / 255, (pictures > 250).astype("uint8"),
            )
        ]  # fmt: skip
        for full in (bytes_, large, listed(large), weighted(large)):
            for sides, received in [
                ((full, unit, unit), "0 to .* in train, 0 to .* in validation"),
                ((full, full, unit), "0 to .* in train, 0 to .* in test"),
                ((full, full, listed(unit)), "in train, .* in test"),
                ((unit, full, unit), "in validation, .* in train"),
                ((unit, unit, full), "in test, .* in train"),
            ]:
                text = f"one range on all sides. Received: .*{received}. Bring all sides to 0–255"
                with self.assertRaisesRegex(ValueError, text):
                    arc.from_datasets(*sides)
            arc.from_datasets(full, dark, dark)
        arc.from_datasets(unit, unit, unit)

    def test_the_range_is_that_of_all_batches(self):
        """A batch of dim pictures among brighter ones is none of another range."""
        dim, bright = [dataset([0, 1], image=np.linspace(0, most, 128).reshape(2, 8, 8, 1)) for most in (0.9, 200)]
        arc.from_datasets(dim.concatenate(bright), bright, bright.concatenate(dim))

    def test_channels_first_is_refused(self):
        good = dataset([0, 1], image=np.zeros((2, 32, 32, 3), "uint8"))
        for shape in ((3, 32, 32), (1, 28, 28)):
            wrong = dataset([0, 1], image=np.zeros((2, *shape), "uint8"))
            for sides, side in [
                ((wrong, wrong, wrong), "train"),
                ((good, wrong, good), "validation"),
                ((good, good, wrong), "test"),
            ]:
                text = f"{side} images with channels last.*, {shape[0]}, {shape[1]}, .*axes to .0, 2, 3, 1"
                for given in (sides, map(listed, sides)):
                    with self.assertRaisesRegex(ValueError, text):
                        arc.from_datasets(*given)

    @pytest.mark.slow
    def test_a_model_learns_from_it(self):
        side = dataset([0, 1, 1, 1] * 8, batch_size=8)
        for given in (side, listed(side), weighted(side, 1.0)):
            self.assert_learns(given)

    def assert_learns(self, side):
        splits = arc.from_datasets(side, side, side, class_names=["dark", "bright"])
        model = arc.ARConvL(arc.backbones.simple_cnn(splits.image_shape, 4), class_counts=splits.class_counts)
        model.compile(metrics=[arc.GMean()])
        history = model.fit(splits.train, validation_data=splits.validation, epochs=8, verbose=0).history
        self.assertEqual(history["g_mean"][-1], 1.0)

    def test_bad_datasets_are_named(self):
        good = dataset([0, 1, 2])
        nan = dataset([0, 1], image=np.full((2, 8, 8, 1), np.nan, "float32"))
        words = dataset(np.array(["a", "b"]), image=np.zeros((2, 8, 8, 1)))
        images, labels = np.zeros((2, 8, 8, 1), "float32"), np.array([0, 1])
        for sides, options, text in [
            ((good.unbatch(), good, good), {}, r"train batches .*single samples. Batch them: dataset.batch\(32\)"),
            ((good.map(lambda images, labels: images), good, good), {}, "train batches .*no labels. Pair them"),
            ((good, good, good.map(lambda images, labels: (images,))), {}, "test batches .*no labels. Pair them"),
            ((good, Batches(images), good), {}, "validation batches .*no labels. Pair them"),
            ((good, Batches((images, None)), good), {}, "validation batches .*no labels. Pair them"),
            ((good, Batches((images, labels[:1])), good), {}, "2 images with 1 labels"),
            ((good, Batches(), good), {}, "validation samples. Received: an empty dataset"),
            ((good, Endless(), good), {}, "validation dataset that ends"),
            (((images, labels), good, good), {}, "train data as a tf.data.Dataset .*Received: tuple. Arrays .* make_splits"),
            ((good, good.repeat(), good), {}, "validation dataset that ends"),
            ((good, good, nan), {}, "finite test images"),
            ((dataset([-1, 0]), good, good), {}, "≥ 0"),
            ((dataset([0.0, 1.0]), good, good), {}, "whole-number labels .*type float.*Cast them: tf.cast"),
            ((good, listed(dataset([0.0, 1.0])), good), {}, "validation .*whole-number labels .*type float.*Cast them"),
            ((words, good, good), {}, "whole-number labels .*words as labels, b'a' for one. Number them: np.unique"),
            ((good, good, Batches((images, ["a", "b"]))), {}, "test .*whole-number labels .*words as labels.*Number them"),
            ((good, good, Batches((images, labels[:, None]))), {}, r"test .*labels of shape \(2, 1\). Take labels\[:, 0\]"),
            ((Batches((images, np.eye(2))), good, good), {}, r"labels of shape \(2, 2\). Take labels.argmax\(axis=1\)"),
            ((good.map(lambda images, labels: ({"x": images}, labels)), good, good), {}, "train batches .*images of type"),
            ((tf.data.Dataset.from_tensors((["a.png"], [0])), good, good), {}, "train batches .*images of type"),
            ((good, good, dataset([3])), {}, r"test labels in 0\.\.2. Received: label 3"),
            ((good, good, good), {"class_names": ["a", "b"]}, r"train labels in 0\.\.1"),
            ((dataset([0, 2]), good, good), {}, "none of class 1"),
            ((dataset([0, 0]), dataset([0]), dataset([0])), {}, "none of class 1"),
            ((dataset([0, 0]), dataset([0]), dataset([0])), {"class_names": ["a"]}, "two classes"),
            ((good, good.take(0), good), {}, "validation samples"),
        ]:
            with self.assertRaisesRegex(ValueError, text) as caught:
                arc.from_datasets(*sides, **options)
            self.assertNotIn("\n", str(caught.exception))
