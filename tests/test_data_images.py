import hashlib
import io
import json
import os
import pathlib
import struct
import zlib

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from arconvl_tf.data.images import Reading, complaint, examine, full_scale_of
from tests.in_folder import FolderTestCase

RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
# Four rows of six colours, no two rows or columns alike, so that every way of turning it shows.
PATTERN = np.array(
    [
        [RED, RED, GREEN, BLUE, RED, YELLOW],
        [BLUE, GREEN, GREEN, RED, BLUE, BLUE],
        [YELLOW, BLUE, RED, RED, GREEN, YELLOW],
        [GREEN, YELLOW, BLUE, YELLOW, YELLOW, RED],
    ],
    "uint8",
)
SHAPE = PATTERN.shape
RAMP = np.linspace(0, 4095, 1024).round().astype("uint16").reshape(32, 32)  # 12 bits
ORIENTATION = 0x0112


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pattern(mode="RGB"):
    return Image.fromarray(PATTERN).convert(mode)


def png(width, height, depth, colour, rows, chunks=()):
    """A PNG file from its raw rows (one bytes object) and further chunks (name, contents)."""
    step = len(rows) // height
    lines = b"".join(b"\0" + rows[start : start + step] for start in range(0, len(rows), step))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def bmp(rows, bits, height=4, masks=None, palette=()):
    """A BMP file of the pattern's size from rows as they lie in the file, top-down where `height` is negative."""
    lines = b"".join(row + bytes(-len(row) % 4) for row in rows)
    extra = struct.pack("<III", *masks) if masks else b"".join(bytes((*colour[::-1], 0)) for colour in palette)
    start = 14 + 40 + len(extra)
    header = struct.pack("<IiiHHIIiiII", 40, 6, height, 1, bits, 3 if masks else 0, len(lines), 0, 0, len(palette), 0)
    return b"BM" + struct.pack("<IHHI", start + len(lines), 0, 0, start) + header + extra + lines


def bmp_of_masks(bits, masks):
    """Full or no light of each colour is all ones or zeros under its mask."""
    values = ((PATTERN[::-1] > 0) * np.array(masks)).sum(axis=-1)
    return bmp([row.astype(f"<u{bits // 8}").tobytes() for row in values], bits, masks=masks)


def bmp_of_palette(bits):
    palette = [BLUE, YELLOW, RED, GREEN]
    indices = [[palette.index(tuple(pixel)) for pixel in row] for row in PATTERN[::-1].tolist()]
    packed = [bytes(row) if bits == 8 else bytes(row[i] << 4 | row[i + 1] for i in range(0, 6, 2)) for row in indices]
    return bmp(packed, bits, palette=palette)


def animation(kind, **options):
    frames = [pattern(), *(Image.new("RGB", (6, 4), colour) for colour in (RED, BLUE))]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)


LOSSLESS = {
    "PNG": saved(pattern(), "PNG"),
    "PNG with a palette": saved(pattern("P"), "PNG"),
    "PNG with a palette of 2 bits": saved(pattern().quantize(4), "PNG", bits=2),
    "PNG of 16 bits in colour": png(6, 4, 16, 2, np.repeat(PATTERN, 2, axis=-1).tobytes()),
    "GIF": saved(pattern().quantize(4), "GIF"),
    "BMP": saved(pattern(), "BMP"),
    "BMP with a palette of 8 bits": bmp_of_palette(8),
    "BMP with a palette of 4 bits": bmp_of_palette(4),
    "BMP with rows from the top": bmp([row[:, ::-1].tobytes() for row in PATTERN], 24, height=-4),
    "BMP with masks of 5, 6 and 5 bits": bmp_of_masks(16, (0xF800, 0x07E0, 0x001F)),
    "BMP with masks of 5 bits": bmp_of_masks(16, (0x7C00, 0x03E0, 0x001F)),
    "BMP with masks of 8 bits": bmp_of_masks(32, (0xFF000000, 0x00FF0000, 0x0000FF00)),
    "TIFF": saved(pattern(), "TIFF"),
    "TIFF, packed": saved(pattern(), "TIFF", compression="tiff_lzw"),
    "TIFF with a palette": saved(pattern().quantize(4), "TIFF"),
    "WebP": saved(pattern(), "WEBP", lossless=True),
    "animated GIF": animation("GIF"),
    "animated, opaque WebP": animation("WEBP", lossless=True),
    "animated PNG": animation("PNG"),
    "TIFF of several pages": animation("TIFF"),
}
BIG = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), "uint8")).resize(
    (240, 180), Image.Resampling.BICUBIC
)
LOSSY = {
    "JPEG": saved(BIG, "JPEG"),
    "progressive JPEG": saved(BIG, "JPEG", progressive=True),
    "grey JPEG": saved(BIG.convert("L"), "JPEG"),
    "JPEG of printing colours": saved(BIG.convert("CMYK"), "JPEG"),
    "TIFF of printing colours": saved(BIG.convert("CMYK"), "TIFF"),
    "TIFF of light and chroma": saved(BIG, "TIFF", compression="jpeg"),
    "WebP": saved(BIG, "WEBP"),
    "JPEG within several": saved(BIG, "MPO", save_all=True, append_images=[BIG.rotate(180)]),
}


