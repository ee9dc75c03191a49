import io
import os

from PIL import Image

from arconvl_tf.data.finding import find_images, images_below
from tests.in_folder import FolderTestCase


def saved(kind):
    file = io.BytesIO()
    Image.new("RGB", (6, 4), "red").save(file, kind)
    return file.getvalue()


class FindingTest(FolderTestCase):
    def names(self, paths):
        return [path.relative_to(self.root).as_posix() for path in paths]

    def test_suffixes_in_any_case_and_what_lacks_one(self):
        """Files count by a known suffix, others by their first bytes."""
        jpeg = saved("JPEG")
        pictures = {
            "a.JPG": b"", "b.jfif": b"", "c.JPE": b"", "d.tif": b"", "e.TIFF": b"", "f.apng": b"", "g.WebP": b"", "h.bmp": b"",
            "without": jpeg, "strange.jpeg_large": jpeg, "v1.2": saved("PNG"), "gif": saved("GIF"),
            "bmp": saved("BMP"), "tiff": saved("TIFF"), "webp.bak": saved("WEBP"),
        }  # fmt: skip
        others = {
            "readme": b"BM is a format", "notes.txt": b"GIF", "table.csv": b"path,label\n", "none": b"", "RIFF": b"RIFF....WAVE",
            "raw.nef": saved("TIFF"), "x.xml": b"<xml/>", "doc.pdf": b"%PDF-1.4",
        }  # fmt: skip
        for name, contents in (pictures | others).items():
            self.write(name, contents)
        os.mkfifo(self.root / "pipe")
        self.assertEqual(self.names(images_below(self.root)), sorted(pictures))

    def test_hidden_and_rubbish_files_and_folders_are_passed_over(self):
        for name in (
            ".cache/x.png", "a/.ipynb_checkpoints/x.png", "a/@eaDir/x.jpg/thumb.jpg", "__MACOSX/a/x.png", "a/b/__macosx/x.png",
            "$RECYCLE.BIN/x.png", "a/._x.jpg", ".x.png", "a/Thumbs.db", "a/desktop.ini", "a/__pycache__/x.png",
        ):  # fmt: skip
            self.write(name, saved("PNG"))
        for name in ("_a/x.png", "a/__x.png", "a/thumbs/x.png"):
            self.write(name, saved("PNG"))
        self.assertEqual(self.names(images_below(self.root)), ["_a/x.png", "a/__x.png", "a/thumbs/x.png"])

    def test_the_folder_itself_may_be_hidden(self):
        self.write(".cache/a/x.png", b"")
        self.assertEqual(self.names(images_below(self.root / ".cache")), [".cache/a/x.png"])

    def test_files_folders_and_patterns(self):
        for name in ("a/1.png", "a/2.jpg", "b/3.png", "b/notes.txt", "b/.4.png", "c[1].png", "z.txt"):
            self.write(name, b"")
        for asked, expected in [
            (["z.txt", "a"], ["z.txt", "a/1.png", "a/2.jpg"]),
            (["*/*.png"], ["a/1.png", "b/3.png"]),
            (["**/*.png"], ["a/1.png", "b/3.png", "c[1].png"]),
            (["b/*"], ["b/3.png"]),
            (["?"], ["a/1.png", "a/2.jpg", "b/3.png"]),
            (["**"], ["a/1.png", "a/2.jpg", "b/3.png", "c[1].png"]),
            (["c[1].png"], ["c[1].png"]),
            (["[ab]/[12].*"], ["a/1.png", "a/2.jpg"]),
        ]:
            with self.subTest(asked):
                self.assertCountEqual(self.names(find_images(self.root / path for path in asked)), expected)

    def test_what_is_not_there_is_named(self):
        self.write("a/notes.txt", b"")
        (self.root / "link.png").symlink_to("absent.png")
        for asked, text in [
            ("a", r"\.jpeg, .* in .*/a. Received: a folder without any"),
            ("*/*.png", r"pictures that match .*/\*/\*\.png. Received: none"),
            ("b", "/b, which does not exist"),
            ("link.png", "link.png, which does not exist"),
        ]:
            with self.assertRaisesRegex(ValueError, text):
                find_images([self.root / asked])
