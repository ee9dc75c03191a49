import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import tensorflow as tf

from arconvl_tf.experiments import figures


class FiguresTest(tf.test.TestCase):
    def drawn(self, figure):
        """Pixels (height, width) of the figure's file; drawing text is what fails on odd names."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "figure.png"
            figure.savefig(path, dpi=130)
            return tf.io.decode_png(path.read_bytes()).shape[:2]

    def test_names_are_drawn_whatever_they_hold(self):
        names = ["$_$", "caf\udce9", "häufig", "100 $"]
        for figure in (
            figures.draw_recalls([0.5, 1.0, None, 0.0], [10, 20, 30, 40], names),
            figures.draw_confusion(np.eye(4, dtype=int), names),
            figures.draw_picture_sheet([[np.zeros((4, 4, 1), "uint8")]] * 4, [1, 2, 3, 4], names),
        ):
            self.drawn(figure)
        self.assertEqual(figures._shown(names), [r"\$_\$", "caf?", "häufig", r"100 \$"])

    def test_a_thousand_classes_fit_in_memory(self):
        names, counts = [f"class {number}" for number in range(1000)], np.arange(1, 1001)
        for figure in (
            figures.draw_recalls(np.linspace(0, 1, 1000).tolist(), counts, names),
            figures.draw_confusion(np.eye(1000, dtype=int), names),
        ):
            self.assertLess(np.prod(self.drawn(figure)), 10e6)

    @pytest.mark.slow
    def test_importing_it_leaves_the_display_alone(self):
        script = """
import matplotlib
matplotlib.use("svg")
from arconvl_tf.experiments import training
assert matplotlib.get_backend() == "svg", matplotlib.get_backend()
"""
        subprocess.run([sys.executable, "-c", script], check=True)
