import numpy as np
import tensorflow as tf

from arconvl_tf.data.arrays import sides_of_arrays

LABELS = np.arange(6) % 2
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 1)).astype("uint8")


def images_of(side):
    return side.fetch(tf.range(len(LABELS))).numpy()


class RangeTest(tf.test.TestCase):
    def sides(self, train, test=None):
        sides = sides_of_arrays((train, LABELS), (train if test is None else test, LABELS))
        return images_of(sides.train), images_of(sides.test)

    def test_integers_beyond_8_bits_are_refused_with_their_scale(self):
        for kind, largest, text in [
            ("uint16", 65535, "uint16 up to 65535. Multiply all sides by 255 / 65535"),
            ("uint16", 4000, "uint16 up to 4000. Multiply all sides by 255 / 4095"),
            ("int32", 1000, "int32 up to 1000. Multiply all sides by 255 / 1023"),
            ("uint32", 70_000, "uint32 up to 70000. Multiply all sides by 255 / 70000"),
            ("int64", 256, "int64 up to 256. Multiply all sides by 255 / 1023"),
        ]:
            deep = PIXELS.astype(kind)
            deep[3, 2, 1] = largest
            for train, test, side in ((deep, PIXELS, "training"), (PIXELS, deep, "test")):
                with self.assertRaisesRegex(ValueError, f"Expected {side} images in 0–255. Received: {text}"):
                    self.sides(train, test)

    def test_wide_integers_of_8_bits_are_taken(self):
        for kind in ("uint16", "int32", "int64"):
            self.assertAllEqual(self.sides(PIXELS.astype(kind))[0], PIXELS)

    def test_booleans_are_black_and_white(self):
        white = PIXELS > 127
        for train, test in ((white, white), (PIXELS, white), (PIXELS.astype("float32"), white), (white, PIXELS)):
            for given, taken in zip((train, test), self.sides(train, test)):
                self.assertAllEqual(taken, given * 255 if given.dtype == bool else given)

    def test_booleans_beside_floats_of_0_to_1_are_0_and_1(self):
        self.assertAllEqual(self.sides(PIXELS / 255, PIXELS > 127)[1], PIXELS // 128)
        with self.assertRaisesRegex(ValueError, "one range on all sides. Received: 0 to 255 in training"):
            self.sides(PIXELS > 127, PIXELS / 255)

    def test_what_is_no_number_is_refused(self):
        for kind in ("complex64", "object", "str"):
            with self.assertRaisesRegex(ValueError, "training images of numbers. Received: .*Give one array of pixels"):
                self.sides(PIXELS.astype(kind))
