import pathlib
import re
import subprocess
import sys
import tempfile

import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


class ReadmeTest(tf.test.TestCase):
    def test_the_snippets_run_as_they_stand(self):
        ten_lines, prediction, own_objective = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)[:3]
        ask = """
print("G-mean", model.evaluate(splits.test, verbose=0, return_dict=True)["g_mean"])
print("right", sum(int(name) == label for name, label in zip(names, labels.numpy())) / len(labels), "inside", inside.mean())
"""
        script = "\n".join(["import keras", "keras.utils.set_random_seed(0)", ten_lines, prediction, ask, own_objective])
        with tempfile.TemporaryDirectory() as folder:
            result = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=600)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertTrue((pathlib.Path(folder) / "digits.keras").exists())
        g_mean, right, inside = map(float, re.search(r"G-mean (\S+)\nright (\S+) inside (\S+)", result.stdout).groups())
        self.assertGreater(g_mean, 0.9)
        self.assertGreater(right, 0.9)
        self.assertGreater(inside, 0.5)

    def test_links_and_pictures_exist(self):
        for target in re.findall(r"\]\(([^)#]+)\)", README):
            if "://" not in target:
                self.assertTrue((ROOT / target).exists(), target)

    def test_functions_of_the_equation_table_exist(self):
        import arconvl_tf as arc

        for module, name in re.findall(r"`(losses|regions|layers)\.(\w+)`", README):
            self.assertTrue(hasattr(getattr(arc, module), name), f"{module}.{name}")
