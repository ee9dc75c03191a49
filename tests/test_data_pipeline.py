import dataclasses

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf.data import Imbalance, augmentation, make_splits
from arconvl_tf.data.arrays import sides_of_arrays
from arconvl_tf.data.pipeline import assemble
from arconvl_tf.data.sampling import Sampling


def numbered_images(n=120, k=3):
    """Pictures that carry their own number, so that every sample can be told from every other."""
    images = np.zeros((n, 4, 4, 1), "uint8")
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.arange(n) % 256, np.arange(n) // 256
    return images, np.arange(n) % k


def make(seed=0, **options):
    train, test = numbered_images(300), numbered_images(60)
    return make_splits(train, (test[0] + 100, test[1]), seed=seed, batch_size=16, **options)


def number_of(images):
    return (images[:, 0, 0, 0] + 256 * images[:, 0, 1, 0]).astype(int)


def one_pass(dataset, read=number_of):
    batches = [(images.numpy(), labels.numpy()) for images, labels in dataset]
    images, labels = (np.concatenate(parts) for parts in zip(*batches))
    return read(images), labels


def epoch_of(splits, number, read=number_of):
    """The pass of a training loop that tells the epoch."""
    splits.epoch.assign(number)
    return one_pass(splits.train, read)


class SplitsTest(tf.test.TestCase):
    def test_stratified_tenth_shares_no_sample_with_training(self):
        splits = make(imbalance=5)
        train, train_labels = one_pass(splits.train)
        validation, validation_labels = one_pass(splits.validation)
        self.assertEmpty(set(train) & set(validation))
        self.assertAllEqual(splits.class_counts, [20, 100, 20])
        self.assertAllEqual(np.bincount(validation_labels), [2, 10, 2])
        self.assertAllEqual(np.bincount(train_labels), [18, 90, 18])
        for name, labels in (("train", train_labels), ("validation", validation_labels)):
            self.assertAllEqual(splits.split_counts[name], np.bincount(labels))

    def test_no_pass_waits_for_a_tuner(self):
        splits = make()
        for dataset in (splits.train, splits.validation, splits.test):
            self.assertIs(dataset.options().autotune.enabled, False)

    def test_pictures_keep_their_labels(self):
        numbers, labels = one_pass(make().train)
        self.assertAllEqual(labels, numbers % 3)

    def test_same_seed_same_order_and_every_epoch_another_one(self):
        first, again, other = make(seed=1), make(seed=1), make(seed=2)
        passes = [[epoch_of(splits, number)[0] for number in range(2)] for splits in (first, again, other)]
        self.assertAllEqual(passes[0], passes[1])
        self.assertNotAllEqual(passes[0][0], passes[0][1])
        self.assertCountEqual(passes[0][0], passes[0][1])
        self.assertNotAllEqual(passes[0][0], passes[2][0])

    def test_any_number_of_threads_draws_the_same(self):
        passes = []
        for threads in (1, 5):
            options = tf.data.Options()
            options.threading.private_threadpool_size = threads
            dataset = make(augmentation="light").train.with_options(options)
            passes.append([(images.numpy(), labels.numpy()) for images, labels in dataset])
        for one, many in zip(*passes, strict=True):
            self.assertAllEqual(one[0], many[0])
            self.assertAllEqual(one[1], many[1])

    def test_another_machine_draws_the_same(self):
        """Noted down once: which samples seed 7 keeps, holds back and shows first."""
        splits = make(seed=7, imbalance=10)
        for number, shown in enumerate([
            [193, 79, 277, 7, 274, 199, 122, 73, 29, 115, 38, 211],
            [88, 238, 217, 70, 136, 16, 64, 155, 211, 262, 190, 72],
            [103, 2, 244, 122, 130, 286, 35, 190, 210, 172, 121, 229],
        ]):
            self.assertAllEqual(epoch_of(splits, number)[0][:12], shown)
        self.assertAllEqual(one_pass(splits.validation)[0], [1, 22, 25, 118, 126, 127, 133, 145, 191, 205, 226, 271])

    def test_a_pass_draws_the_epoch_it_is_told_whatever_came_before(self):
        straight, astray = [make(augmentation="paper") for _ in range(2)]
        epochs = {number: epoch_of(straight, number, np.copy) for number in range(3)}
        for number in (2, 0, 2, 1):
            next(iter(astray.train))  # a pass that is broken off
            for before, after in zip(epochs[number], epoch_of(astray, number, np.copy), strict=True):
                self.assertAllEqual(before, after)

    def test_passes_that_are_told_nothing_are_alike(self):
        splits = make(augmentation="paper")
        first, second = [[images.numpy() for images, _ in splits.train] for _ in range(2)]
        self.assertAllEqual(splits.epoch, 0)
        for before, after in zip(first, second, strict=True):
            self.assertAllEqual(before, after)

    def test_a_pass_keeps_the_epoch_it_began_with(self):
        splits = make()
        whole, began = epoch_of(splits, 0)[0], iter(splits.train)
        numbers = [next(began)[0].numpy()]
        splits.epoch.assign(5)
        numbers += [images.numpy() for images, _ in began]
        self.assertAllEqual(np.concatenate([number_of(images) for images in numbers]), whole)

    def test_the_training_dataset_carries_its_epoch(self):
        splits = make()
        self.assertIs(splits.epoch, splits.train.epoch)
        self.assertIsNot(splits.epoch, make().epoch)
        splits.epoch.assign(4)
        self.assertAllEqual(one_pass(splits.validation), one_pass(make().validation))
        self.assertAllEqual(one_pass(splits.test)[1], np.arange(60) % 3)

    def test_keras_reads_the_epoch_that_a_callback_tells(self):
        """Also where several steps run at a time, and where validation passes over its own data in between."""
        splits, seen = make(), []

        class Recorder(keras.Model):
            def train_step(self, data):
                tf.py_function(lambda images: seen.extend(number_of(images.numpy())), [data[0]], [])
                return {"loss": 0.0}

            def test_step(self, data):
                return {"loss": 0.0}

        model = Recorder()
        model.compile(steps_per_execution=4)
        tell = keras.callbacks.LambdaCallback(on_epoch_begin=lambda number, logs: splits.epoch.assign(number))
        options = {"validation_data": splits.validation, "shuffle": False, "verbose": 0}
        model.fit(splits.train, initial_epoch=1, epochs=3, callbacks=[tell], **options)
        self.assertAllEqual(seen, np.concatenate([epoch_of(splits, number)[0] for number in (1, 2)]))

    def test_splits_cannot_be_changed(self):
        with self.assertRaises(dataclasses.FrozenInstanceError):
            make().train = None

    def test_a_seed_of_its_own_chooses_the_samples_but_not_their_order(self):
        own = [make(seed=seed, imbalance=Imbalance(10, seed=7)) for seed in (1, 2)]
        usual = make(seed=7, imbalance=10)
        trained = [one_pass(splits.train)[0] for splits in (*own, usual)]
        self.assertCountEqual(trained[0], trained[2])
        self.assertCountEqual(trained[1], trained[2])
        self.assertNotAllEqual(trained[0], trained[1])
        for splits in own:
            self.assertAllEqual(one_pass(splits.validation), one_pass(usual.validation))

    def test_length_is_known_and_the_last_batch_is_kept(self):
        splits = make()
        self.assertLen(splits.train, 17)
        self.assertLen(one_pass(splits.train)[0], 270)

    def test_a_class_of_one_sample_stays_in_training(self):
        images, labels = numbered_images(101)
        labels = np.where(np.arange(101) == 100, 2, np.arange(101) % 2)
        splits = make_splits((images, labels), (images, labels))
        self.assertAllEqual(splits.split_counts["train"], [45, 45, 1])

    def test_every_class_of_two_samples_is_validated(self):
        images, _ = numbered_images(240)
        labels = np.repeat(np.arange(4), [3, 2, 5, 230])
        splits = make_splits((images, labels), (images, labels))
        self.assertAllEqual(splits.split_counts["validation"][:3] >= 1, [True] * 3)
        self.assertAllEqual(splits.split_counts["train"] >= 1, [True] * 4)
        self.assertAllEqual(splits.split_counts["train"] + splits.split_counts["validation"], [3, 2, 5, 230])

    def test_labels_are_words_or_numbers_with_gaps(self):
        images, labels = numbered_images()
        plain = make_splits((images, labels), (images, labels))
        for names in (["cat", "newt", "owl"], [3, 7, 40]):
            named = np.array(names)[labels]
            for given in (named, named.astype(object)):
                splits = make_splits((images, given), (images, given))
                self.assertEqual(splits.class_names, [str(name) for name in names])
                self.assertAllEqual(one_pass(splits.train), one_pass(make_splits((images, labels), (images, labels)).train))
                self.assertAllEqual(splits.class_counts, plain.class_counts)

    def test_one_class_is_refused(self):
        images, labels = numbered_images()
        with self.assertRaisesRegex(ValueError, "at least two classes"):
            make_splits((images, 0 * labels), (images, 0 * labels))

    def test_counts_by_class(self):
        images, labels = numbered_images(300)
        names = ["7", "cat", "0"]
        splits = make_splits((images, labels), (images, labels), Imbalance(keep={"cat": 20, 0: 40}), class_names=names)
        self.assertAllEqual(splits.class_counts, [100, 20, 40])
        self.assertAllEqual(splits.split_counts["train"] + splits.split_counts["validation"], [100, 20, 40])
        thinned = make_splits((images, labels), (images, labels), Imbalance(10, minority=["7"]), class_names=names)
        self.assertAllEqual(thinned.class_counts, [10, 100, 100])

    def test_bad_input_is_named(self):
        images, labels = numbered_images()
        broken = images.astype("float32")
        broken[7, 0, 0, 0] = np.nan
        good = (images, labels)
        for train, options, text in [
            ((broken, labels), {}, "NaN or infinite pixels in 1 of them, the first at index 7"),
            ((images, labels - 1), {}, "≥ 0. Received: -1"),
            ((images, labels), {"class_names": ["a", "b"]}, r"labels in 0\.\.1"),
            ((images, labels % 2 * 2), {"class_names": ["a", "b", "c"]}, "none of class 1"),
            ((images, labels % 2), {}, "that training has as well. Received: 2"),
            ((images, 0 * labels), {}, "test labels"),
            ((images, np.array(["a", "b", "c"])[labels]), {"class_names": ["a", "b", "c"]}, "beside `class_names`"),
            ((images[:5], labels), {}, "shapes"),
            ((images, labels.astype("float32")), {}, "integers or words"),
            ((images[:, :2], labels), {}, "one shape"),
            (good, {"imbalance": 0.5}, "≥ 1"),
            (good, {"imbalance": 1000}, "at least one sample"),
            (good, {"augmentation": "strong"}, "none, light, paper"),
            (good, {"batch_size": 0}, "batch_size=0"),
            (images, {}, r"a pair \(images, labels\). Received: ndarray"),
            ((images / 255.0, labels), {"augmentation": "light"}, "pixels in 0–255 .*Received: 0"),
            ((images - 128.0, labels), {"augmentation": "light"}, "pixels in 0–255 .*Received: -128"),
            ((images * 16.0, labels), {"augmentation": "light"}, "pixels in 0–255 .*Received: 0 to 1904"),
            (good, {"seed": -1}, "`seed` to be a whole number ≥ 0. Received: seed=-1"),
            (good, {"imbalance": Imbalance(keep={0: 1, 1: 1, 2: 1})}, "hold a share of 0.1 of every class out"),
            (good, {"imbalance": Imbalance(10, minority=[5])}, "among 0, 1, 2. Received: '5'"),
            (good, {"imbalance": {1: 4}}, "factor, a finite number ≥ 1. Received: factor={1: 4}"),
            ((images, np.array(["a", "b", np.nan], dtype=object)[labels]), {}, "integers or words. Received: nan"),
            ((images, np.array([b"a", b"b", b"c"])[labels]), {}, "integers or words"),
        ]:
            with self.assertRaisesRegex(ValueError, text):
                make_splits(train, good, **options)


