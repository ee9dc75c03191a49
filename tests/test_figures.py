import json
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.text import Annotation
from PIL import Image

from arconvl_tf import CPLLoss, PrototypeClassifier
from arconvl_tf.data.images import Reading
from arconvl_tf.experiments import figures
from arconvl_tf.experiments.evaluation import measures
from arconvl_tf.experiments.figures import appearance, results, sheets, space
from arconvl_tf.experiments.latent_space import latent_space
from arconvl_tf.experiments.pooling import recall_intervals
from arconvl_tf.experiments.predictions import COLUMNS, read_rows, write_rows
from arconvl_tf.experiments.run_directory import RunDirectory

ODD_NAMES = ["$_$", "caf\udce9", "häufig", "100 $", "蝶 \n\t"]


def drawn(figure):
    """Pixels (height, width) of the figure's file; drawing text is what fails on odd names."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "figure.png"
        figure.savefig(path, dpi=130)
        return tf.io.decode_png(path.read_bytes()).shape[:2]


def a_space(num_classes, rng, per_class=4, feature_dim=64):
    return {
        "points": rng.normal(size=(num_classes * per_class, 2)),
        "labels": np.repeat(np.arange(num_classes), per_class),
        "centers": rng.normal(size=(num_classes, 2)),
        "radii": np.ones(num_classes),
        "feature_dim": np.array(feature_dim),
    }


def measured(confusion):
    labels, predicted = np.repeat(np.argwhere(np.ones_like(confusion)), np.ravel(confusion), axis=0).T
    return measures(labels, predicted, len(confusion))


@pytest.mark.filterwarnings("ignore:Glyph")
class FiguresTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_names_are_drawn_whatever_they_hold(self):
        counts = [10, 20, 30, 40, 50]
        for figure in (
            results.draw_recalls(measured(np.eye(5, dtype=int)), np.zeros((5, 2)), counts, ODD_NAMES),
            results.draw_confusion(np.eye(5, dtype=int), ODD_NAMES),
            sheets.draw_picture_sheet([[np.zeros((4, 4, 1), "uint8")]] * 5, counts, ODD_NAMES),
            space.draw_latent_space(a_space(5, np.random.default_rng(0)), counts, ODD_NAMES),
            space.draw_latent_space(a_space(15, np.random.default_rng(0)), counts * 3, ODD_NAMES * 3),
        ):
            drawn(figure)
        shown = [appearance.shown(name) for name in ODD_NAMES]
        self.assertEqual(shown, [r"\$_\$", "caf?", "häufig", r"100 \$", "蝶"])

    @pytest.mark.slow
    def test_a_thousand_classes_fit_in_memory(self):
        names, counts = [f"class {number}" for number in range(1000)], np.arange(1, 1001)
        confusion, rng = np.eye(1000, dtype=int), np.random.default_rng(0)
        for figure in (
            results.draw_recalls(measured(confusion), recall_intervals(confusion), counts, names),
            results.draw_confusion(confusion, names),
        ):
            self.assertLess(np.prod(drawn(figure)), 10e6)
        self.assertLess(np.prod(drawn(space.draw_latent_space(a_space(101, rng), counts[:101], names[:101]))), 10e6)

    def test_recalls_stand_within_their_intervals(self):
        confusion = np.array([[90, 10, 0], [1, 3, 0], [0, 0, 0]])
        intervals = recall_intervals(confusion)
        axes = results.draw_recalls(measured(confusion), intervals, [400, 16, 9], ["frequent", "rare", "untested"]).axes[0]
        points = {float(y): float(x) for line in axes.lines for x, y in line.get_xydata() if np.isfinite(x)}
        self.assertEqual(points, {0.0: 0.9, 1.0: 0.75})
        lines = {
            segment[0][1]: segment[:, 0] for each in axes.collections for segment in each.get_segments() if len(segment)
        }
        for row in (0, 1):
            self.assertAllClose(lines[row], intervals[row])
        self.assertEqual([text.get_text() for text in axes.texts], ["0.90 of 100", "0.75 of 4", "not tested"])
        self.assertEqual([label.get_text() for label in axes.get_yticklabels()][1], "rare (16)")

    @pytest.mark.slow
    def test_importing_it_leaves_the_display_alone(self):
        script = """
