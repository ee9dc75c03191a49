import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import tensorflow as tf

from arconvl_tf.experiments import tables

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


class ResultsTest(tf.test.TestCase):
    def test_every_row_is_what_the_recorded_runs_and_the_paper_say(self):
        row = r"^\| [^|]+ \| [^|]+ \| 0–(\d) \| (\S+) ± (\S+) \| (?:(\S+) ± (\S+) )?\| `arconvl train (.*?) ?--seed S` \|$"
        rows = re.findall(row, README, flags=re.MULTILINE)
        self.assertLen(rows, README.count("--seed S` |"))
        for last_seed, mean, std, *published, command in rows:
            options = dict(re.findall(r"--(\S+) (\S+)", command))
            dataset, imbalance = options.get("dataset", "digits"), options.get("imbalance", "10")
            fixed = {name: float(options[name]) for name in ("beta", "margin") if name in options}
            method = options.get("method", "arconvl")
            name = "-".join([method, *(f"{option}-{value:g}" for option, value in fixed.items())])
            folder = ROOT / "notebooks/results" / f"{dataset}-{imbalance}"
            runs = [folder / f"{name}-{seed}" / "metrics.json" for seed in range(int(last_seed) + 1)]
            measured = [100 * json.loads(path.read_text())["test"]["g_mean"] for path in runs]
            self.assertEqual((mean, std), (f"{np.mean(measured):.1f}", f"{np.std(measured, ddof=1):.1f}"), command)
            paper = tables.published(dataset, float(imbalance), method, loss_options=fixed)
            self.assertEqual(published, [f"{100 * value:.1f}" for value in paper] if paper else ["", ""], command)

    def test_answers_with_rare_classes(self):
        script = next(snippet for snippet in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "glob" in snippet)
        result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = re.findall(r"^(\S+)-\d \[ *(\S+) +(\S+)\]$", result.stdout, flags=re.MULTILINE)
        header, answers, found = [
            re.search(rf"^\| {start} \|(.*) \|$", README, flags=re.MULTILINE).group(1).split(" | ")
            for start in ("for 100 test pictures of rare classes", "answers with a rare class", "rare pictures found")
        ]
        for method, *table in zip(header, answers, found):
            name = method.strip().lower().replace(" ", "-")
            measured = np.mean([list(map(float, values)) for other, *values in lines if other == name], axis=0)
            self.assertEqual([int(value) for value in table], np.round(measured).tolist(), method)