class AlikeSidesTest(tf.test.TestCase):
    """Faults that train without a word and are noticed, if at all, by a bad result."""

    def splits(self, train, test):
        return make_splits((train, np.arange(len(train)) % 2), (test, np.arange(len(test)) % 2))

    def test_pixels_of_two_ranges_are_refused(self):
        rng = np.random.default_rng(0)
        eight_bits = rng.integers(0, 256, (60, 5, 5, 3)).astype("uint8")
        unit, around_zero = eight_bits / 255, eight_bits / 127.5 - 1
        resized = np.clip(unit.astype("float32") * 1.2 - 0.1, None, 1.08)  # as bicubic resizing leaves it
        for one, other in [
            (eight_bits, unit),
            (eight_bits.astype("float32"), unit.astype("float32")),
            (eight_bits, around_zero),
            (resized * 255, resized),
            (unit * 16, unit),
            (eight_bits, unit * 0.1),
        ]:
            text = r"one range on all sides. Received: .* in {}, .* in {}. Bring all sides to 0–255"
            with self.assertRaisesRegex(ValueError, text.format("training", "test")):
                self.splits(one, other)
            with self.assertRaisesRegex(ValueError, text.format("test", "training")):
                self.splits(other, one)

    def test_what_only_looks_like_two_ranges_is_taken(self):
        rng = np.random.default_rng(0)
        eight_bits = rng.integers(0, 256, (60, 5, 5, 3)).astype("uint8")
        unit = eight_bits / 255
        centred = (eight_bits - 120.0) / 60
        for train, test in [
            (eight_bits, np.zeros_like(eight_bits)),
            (eight_bits, eight_bits // 128),  # nearly black
            (eight_bits.astype("float32"), (eight_bits // 128).astype("float32")),
            (eight_bits, np.full((6, 5, 5, 3), 0.5)),
            (np.full((60, 5, 5, 3), 7.0), unit),
            (unit, 0.01 * unit),
            (unit, unit > 0.5),
            (centred, centred[centred.max(axis=(1, 2, 3)) < 2.2] - 1.3),  # centred, and darker
            (eight_bits, eight_bits.astype("float32") * 257),  # 16 bits: not 0–1
        ]:
            self.assertLen(self.splits(train, test).class_names, 2)

    def test_channels_first_is_refused(self):
        for shape in ((3, 32, 32), (1, 28, 28), (4, 5, 9), (3, 224, 160)):
            images = np.zeros((60, *shape), "uint8")
            for train, test in ((images, images), (np.moveaxis(images, 1, -1), images)):
                side = "training" if train is images else "test"
                text = rf"{side} images with channels last.*\(n, {', '.join(map(str, shape))}\).*to \(0, 2, 3, 1\)"
                with self.assertRaisesRegex(ValueError, text):
                    self.splits(train, test)

    def test_tiny_pictures_are_taken_as_they_are(self):
        for shape in ((3, 3, 3), (3, 64, 3), (1, 50, 1), (4, 4, 1), (2, 2, 8), (3, 4, 9), (1, 64, 4), (5, 6, 7), (28, 28)):
            images = np.zeros((60, *shape), "uint8")
            expected = shape if len(shape) == 3 else (*shape, 1)
            self.assertEqual(self.splits(images, images).image_shape, expected)


class AugmentationTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.images = tf.constant(np.random.default_rng(0).integers(0, 256, (4000, 16, 16, 3)), tf.uint8)

    def test_a_seed_gives_one_batch(self):
        first, again = [augmentation.paper_augmentation(self.images[:50], [1, 2]) for _ in range(2)]
        other = augmentation.paper_augmentation(self.images[:50], [1, 3])
        self.assertAllEqual(first, again)
        self.assertNotAllEqual(first, other)

    def test_shifts_are_uniform_in_size_with_a_random_sign(self):
        columns = tf.tile(tf.cast(tf.range(16), tf.uint8)[None, None, :, None], [4000, 16, 1, 1])
        shifted = augmentation._random_shift(columns, [0, 1], [3, 3]).numpy()[:, 8, :, 0].astype(int)
        sizes = shifted[:, 8] - 8
        shares = np.array([np.mean(np.abs(sizes) == size) for size in range(4)])
        self.assertAllClose(shares, [0.25] * 4, atol=0.03)
        self.assertAllClose(np.mean(sizes > 0), 0.375, atol=0.03)
        # Nearest fill: beyond the edge the last column repeats.
        self.assertAllEqual(shifted, np.clip(np.arange(16)[None] + sizes[:, None], 0, 15))

    def test_light_augmentation_moves_with_the_size_and_keeps_the_subject(self):
        first, again = [augmentation.light_augmentation(self.images[:500], [1, 2]).numpy() for _ in range(2)]
        self.assertAllEqual(first, again)
        self.assertEqual(first.dtype, np.uint8)
        means = [batch.mean(axis=(1, 2, 3)) for batch in (first, self.images[:500].numpy())]
        self.assertBetween(np.abs(means[0] - means[1]).max(), 30, 0.2 * 255 + 8)
        # One pixel of sixteen, and 22 of 224.
        for size, most in ((16, 1), (224, 22)):
            columns = tf.tile(tf.cast(tf.range(size), tf.float32)[None, None, :, None], [400, 2, 1, 1])
            moved = augmentation._random_shift(columns, [0, 1], [0, most]).numpy()[:, 0, size // 2, 0] - size // 2
            self.assertEqual((moved.min(), moved.max()), (-most, most))

    def test_half_of_the_images_are_mirrored(self):
        flipped = augmentation._random_flip(self.images, [0, 1]).numpy()
        images = self.images.numpy()
        mirrored = np.array([np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, images)])
        same = np.array([np.array_equal(a, b) for a, b in zip(flipped, images)])
        self.assertTrue(np.all(mirrored | same))
        self.assertAllClose(mirrored.mean(), 0.5, atol=0.03)

    def test_erasing_replaces_one_rectangle_by_uniform_noise(self):
        grey = tf.fill([2000, 32, 32, 3], tf.constant(77, tf.uint8))
        erased = augmentation._random_erasing(grey, [0, 1], [2, 3]).numpy()
        changed = np.any(erased != 77, axis=-1)
        rows, columns = changed.any(axis=2).sum(axis=1), changed.any(axis=1).sum(axis=1)
        area = rows * columns / 32**2
        self.assertAllClose(changed.mean(axis=(1, 2)), area, atol=0.002)  # a full rectangle
        self.assertAllInRange(area, 0.01, 0.4)
        # Small rectangles fit at once, large ones are drawn again: fewer of them than uniform areas would give.
        self.assertBetween(area.mean(), 0.08, 0.2)
        aspect = rows / np.maximum(columns, 1)
        self.assertAllInRange(np.quantile(aspect, [0.05, 0.95]), 0.25, 4.0)
        noise = erased[changed]
        self.assertAllClose(noise.mean(), 127.5, atol=1.0)
        self.assertAllClose(noise.std(), 256 / np.sqrt(12), atol=1.0)


class EpochCapTest(tf.test.TestCase):
    def test_an_epoch_draws_a_part_of_a_large_class_another_one_every_time(self):
        labels = np.repeat([0, 1, 2, 3], [200, 20, 10, 10])
        images = np.zeros((240, 4, 4, 1), "uint8")
        images[:, 0, 0, 0] = np.arange(240)
        sides = sides_of_arrays((images, labels), (images, labels))
        sampling = Sampling(batch_size=16, epoch_cap=1.5, validation_share=0.0)
        splits = assemble(sides, sampling)
        self.assertIsNone(splits.validation)
        self.assertAllEqual(splits.class_counts, [200, 20, 10, 10])  # what priors are made of
        self.assertLen(splits.train, 9)  # 90 + 40 samples
        seen = []
        for epoch in range(8):
            numbers, drawn = epoch_of(splits, epoch)
            self.assertAllEqual(np.bincount(drawn), [90, 20, 10, 10])
            self.assertLen(set(numbers), 130)
            self.assertAllEqual(labels[numbers], drawn)
            for half in (drawn[:65], drawn[65:]):  # the large class is spread over the epoch
                self.assertBetween(int(np.sum(half == 0)), 35, 55)
            seen += numbers[drawn == 0].tolist()
        self.assertAllEqual(epoch_of(splits, 3), epoch_of(splits, 3))
        times = np.bincount(seen, minlength=200)[:200]
        self.assertGreater(times.min(), 0)
        self.assertLess(times.max(), 8)

    def test_a_cap_that_nothing_reaches_changes_nothing(self):
        sides = sides_of_arrays(numbered_images(300), numbered_images(60))
        plain, capped = (assemble(sides, Sampling(batch_size=16, epoch_cap=cap)) for cap in (None, 1.0))
        for epoch in (0, 1):
            self.assertAllEqual(epoch_of(plain, epoch), epoch_of(capped, epoch))
