import pathlib
import re
import subprocess
import sys
import tempfile

import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


class ReadmeTest(tf.test.TestCase):
    def test_the_ten_lines_run_as_they_stand(self):
        blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-c", blocks[0]], cwd=folder, check=True, capture_output=True, timeout=600)
            self.assertTrue((pathlib.Path(folder) / "digits.keras").exists())

    def test_links_and_pictures_exist(self):
        for target in re.findall(r"\]\(([^)#]+)\)", README):
            if "://" not in target:
                self.assertTrue((ROOT / target).exists(), target)

    def test_functions_of_the_equation_table_exist(self):
        import arconvl_tf as arc

        for module, name in re.findall(r"`(losses|regions|layers)\.(\w+)`", README):
            self.assertTrue(hasattr(getattr(arc, module), name), f"{module}.{name}")
