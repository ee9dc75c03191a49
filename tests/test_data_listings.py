import pathlib
import tempfile

import numpy as np
import tensorflow as tf
from PIL import Image

from arconvl_tf.data import listings, load_data


class CSVTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        (self.root / "pictures").mkdir()
        for number in range(60):
            Image.new("L", (6, 6), 4 * number).save(self.root / "pictures" / f"nº {number}.png")

    def write(self, *rows, header="path,label", encoding="utf-8"):
        path = self.root / "labels.csv"
        path.write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
        return path

    def rows(self, label_of, numbers=range(60)):
        return [f"pictures/nº {number}.png,{label_of(number)}" for number in numbers]

    def test_pictures_keep_their_labels(self):
        splits = load_data(str(self.write(*self.rows(lambda number: "owl" if number < 20 else "cat"))))
        self.assertEqual(splits.class_names, ["cat", "owl"])
        self.assertAllEqual(sum(splits.split_counts.values()), [40, 20])
        for side in (splits.train, splits.validation, splits.test):
            for images, labels in side:
                self.assertAllEqual(images[:, 0, 0, 0] < 80, labels == 1)

    def test_numbers_with_gaps_are_in_their_order(self):
        listing = listings.list_csv(self.write(*self.rows(lambda number: (2, 10, -1)[number % 3])))
        self.assertEqual(listing.class_names, ["-1", "2", "10"])
        self.assertAllEqual(listing.sides["train"][1][:3], [1, 2, 0])
        twins = listings.list_csv(self.write(*self.rows(lambda number: ("01", "2", "1")[number % 3])))
        self.assertEqual(twins.class_names, ["01", "1", "2"])

    def test_a_file_of_no_bytes(self):
        (self.root / "labels.csv").write_bytes(b"")
        with self.assertRaisesRegex(ValueError, "an empty file"):
            listings.list_csv(self.root / "labels.csv")

    def test_a_table_from_a_spreadsheet(self):
        """A mark before the first byte, further columns, spaces, quoted commas, sides."""
        sides = ["train", "", "test"]
        rows = [f'"pictures/nº {number}.png", "a, b ",x,{sides[number % 3]}' for number in range(9)]
        rows += [f"pictures/nº {number}.png,c,y,train" for number in range(9, 12)]
        path = self.write(*rows, header="path,label,note,split", encoding="utf-8-sig")
        listing = listings.list_csv(path)
        self.assertEqual(listing.class_names, ["a, b", "c"])
        self.assertEqual([len(listing.sides[side][0]) for side in ("train", "test")], [9, 3])

    def test_tables_that_make_no_sense(self):
        first, second = self.rows(lambda number: number, (0, 1))
        sided = {"header": "path,label,split"}
        for rows, options, text in [
            ([first, second], {"header": "file,class"}, "path and label in .*labels.csv. Received: file, class"),
            ([], {"header": ""}, "an empty file"),
            ([], {}, "at least two classes .* no rows"),
            ([first], {}, "at least two classes .* 0"),
            ([first, "pictures/nº 1.png,"], {}, "empty cell in line 3"),
            ([first, "pictures/nº 1.png"], {}, "empty cell in line 3"),
            ([first, second, first], {}, "nº 0.png again in line 4"),
            ([first, second, first.replace("pictures/", "pictures/../pictures/")], {}, "nº 0.png again in line 4"),
            ([first, "absent.png,1"], {}, "absent.png, which does not exist .line 3"),
            ([first + ",train", second + ",holdout"], sided, "train, validation, test. Received: 'holdout'"),
            ([first + ",train", second + ",test"], sided, "none of class 1"),
            ([first, second], {"encoding": "utf-16"}, "UTF-8"),
        ]:
            with self.assertRaisesRegex(ValueError, text):
                listings.list_csv(self.write(*rows, **options))


class EqualityTest(tf.test.TestCase):
    def test_a_listing_gives_what_the_folder_gives(self):
        with tempfile.TemporaryDirectory() as folder:
            root, rows = pathlib.Path(folder), ["path,label"]
            for number in range(40):
                path = root / ("b", "a")[number % 4 == 0] / f"{number:02}.png"
                path.parent.mkdir(exist_ok=True)
                Image.fromarray(np.full((5, 5), number, "uint8")).save(path)
            for path in sorted(root.rglob("*.png")):
                rows.append(f"{path.relative_to(root)},{path.parent.name}")
            (root / "labels.csv").write_text("\n".join(rows))
            from_folder, from_csv = load_data(folder, imbalance=2), load_data(str(root / "labels.csv"), imbalance=2)
            for side in ("train", "validation", "test"):
                for ours, theirs in zip(getattr(from_folder, side), getattr(from_csv, side), strict=True):
                    self.assertAllEqual(ours[0], theirs[0])
                    self.assertAllEqual(ours[1], theirs[1])