def reference(contents, shape=SHAPE):
    """As Pillow shows an opaque picture."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(contents))).convert("RGB")
    height, width, channels = shape
    return np.array(image.convert("L" if channels == 1 else "RGB").resize((width, height), Image.Resampling.BILINEAR))


class DecodingTest(tf.test.TestCase):
    def assertDecodes(self, contents, expected, **options):
        expected = np.asarray(expected)
        decoded = Reading(expected.shape, **options).decode(contents)
        self.assertEqual(decoded.dtype, np.uint8)
        self.assertAllEqual(decoded, expected)

    def test_pictures_without_loss_are_what_was_written(self):
        """Those with palettes, masks, rows from the top and the first frames of animations, an opaque WebP among them."""
        for name, contents in LOSSLESS.items():
            with self.subTest(name):
                self.assertDecodes(contents, PATTERN)
                self.assertAllEqual(reference(contents), PATTERN)

    def test_pictures_with_loss_look_as_pillow_shows_them(self):
        for name, contents in (LOSSY | LOSSLESS).items():
            for shape in ((180, 240, 3), (50, 40, 3), (64, 64, 1), (7, 300, 3)):
                with self.subTest(name, shape=shape):
                    expected = reference(contents, shape).reshape(shape)
                    difference = np.abs(Reading(shape).decode(contents).astype(int) - expected)
                    self.assertLessEqual(difference.mean(), 2)

    def test_printing_colours_are_not_inverted(self):
        for kind in ("JPEG", "TIFF"):
            contents = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), kind)
            self.assertAllClose(Reading((1, 1, 3)).decode(contents)[0, 0], RED, atol=2)

    def test_pictures_are_turned_as_their_exif_data_say(self):
        expected = {
            1: PATTERN,
            2: PATTERN[:, ::-1],
            3: PATTERN[::-1, ::-1],
            4: PATTERN[::-1],
            5: PATTERN.transpose(1, 0, 2),
            6: np.rot90(PATTERN, -1),
            7: np.rot90(PATTERN, 2).transpose(1, 0, 2),
            8: np.rot90(PATTERN),
        }
        for orientation, pixels in expected.items():
            exif = Image.Exif()
            exif[ORIENTATION] = orientation
            for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
                with self.subTest(kind, orientation=orientation):
                    self.assertDecodes(saved(pattern(), kind, exif=exif, **options), pixels)
            deep = Image.fromarray(PATTERN[..., 0].astype("uint16") * 257)
            self.assertDecodes(saved(deep, "TIFF", exif=exif), pixels[..., :1])
            large = pattern().resize((60, 40), Image.Resampling.NEAREST)
            turned = Reading((pixels.shape[0] * 10, pixels.shape[1] * 10, 3)).decode(
                saved(large, "JPEG", exif=exif, quality=95)
            )
            self.assertAllClose(turned[5::10, 5::10], pixels, atol=60, msg=str(orientation))  # JPEG blurs colours

    def test_broken_exif_data_do_not_cost_the_picture(self):
        for exif in (b"", b"Exif\0\0not at all", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"):
            contents = saved(BIG, "JPEG", exif=exif)
            self.assertAllEqual(Reading((180, 240, 3)).decode(contents), reference(contents, (180, 240, 3)))

    def test_transparency_is_composed_on_the_background(self):
        """Black everywhere, and a drawing in the alpha channel alone."""
        alpha = np.array([[0, 255, 128, 0], [64, 255, 0, 192]], "uint8")
        black = np.zeros((2, 4), "uint8")
        drawing = Image.merge("LA", [Image.fromarray(black), Image.fromarray(alpha)])
        palette = Image.fromarray(np.array([[0, 1, 2, 0], [3, 1, 0, 4]], "uint8"), "P")
        palette.putpalette([0] * 15)
        files = {
            "grey PNG": saved(drawing, "PNG"),
            "colour PNG": saved(drawing.convert("RGBA"), "PNG"),
            "PNG with a transparent palette": saved(palette, "PNG", transparency=bytes([0, 255, 128, 64, 192])),
            "WebP": saved(drawing.convert("RGBA"), "WEBP", lossless=True, exact=True),
            "TIFF": saved(drawing.convert("RGBA"), "TIFF"),
        }
        opacity = alpha[..., None] / 255
        for name, contents in files.items():
            for background, colour in (
                ("white", (255,) * 3),
                ("black", (0,) * 3),
                ("grey", (128,) * 3),
                ("#6432c8", (100, 50, 200)),
            ):
                with self.subTest(name, background=background):
                    expected = np.array(colour) * (1 - opacity)
                    decoded = Reading((2, 4, 3), background=background).decode(contents)
                    self.assertAllClose(decoded, expected, atol=1)
                    grey = Reading((2, 4, 1), background=background).decode(contents)
                    self.assertAllClose(grey, expected @ [[0.299], [0.587], [0.114]], atol=1.5)

    def test_a_transparent_value_is_seen_through_at_every_depth(self):
        for name, contents, expected in [
            ("1 bit", png(8, 1, 1, 0, bytes([0b10110000]), [(b"tRNS", b"\0\0")]), [255] * 8),
            ("8 bits", png(4, 1, 8, 0, bytes([0, 100, 200, 7]), [(b"tRNS", b"\0\x64")]), [0, 255, 200, 7]),
            ("16 bits", png(3, 1, 16, 0, struct.pack(">HHH", 0, 300, 65535 // 5), [(b"tRNS", b"\x01\x2c")]), [0, 255, 51]),
            ("colour", png(2, 1, 8, 2, bytes([9, 9, 9, 1, 2, 3]), [(b"tRNS", struct.pack(">HHH", 1, 2, 3))]), [9, 255]),
        ]:
            with self.subTest(name):
                self.assertDecodes(contents, np.array(expected, "uint8")[None, :, None])

    def test_a_transparent_colour_does_not_bleed_when_pictures_shrink(self):
        contents = saved(Image.fromarray(np.array([[(0, 0, 0, 255), (255, 0, 0, 0)]], "uint8")), "PNG")
        self.assertAllClose(Reading((1, 1, 3)).decode(contents)[0, 0], [127.5] * 3, atol=1)

    def test_pictures_of_16_bits_keep_their_grey_levels(self):
        expected = np.rint(RAMP * (255 / 4095)).astype("uint8")
        self.assertLen(np.unique(expected), 256)
        big_endian = Image.frombytes("I;16B", (32, 32), RAMP.astype(">u2").tobytes())
        files = {
            "PNG": png(32, 32, 16, 0, RAMP.astype(">u2").tobytes()),
            "TIFF": saved(Image.fromarray(RAMP), "TIFF"),
            "packed TIFF": saved(Image.fromarray(RAMP), "TIFF", compression="tiff_lzw"),
            "TIFF, big-endian": saved(big_endian, "TIFF"),
            "TIFF of 32 bits": saved(Image.fromarray(RAMP.astype("int32")), "TIFF"),
        }
        for name, contents in files.items():
            with self.subTest(name):
                self.assertDecodes(contents, expected[..., None], full_scale=4095)
                self.assertDecodes(contents, np.repeat(expected[..., None], 3, axis=-1), full_scale=4095)
                self.assertDecodes(contents, np.minimum(RAMP, 255)[..., None].astype("uint8"), full_scale=255)
                self.assertDecodes(contents, np.rint(RAMP[..., None] / 257).astype("uint8"))

    def test_pictures_of_16_bits_in_colour_give_their_high_byte(self):
        values = np.array([[4095, 65535, 256], [255, 1, 0]], ">u2")
        self.assertDecodes(png(2, 1, 16, 2, values.tobytes()), [[[15, 255, 1], [0, 0, 0]]])

    def test_floats_are_of_0_to_1_or_of_0_to_255(self):
        for values, expected in [
            ([0, 0.25, 1], [0, 64, 255]),
            ([0, 0.1, 0.2], [0, 26, 51]),
            ([0, 100.4, 255], [0, 100, 255]),
            ([0, 0, 0], [0, 0, 0]),
        ]:
            contents = saved(Image.fromarray(np.array([values], "float32")), "TIFF")
            self.assertDecodes(contents, np.array(expected, "uint8")[None, :, None])
        for values in ([-0.1, 0, 1], [0, 0.5, 1.04], [0, 1, 256], [0, np.nan, 1], [0, np.inf, 1]):
            with self.assertRaisesRegex(ValueError, "floats .* to .*, neither of 0–1 nor of 0–255"):
                Reading((1, 3, 1)).decode(saved(Image.fromarray(np.array([values], "float32")), "TIFF"))

    def test_integers_beyond_16_bits_are_refused(self):
        for values in ([0, 65536], [-1, 5]):
            with self.assertRaisesRegex(ValueError, f"values {values[0]} to {values[1]}, not of 0–65535"):
                Reading((1, 2, 1)).decode(saved(Image.fromarray(np.array([values], "int32")), "TIFF"))

    def test_the_full_scale_is_the_least_that_holds_all(self):
        for largest, scale in [(1, 255), (255, 255), (256, 1023), (1023, 1023), (4000, 4095), (5000, 16383), (16384, 65535)]:
            self.assertEqual(full_scale_of(largest), scale)
        self.assertEqual(full_scale_of(0), 65535)


class FitTest(tf.test.TestCase):
    """Two halves of a wide picture, 8×4: red on the left, blue on the right."""

    def setUp(self):
        super().setUp()
        self.halves = np.repeat([[RED] * 4 + [BLUE] * 4], 4, axis=0).astype("uint8")
        self.wide = saved(Image.fromarray(self.halves), "PNG")

    def test_resizing_stretches(self):
        self.assertAllEqual(Reading((8, 8, 3)).decode(self.wide), np.repeat(self.halves, 2, axis=0))

    def test_padding_adds_the_background_evenly(self):
        for background, value in (("white", 255), ("black", 0)):
            expected = np.full((8, 8, 3), value)
            expected[2:6] = self.halves
            self.assertAllEqual(Reading((8, 8, 3), fit="pad", background=background).decode(self.wide), expected)
        self.assertAllEqual(Reading((8, 8, 1), fit="pad", background="red").decode(self.wide)[0], np.full((8, 1), 76))

    def test_cropping_keeps_the_middle(self):
        self.assertAllEqual(Reading((4, 4, 3), fit="crop").decode(self.wide), self.halves[:, 2:6])

    def test_extreme_shapes_fit_as_well(self):
        """Padded, they stay a line of one pixel."""
        for size, padded in (((1, 3000), 16), ((3000, 1), 15), ((1, 1), 15 * 15)):
            for fit in ("resize", "pad", "crop"):
                pixels = Reading((16, 15, 3), fit=fit).decode(saved(Image.new("RGB", size, BLUE), "PNG"))
                self.assertEqual((pixels == BLUE).all(axis=-1).sum(), padded if fit == "pad" else 16 * 15)

    def test_shrinking_averages(self):
        stripes = np.tile(np.array([0, 255], "uint8"), (64, 32))
        shrunk = Reading((8, 8, 1)).decode(saved(Image.fromarray(stripes), "PNG"))
        self.assertAllClose(shrunk[:, 1:-1], np.full((8, 6, 1), 127.5), atol=2)

    def test_large_jpegs_that_are_decoded_small_differ_by_a_level_or_two(self):
        rng = np.random.default_rng(0)
        noise = Image.fromarray(rng.integers(0, 256, (900, 1200, 3), "uint8"))
        lines = Image.fromarray(np.where((np.indices((900, 1200)) % 13 == 0).any(axis=0), 0, 255).astype("uint8"))
        for image, bound in ((noise, 0.2), (lines, 1.5), (BIG.resize((1200, 900)), 0.2), (BIG.resize((900, 1201)), 0.2)):
            contents = saved(image, "JPEG", quality=90)
            for shape in ((64, 64, 3), (30, 100, 3), (224, 224, 3)):
                difference = np.abs(Reading(shape).decode(contents).astype(int) - reference(contents, shape))
                self.assertLessEqual(difference.mean(), bound)

    def test_readings_go_through_json(self):
        reading = Reading([7, 9, 1], fit="pad", background="#102030", full_scale=4095)
        self.assertEqual(Reading.from_dict(json.loads(json.dumps(reading.to_dict()))), reading)
        self.assertEqual(reading.image_shape, (7, 9, 1))

    def test_bad_readings_are_named(self):
        for options, text in [
            ({"image_shape": (8, 8, 4)}, r"1 or 3\). Received: \(8, 8, 4\)"),
            ({"image_shape": (0, 8, 3)}, "image shape"),
            ({"image_shape": (8, 8)}, "image shape"),
            ({"fit": "stretch"}, "resize, pad, crop. Received: 'stretch'"),
            ({"background": "rainbow"}, "Received: 'rainbow'"),
            ({"full_scale": 0}, "≥ 1. Received: 0"),
        ]:
            with self.assertRaisesRegex(ValueError, text):
                Reading(**({"image_shape": (8, 8, 3)} | options))


class ExamineTest(FolderTestCase):
    def test_what_is_found_out(self):
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        files = {
            "upright.jpg": (saved(BIG, "JPEG", exif=exif), (240, 180, 3)),
            "grey.jpg": (saved(BIG.convert("L"), "JPEG"), (180, 240, 1)),
            "grey in colour.png": (saved(BIG.convert("L").convert("RGB"), "PNG"), (180, 240, 3)),
            "bits.png": (saved(pattern("1"), "PNG"), (4, 6, 1)),
            "alpha.png": (saved(pattern("LA"), "PNG"), (4, 6, 1)),
            "palette.png": (saved(pattern("P"), "PNG"), (4, 6, 3)),
            "deep.png": (png(32, 32, 16, 0, RAMP.astype(">u2").tobytes()), (32, 32, 1)),
            "float.tif": (saved(Image.fromarray(RAMP.astype("float32") / 4095), "TIFF"), (32, 32, 1)),
        }
        paths = [self.write(name, contents) for name, (contents, _) in files.items()]
        numbers = []
        examined = examine(paths, 2, numbers.append)
        self.assertEqual(examined.paths, paths)
        self.assertEqual(examined.shapes, [shape for _, shape in files.values()])
        digests = [hashlib.blake2b(contents, digest_size=16).digest() for contents, _ in files.values()]
        self.assertEqual([digest.tobytes() for digest in examined.digests], digests)
        self.assertEqual((examined.unreadable, examined.animations, examined.largest_deep), ({}, 0, 4095))
        self.assertEqual(numbers, list(range(1, 9)))

    def test_animations_are_counted(self):
        """Not so the previews in a telephone's JPEG."""
        paths = [self.write(str(number), contents) for number, contents in enumerate((LOSSLESS | LOSSY).values())]
        examined = examine(paths, 3)
        self.assertEqual((len(examined.paths), examined.animations, examined.largest_deep), (len(paths), 4, 0))

    def test_no_pictures_at_all(self):
        self.assertEqual(examine([], 2).digests.shape, (0, 16))

    def test_unreadable_files_say_why(self):
        whole = {"PNG": saved(BIG, "PNG"), "JPEG": saved(BIG, "JPEG"), "BMP": saved(BIG, "BMP"), "GIF": saved(BIG, "GIF")}
        whole |= {"TIFF": saved(BIG, "TIFF"), "WEBP": saved(BIG, "WEBP")}
        os.mkfifo(self.root / "pipe.png")
        (self.root / "link.png").symlink_to("absent.png")
        (self.root / "loop.png").symlink_to("loop.png")
        (self.root / "folder.png").mkdir()
        named = {
            self.write("empty.jpg", b""): "an empty file",
            self.write("text.jpg", b"not a picture"): "no picture",
            self.write("mark.png", b"\x89PNG but not really"): ".",
            self.write("vast.png", png(30_000, 30_000, 8, 0, bytes(30_000))): "exceeds limit",
            self.write("drawing.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"): "no picture",
            self.write("signed.tif", saved(Image.fromarray(np.array([[-5, 5]], "int16")), "TIFF")): "values -5 to 5",
            self.root / "pipe.png": "no regular file",
            self.root / "folder.png": "no regular file",
            pathlib.Path("/dev/zero"): "no regular file",
            self.root / "link.png": "No such file",
            self.root / "loop.png": "symbolic links",
        }
        named |= {self.write(f"cut {kind}", contents[: len(contents) * 2 // 3]): "." for kind, contents in whole.items()}
        good = self.write("good.png", LOSSLESS["PNG"])
        examined = examine([*named, good], 2)
        self.assertEqual(examined.paths, [good])
        self.assertEqual(list(examined.unreadable), list(named))
        for path, text in named.items():
            with self.subTest(path.name):
                self.assertRegex(examined.unreadable[path], text)
                self.assertNotIn("\n", examined.unreadable[path])
                with self.assertRaisesRegex(ValueError, f"Expected a picture .*{path}.*{text}"):
                    Reading(SHAPE).read(path)
        with self.assertRaisesRegex(ValueError, "Expected a picture .*: no picture"):
            Reading(SHAPE).decode(b"not a picture")

    def test_the_first_ten_are_named(self):
        said = complaint({f"{number}.png": "an empty file" for number in range(12)})
        self.assertRegex(said, r"12 that can't: 0\.png \(an empty file\), .*, 9\.png \(an empty file\), …$")

    def test_what_is_in_a_file_counts_and_not_its_name(self):
        path = self.write("photograph.png", saved(BIG, "JPEG"))
        self.assertAllEqual(Reading((180, 240, 3)).read(path), reference(path.read_bytes(), (180, 240, 3)))