import matplotlib
matplotlib.use("svg")
from arconvl_tf.experiments import training
assert matplotlib.get_backend() == "svg", matplotlib.get_backend()
"""
        subprocess.run([sys.executable, "-c", script], check=True)


class LatentSpaceTest(tf.test.TestCase):
    def model(self, feature_dim, num_classes, head="regions"):
        """One whose features are its inputs."""
        inputs = keras.Input((feature_dim,))
        backbone = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
        model = PrototypeClassifier(backbone, num_classes=num_classes, head=head)
        model.compile("sgd", objective=CPLLoss())
        return model

    def test_centres_on_a_line_keep_their_distance_and_show_the_spread_across(self):
        rng = np.random.default_rng(0)
        model, labels = self.model(5, 2), np.arange(60) % 2
        centers = model.class_regions.centers.numpy()
        along = (centers[1] - centers[0]) / np.linalg.norm(centers[1] - centers[0])
        across = np.linalg.qr(np.stack([along, np.ones(5)], axis=1))[0][:, 1]
        features = centers[labels] + rng.normal(size=(60, 1)) * 3 * across + rng.normal(size=(60, 5)) * 0.01
        found = latent_space(model, [(features.astype("float32"), labels)])
        self.assertAllClose(np.linalg.norm(np.diff(found["centers"], axis=0)), np.linalg.norm(centers[1] - centers[0]))
        self.assertAllClose(found["kept"], 1)
        middle = centers.mean(axis=0)
        order = np.argsort(labels, kind="stable")
        shown = np.abs((features - middle) @ np.stack([along, across], axis=1))[order]
        self.assertAllClose(np.abs(found["points"]), shown, atol=0.1)

    def test_the_plane_keeps_the_two_largest_parts_of_the_spread(self):
        model = self.model(3, 4)
        model.class_regions.centers.assign([[3.0, 0, 0], [-3, 0, 0], [0, 2, 0.5], [0, -2, -0.5]])
        found = latent_space(model, [(np.eye(3, dtype="float32"), np.array([0, 1, 3]))])
        spread = 2 * 9 + 2 * (4 + 0.25)
        self.assertAllClose(found["kept"], 1.0)
        self.assertAllClose((found["centers"] ** 2).sum(), spread)
        model.class_regions.centers.assign([[3.0, 0, 0], [-3, 0, 0], [0, 2, 0.5], [0, -2, 0.5]])
        found = latent_space(model, [(np.eye(3, dtype="float32"), np.array([0, 1, 3]))])
        self.assertAllClose(found["kept"], (18 + 8) / (18 + 8 + 4 * 0.25**2))
        self.assertEqual((found["labels"].tolist(), int(found["feature_dim"])), ([0, 1, 3], 3))

    def test_a_linear_head_shows_the_means_of_its_classes(self):
        features, labels = np.array([[0.0, 1], [2, 3], [5, 5]], "float32"), np.array([0, 0, 2])
        found = latent_space(self.model(2, 3, head="linear"), [(features, labels)])
        self.assertAllClose(found["centers"], [[1, 2], [np.nan, np.nan], [5, 5]])
        self.assertTrue(found["centers_are_means"])
        self.assertAllEqual(found["radii"], np.zeros(3))
        figure = space.draw_latent_space(found, [2, 1, 1], ["owl", "cat", "hen"])
        self.assertEmpty(figure.axes[0].patches)
        self.assertAllClose(figure.axes[0].lines[0].get_xydata(), [[1, 2], [5, 5]])
        self.assertIn("their mean in a class", figure.axes[0].get_title())
        many = self.model(7, 3, head="linear")
        found = latent_space(many, [(np.eye(7, dtype="float32")[:2], np.array([1, 1]))])
        self.assertAllEqual(np.isfinite(found["centers"]).all(axis=1), [False, True, False])
        self.assertAllClose(np.linalg.norm(np.diff(found["points"], axis=0)), np.sqrt(2))

    def test_features_that_are_not_finite_stay_what_they_are(self):
        found = latent_space(self.model(4, 2), [(np.full((2, 4), np.nan, "float32"), np.array([0, 1]))])
        self.assertAllEqual(np.isnan(found["points"]), np.ones((2, 2), bool))

    def test_fifty_names_cover_neither_each_other_nor_a_centre(self):
        names = [f"Species number {number}" for number in range(50)]
        figure = space.draw_latent_space(a_space(50, np.random.default_rng(0)), np.arange(1, 51), names)
        figure.suptitle("title")
        figure.draw_without_rendering()
        axes = figure.axes[0]
        labels = [text for text in axes.texts if isinstance(text, Annotation)]
        self.assertEqual([text.get_text() for text in labels], names)
        boxes = np.array([text.get_bbox_patch().get_window_extent().get_points() for text in labels])
        middles, halves = boxes.mean(axis=1), np.ptp(boxes, axis=1) / 2
        clear = (np.abs(middles[:, None] - middles) >= halves[:, None] + halves).any(axis=2)
        self.assertAllEqual(clear | np.eye(50, dtype=bool), np.ones((50, 50), bool))
        crosses = axes.transData.transform(np.array([text.xy for text in labels]))
        self.assertTrue((np.abs(middles[:, None] - crosses) >= halves[:, None]).any(axis=2).all())
        inside = (boxes >= axes.bbox.get_points()[0]) & (boxes <= axes.bbox.get_points()[1])
        self.assertTrue(inside.all())

    def test_names_that_do_not_fit_lie_on_their_anchors(self):
        places = space.placed_apart(np.full((3, 2), 5.0), np.full((3, 2), 9.0), np.array([[0, 0], [10, 10]]))
        self.assertAllClose(places, np.full((3, 2), 5.0))

    def test_circles_are_drawn_where_they_can_be_told_apart(self):
        for num_classes, feature_dim, circles in ((5, 64, 5), (20, 64, 0), (20, 2, 20)):
            found = a_space(num_classes, np.random.default_rng(0), feature_dim=feature_dim)
            figure = space.draw_latent_space(found, [9] * num_classes, [str(number) for number in range(num_classes)])
            self.assertLen(figure.axes[0].patches, circles)


class DrawRunTest(tf.test.TestCase):
    """Run directories written by hand, as training writes them."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.directory = RunDirectory(self.folder / "run")
        self.directory.path.mkdir()
        names, confusion = ["owl $", "häufig", "none"], np.array([[1, 0, 0], [2, 3, 0], [0, 0, 0]])
        self.metrics = {"method": "arconvl", "dataset": "/somewhere/birds", "imbalance": 1.0, "seed": 0}
        self.metrics |= {"class_counts": [3, 12, 1], "class_names": names, "best_epoch": 1, "test": measured(confusion)}
        rows, pictures = [], iter(range(6))
        for truth, predicted in np.repeat(np.argwhere(np.ones((3, 3))), confusion.ravel(), axis=0):
            number = next(pictures)
            path = self.folder / f"picture {number}.png"
            Image.new("L", (6, 4), 40 * number).save(path)
            row = dict.fromkeys(COLUMNS, "") | {"sample": str(path), "truth": names[truth], "predicted": names[predicted]}
            rows.append(row | {"probability": 0.5 + number / 20, "truth_probability": 0.5 - number / 20})
        write_rows(self.directory.file("test_predictions.csv"), rows)
        self.directory.save_latent_space(a_space(3, np.random.default_rng(0)))
        regions = "beta,margin,radius_min,radius_max,benchmark_radius,upper_bound_radius"
        self.directory.file("history.csv").write_text(f"epoch,loss,{regions}\n0,1,1,1,1,2,1,2\n1,1,1,1,1,2,1,2\n")

    def draw(self, **changes):
        """Names of what is written, and the reasons for the rest."""
        self.directory.finish(self.metrics | changes)
        written = figures.draw_run(self.directory)
        for path in written.paths:
            self.assertGreater(path.stat().st_size, 0)
        return {path.name for path in written.paths}, written.reasons

    @pytest.mark.slow
    def test_own_pictures_have_sheets(self):
        reading = Reading((4, 6, 1)).to_dict()
        everything = {f"{name}.png" for name in figures.FIGURES}
        names, reasons = self.draw(reading=reading)
        self.assertEqual(names, everything - {"suspects.png"})
        self.assertEqual(reasons, {"suspects": "there are no answers for training samples"})
        self.assertEqual(self.draw(reading=reading, folds=[{}, {}]), (everything | {"suspects.csv"}, {}))
        # The wrong answers, that of the picture with the larger number first.
        suspected = read_rows(self.directory.file("suspects.csv"))
        self.assertEqual([pathlib.Path(row["sample"]).name for row in suspected], ["picture 2.png", "picture 1.png"])

    @pytest.mark.slow
    def test_what_is_missing_has_a_reason(self):
        reading = Reading((4, 6, 1)).to_dict()
        write_rows(self.directory.file("training_predictions.csv"), [])
        names, reasons = self.draw(reading=None)
        self.assertEqual(reasons["confusions"], "the samples are no picture files")
        self.assertEqual(reasons["suspects"], "every training sample has the answer that its label says")
        self.assertIn("suspects.csv", names)
        for number in range(6):
            (self.folder / f"picture {number}.png").unlink()
        self.assertEqual(self.draw(reading=reading)[1]["confusions"], "the pictures are gone")
        self.directory.save_latent_space(a_space(3, np.random.default_rng(0)) | {"points": np.full((12, 2), np.nan)})
        self.directory.file("history.csv").write_text("epoch,loss\n0,1\n")
        reasons = self.draw()[1]
        self.assertEqual(reasons["latent_space"], "the features are not finite")
        self.assertEqual(reasons["regions"], "the method has no regions")

    def test_a_run_of_an_older_version_has_what_it_always_had(self):
        for name in ("test_predictions.csv", "latent_space.npz"):
            self.directory.file(name).unlink()
        names, reasons = self.draw()
        self.assertEqual(names, {"recalls.png", "confusion.png", "regions.png"})
        self.assertEqual(set(reasons), {"latent_space", "confusions", "suspects"})
        record = json.loads(self.directory.file("metrics.json").read_text())
        self.assertIsNone(record["test"]["recall"][2])

    def test_a_sheet_shows_the_pictures_of_its_rows_as_the_model_sees_them(self):
        reading = Reading((8, 8, 3), fit="pad", background="red")
        rows = read_rows(self.directory.file("test_predictions.csv"))
        (self.folder / "picture 3.png").write_bytes(b"no picture any more")
        figure = sheets.draw_answers(rows[::-1], reading, "all")
        pictures = [axes.images[0].get_array() for axes in figure.axes if axes.images]
        left = [row for row in rows[::-1] if "picture 3" not in row["sample"]]
        self.assertAllEqual(pictures, [reading.read(row["sample"]) for row in left])
        titles = [axes.get_title(loc="left") for axes in figure.axes if axes.images]
        self.assertEqual(titles[-1], "owl \\$\n→ owl \\$\n0.50 picture 0.png")
        drawn(figure)
        self.assertLen(sheets.draw_answers(rows * 10, reading, "many").axes, sheets.MAX_PICTURES)
        self.assertIsNone(sheets.draw_answers(rows[3:4], reading, "gone"))
