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

    def test_headers_in_any_spelling(self):
        """Case, spaces, order, further and nameless columns, other names; a mark before the first byte, even twice."""
        for header in (
            "path,label,split,group", "Path, LABEL ,Split,GROUP", "image,class,SPLIT,Group", "FileName,Class, split,group",
            "file,label,split,group", '"path","label","split","group"', "\ufeff\ufeffpath,label,split,group",
        ):  # fmt: skip
            rows = [f"pictures/nº {number}.png,{number % 2},{('Training', 'test', '')[number % 3]},t{number}" for number in range(6)]
            with self.subTest(header):
                listing = listings.list_csv(self.write(*rows, header=header, encoding="utf-8-sig"))
                self.assertAllEqual(listing.sides["train"][1], [0, 0, 1, 1])
                self.assertEqual(listing.names["test"], ["pictures/nº 1.png", "pictures/nº 4.png"])
                self.assertEqual(listing.groups, {"train": ["t0", "t2", "t3", "t5"], "test": ["t1", "t4"]})
        indexed = self.write(*(f"{i},nº {i}.png,pictures/nº {i}.png,{i}" for i in range(3)), header=",image,path,label")
        self.assertEqual(listings.list_csv(indexed).names["train"][0], "pictures/nº 0.png")

    def test_any_separator(self):
        rows = [row + ",," for row in self.rows(lambda number: f"{number % 2}")] + ["", ",,,"]
        for sign in ",;\t":
            table = self.write(*[row.replace(",", sign) for row in rows], header=f"path{sign}label{sign}note{sign}")
            self.assertEqual(listings.list_csv(table).class_names, ["0", "1"])
        quoted = self.write(*self.rows(lambda number: f'"{number % 2}; {number % 2}, x"'))
        self.assertEqual(listings.list_csv(quoted).class_names, ["0; 0, x", "1; 1, x"])

    def test_line_ends_of_any_system(self):
        for end in (b"\n", b"\r\n", b"\r"):
            path = self.write(*self.rows(lambda number: number % 2), "pictures/nº 0.png,1")
            path.write_bytes(path.read_bytes().replace(b"\n", end))
            with self.assertRaisesRegex(ValueError, "again in line 62"):
                listings.list_csv(path)

    def test_paths_from_windows(self):
        rows = [row.replace("/", "\\") for row in self.rows(lambda number: number % 2)]
        listing = listings.list_csv(self.write(*rows), group_by="^pictures/nº ([0-9])")
        self.assertEqual(listing.sides["train"][0][7], self.root / "pictures" / "nº 7.png")
        self.assertEqual(listing.groups["train"][23], "2")
        Image.new("L", (6, 6)).save(self.root / "back\\slash.png")  # a file's own name goes first
        listing = listings.list_csv(self.write(*rows, "back\\slash.png,1"))
        self.assertEqual(listing.sides["train"][0][-1], self.root / "back\\slash.png")

    def test_whole_numbers_are_one_class_however_they_are_written(self):
        for labels, expected in [
            (("1", "1.0", "2"), ["1", "2"]),
            (("10.0", "2.0", "1."), ["1", "2", "10"]),
            (("1.5", "1.0", "1"), ["1", "1.5"]),
            (("1.0", "1", "v2"), ["1", "1.0", "v2"]),
            (("-1.0", "0", "-0.5"), ["-1", "-0.5", "0"]),
        ]:
            table = self.write(*self.rows(lambda number: labels[number % 3]))
            self.assertEqual(listings.list_csv(table).class_names, expected)

    def test_groups_of_a_column(self):
        rows = self.rows(lambda number: f"{number % 2},{(7, '7.0', 8)[number % 3]}")
        listing = listings.list_csv(self.write(*rows, header="path,label,group"))
        self.assertEqual(listing.groups, {"train": ["7", "7", "8"] * 20})
        self.assertEqual(listings.list_csv(self.write(*rows, header="path,label,note")).groups, {"train": None})
        empty = self.rows(lambda number: f"{number % 2},")
        self.assertEqual(listings.list_csv(self.write(*empty, header="path,label,group")).groups, {"train": None})

    def test_an_expression_takes_the_place_of_the_column(self):
        rows = self.rows(lambda number: f"{number % 2},own")
        listing = listings.list_csv(self.write(*rows, header="path,label,group"), group_by=r"(\d)\.png$")
        self.assertEqual(listing.groups["train"][:12], [str(number % 10) for number in range(12)])

    def test_folders_are_counted_from_the_one_of_the_label(self):
        for name in ("a/b/tile 1/x.png", "deep/b/a/tile 2/y/x.png"):
            (self.root / name).parent.mkdir(parents=True)
            Image.new("L", (6, 6)).save(self.root / name)
        table = self.write("a/b/tile 1/x.png,b", "deep/b/a/tile 2/y/x.png,a")
        self.assertEqual(listings.list_csv(table, group_by=1).groups["train"], ["tile 1", "tile 2"])
        with self.assertRaisesRegex(ValueError, "group_by=2.*Received: a/b/tile 1/x.png, one of 1 without"):
            listings.list_csv(table, group_by="2")

    def test_tables_that_make_no_sense(self):
        first, second = self.rows(lambda number: number, (0, 1))
        sided, grouped = {"header": "path,label,split"}, {"header": "path,label,group"}
        for rows, options, text in [
            ([first, second], {"header": "photo,kind"}, "path and label in .*labels.csv. Received: photo, kind"),
            ([first, second], {"header": "image,file,label"}, "one column path in .*labels.csv. Received: image, file"),
            ([first, second], {"header": "path,label,Label"}, "one column label .* Received: label, Label"),
            ([first, second], {"header": 'path,"label'}, "every quote closed.*begins in line 1"),
            ([first, second + ",owl"], {}, "2 cells a row.* Received: 3 in line 3"),
            ([first, '"' + second, "pictures/nº 2.png,1"], {}, "every quote closed.*begins in line 3"),
            ([first, second.replace(",", ',"'), "pictures/nº 2.png,1"], {}, "every quote closed.*begins in line 3"),
            ([first, second.replace(",", ',"'), 'pictures/nº 2.png,1"'], {}, "several lines in one from line 3"),
            ([first, "pictures/nº 1.png,nan"], {}, "empty cell in line 3"),
            ([first, "pictures/nº 1.png,NaN", second], {}, "empty cell in line 3"),
            ([first, "nan,1"], {}, "empty cell in line 3"),
            ([first + ",a", second + ","], grouped, "every row, or in none. Received: none in line 3"),
            ([first + ",nan", second + ",1.0"], grouped, "every row, or in none. Received: none in line 2"),
            ([first + ",train", second + ",nan", "pictures/nº 2.png,1,valid ation"], sided, "Received: 'valid ation' in line 4"),
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


class FolderTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)

    def fill(self, *names):
        for path in (self.root / name for name in names):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def test_sides_in_their_usual_spellings(self):
        for train, validation, test in [
            ("train", "validation", "test"),
            ("Training", "val", "Testing"),
            ("train_set", "val_set", "test_set"),
            ("TrainSet", "valid", "TestSet"),
            ("training-data", "dev", "test data"),
            ("TRAIN", None, "TEST"),
            ("training", "Valid", None),
            ("train", None, None),
        ]:
            given = {"train": train, "validation": validation, "test": test}
            given = {side: folder for side, folder in given.items() if folder}
            with self.subTest(train=train, validation=validation, test=test), tempfile.TemporaryDirectory() as folder:
                self.root = pathlib.Path(folder)
                for side, spelling in given.items():
                    self.fill(*(f"{spelling}/{name}/{side}.png" for name in ("b", "a")))
                listing = listings.list_folder(folder)
                self.assertEqual(listing.class_names, ["a", "b"])
                expected = {side: [f"{own}/{name}/{side}.png" for name in "ab"] for side, own in given.items()}
                self.assertEqual(listing.names, expected)
                self.assertEqual({side: paths for side, (paths, _) in listing.sides.items()}, {
                    side: [self.root / name for name in names] for side, names in expected.items()
                })  # fmt: skip
                self.assertEqual(listing.groups, dict.fromkeys(given))

    def test_sides_that_make_no_sense(self):
        for names, text in [
            (("valid/1.png", "invalid/1.png"), "train, validation, test in .* Received: invalid beside valid. Move .* rename valid"),
            (("train/a/1.png", "train/b/1.png", "c/1.png"), "Received: c beside train"),
            (("train/a/1.png", "Training/b/1.png"), "one train folder in .* Received: Training, train"),
            (("train/a/1.png", "train/b/1.png", "val/a/1.png", "dev/a/1.png"), "one validation folder in .*: dev, val"),
            (("test/a/1.png", "test/b/1.png", "dev/a/1.png"), "named train in .* Received: dev, test"),
            (("train/1.png", "test/1.png"), "two classes in .*train. Received: none"),
            (("train/a/1.png", "train/b/1.png", "test/c/1.png"), "classes a, b in .*test. Received: c"),
            (("a/1.png",), r"two classes in .* Received: \['a'\]"),
            ((), "two classes in .* Received: none"),
            (("a/1.png", "b/notes.txt"), "of every class. Received: none in .*/b. Add some, or remove the folder"),
            (("a/1.png", "b/.1.png", "b/@eaDir/1.png"), "of every class. Received: none in .*/b"),
        ]:
            with self.subTest(names), tempfile.TemporaryDirectory() as folder:
                self.root = pathlib.Path(folder)
                self.fill(*names)
                with self.assertRaisesRegex(ValueError, text):
                    listings.list_folder(folder)

    def test_a_class_may_be_named_like_a_side_inside_one(self):
        self.fill("train/valid/1.png", "train/train/1.png", "test/train/1.png")
        listing = listings.list_folder(self.root)
        self.assertEqual(listing.class_names, ["train", "valid"])
        self.assertAllEqual(listing.sides["test"][1], [0])

    def test_rubbish_is_no_class_and_what_begins_with_a_line_is_one(self):
        self.fill("_background/_1.png", "__b/1.png", "a/1.png", "a/x/.cache/2.png")
        self.fill(*(f"{name}/1.png" for name in (".cache", ".ipynb_checkpoints", "@eaDir", "__MACOSX", "System Volume Information")))
        self.fill("Thumbs.db", "loose.png")
        listing = listings.list_folder(self.root)
        self.assertEqual(listing.class_names, ["__b", "_background", "a"])
        self.assertEqual(listing.names["train"], ["__b/1.png", "_background/_1.png", "a/1.png"])

    def test_groups_by_a_folder_or_an_expression(self):
        self.fill("train/a/t1/x/1.png", "train/a/t2/x/2.png", "train/b/t1/y/3_7.png", "test/a/t3/x/4.png")
        for group_by, train, test in [
            (1, ["t1", "t2", "t1"], ["t3"]),
            ("2", ["x", "x", "y"], ["x"]),
            (r"t\d", ["t1", "t2", "t1"], ["t3"]),
            (r"/(\w+)\.png", ["1", "2", "3_7"], ["4"]),
            (r"^(?:train|test)/(.)", ["a", "a", "b"], ["a"]),
        ]:
            self.assertEqual(listings.list_folder(self.root, group_by).groups, {"train": train, "test": test})

    def test_bad_groupings_are_named(self):
        self.fill("a/t1/1.png", "a/2.png", "b/t2/3.png")
        for group_by, text in [
            (1, r"every picture \(group_by=1\). Received: a/2.png, one of 1 without"),
            (3, "Received: a/2.png, one of 3 without"),
            (r"t(\d)", "Received: a/2.png, one of 1 without"),
            ("(t1)|2", "Received: a/2.png, one of 2 without"),
            ("", "Received: a/2.png, one of 3 without"),
            (0, "count folders from 1"),
            ("t(", r"regular expression or a whole number. Received: 't\(' \(missing \)"),
        ]:
            with self.subTest(group_by), self.assertRaisesRegex(ValueError, text):
                listings.list_folder(self.root, group_by)


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
