"""The arrows between modules run downwards only, and heavy packages stay where they belong."""

import ast
import pathlib
import subprocess
import sys

import tensorflow as tf

import arconvl_tf

PACKAGE = pathlib.Path(arconvl_tf.__file__).parent
# From the top of the house to its foundations; a module imports from lower floors, or its own.
FLOORS = [
    ("cli", "benchmark"),
    ("benchmark_models",),
    ("experiments",),
    ("callbacks",),
    ("models",),
    ("layers", "backbones", "metrics"),
    ("baselines",),
    ("losses",),
    ("regions", "data", "hardware"),
]
ALLOWED = {
    "tensorflow_datasets": ("data/catalog.py",),
    "sklearn": ("data/",),
    "matplotlib": ("experiments/figures.py",),
    "pandas": ("experiments/figures.py", "experiments/tables.py"),
}


def imports(path):
    """Full names of everything a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def floor(name):
    return next(number for number, names in enumerate(FLOORS) if name in names)


class ArchitectureTest(tf.test.TestCase):
    def test_imports_run_downwards(self):
        for path in modules():
            here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
            for name in imports(path):
                parts = name.split(".")
                if parts[0] == "arconvl_tf" and len(parts) > 1 and not parts[1].startswith("__"):
                    self.assertLessEqual(floor(here), floor(parts[1]), f"{path.name} imports {name}")

    def test_heavy_packages_stay_in_their_modules(self):
        for path in modules():
            for name in imports(path):
                allowed = ALLOWED.get(name.split(".")[0])
                if allowed:
                    self.assertStartsWith(str(path.relative_to(PACKAGE)), allowed)

    def assertStartsWith(self, text, prefixes, msg=None):
        self.assertTrue(text.startswith(prefixes), f"{text} should not import what only {prefixes} may")

    def test_importing_the_package_leaves_them_out(self):
        """Keras itself may load some of them; the package imports where all of them are missing."""
        script = f"import sys; sys.modules.update(dict.fromkeys({list(ALLOWED)})); import arconvl_tf; arconvl_tf.ARConvL"
        subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    def test_modules_stay_short(self):
        for path in modules():
            self.assertLess(len(path.read_text(encoding="utf-8").splitlines()), 400, path.name)

    def test_help_does_not_import_tensorflow(self):
        command = pathlib.Path(sys.executable).with_name("arconvl")
        if not command.exists():
            self.skipTest("needs the installed command arconvl")
        profile = [sys.executable, "-X", "importtime", str(command), "train", "--help"]
        result = subprocess.run(profile, capture_output=True, text=True, check=True)
        self.assertNotIn("tensorflow", result.stderr)
        self.assertIn("--imbalance", result.stdout)
