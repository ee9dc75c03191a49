import pathlib

import nbformat
import pytest
import tensorflow as tf
from nbclient import NotebookClient

NOTEBOOKS = sorted((pathlib.Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


class NotebookTest(tf.test.TestCase):
    def test_committed_notebooks_hold_their_outputs(self):
        self.assertNotEmpty(NOTEBOOKS)
        for path in NOTEBOOKS:
            cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
            self.assertEqual([cell.execution_count for cell in cells], list(range(1, len(cells) + 1)), path.name)
            self.assertNotIn("error", [output.output_type for cell in cells for output in cell.outputs])

    @pytest.mark.slow
    def test_the_quickstart_runs_and_tells_the_truth(self):
        """Executed afresh, the rare digits gain as the text says."""
        notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
        NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
        printed = "".join(
            output.text for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == "stream"
        )
        words = printed[printed.index("G-mean") :].split()
        plain, region_based = float(words[2]), float(words[4])
        self.assertGreater(region_based, plain)
        self.assertGreater(region_based, 0.9)
