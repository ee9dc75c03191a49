"""The arrows between modules run downwards only, and heavy packages stay where they belong.

Imports count in every form: at the top of a module or inside a function, relative, through `importlib`, as text that names a
module (a method's record says where its objective stands) or that holds a whole script for a new process.
"""

import ast
import configparser
import dataclasses
import inspect
import pathlib
import re
import subprocess
import sys
import tempfile

import h5py
import keras
import pytest
import tensorflow as tf

import arconvl_tf
from arconvl_tf import backbones, layers

PACKAGE = pathlib.Path(arconvl_tf.__file__).parent
ROOT = PACKAGE.parent
# From the top of the house to its foundations; a module imports from lower floors, or its own.
FLOORS = [
    ("__main__",),
    ("cli",),
    ("benchmarks",),
    ("experiments",),
    ("callbacks",),
    ("models",),
    ("layers", "backbones", "optimizers", "checks"),
    ("metrics",),
    ("baselines",),
    ("losses",),
    ("objectives",),
    ("regions", "data"),
    ("hardware",),
]
ALLOWED = {
    "tensorflow_datasets": ("data/catalog.py",),
    "sklearn": ("data/",),
    "matplotlib": ("experiments/figures/",),
    "pandas": ("experiments/figures/", "experiments/tables.py"),
    "PIL": ("data/",),
    "scipy": ("data/", "experiments/pooling.py"),
    "click": ("cli/",),
    "rich": ("cli/", "experiments/progress.py"),
}
DISTRIBUTIONS = {"sklearn": "scikit-learn", "PIL": "pillow", "tensorflow_datasets": "tensorflow-datasets", "absl": "absl-py"}


def imports(source, module, is_package=False):
    """Full names of everything that the source of a module imports.

    Args:
        source: text.
        module: full name of the module, against which relative imports are resolved.
        is_package: whether it is the `__init__` of a package.
    """
    tree = ast.parse(source)
    seen = {id(node.body[0].value) for node in ast.walk(tree) if _has_docstring(node)}
    seen |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = module.split(".") + ["__init__"] * is_package
            base = ".".join(here[: -node.level]) if node.level else ""
            origin = ".".join(filter(None, [base, node.module]))
            yield from (f"{origin}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.JoinedStr):
            yield from _named_in("".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in seen:
            yield from _named_in(node.value)


def _has_docstring(node):
    return isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False) is not None


def _named_in(text):
    """Modules of ours in a string: the whole of it, as `importlib` takes them, or the imports of a script."""
    if re.fullmatch(r"arconvl_tf(\.\w+)+(:\w+)?", text):
        yield text.replace(":", ".")
    elif "import" in text and "arconvl_tf" in text:
        for origin, names in re.findall(r"from (arconvl_tf[.\w]*) import ([\w, ]+)", text):
            yield from (f"{origin}.{name.strip()}" for name in names.split(","))
        yield from re.findall(r"^\s*import (arconvl_tf[.\w]*)", text, flags=re.MULTILINE)


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imports_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    return imports(path.read_text(encoding="utf-8"), ".".join(parts[: len(parts) - is_package]), is_package)


def floor(name):
    """The floor of a module, or of the module that a public name stands in."""
    name = arconvl_tf._EXPORTS.get(name, name)
    return next(number for number, names in enumerate(FLOORS) if name in names)


def violations(source, module):
    """What a module imports from a floor above its own."""
    here = floor(module.split(".")[1])
    ours = [name.split(".") for name in imports(source, module) if name.startswith("arconvl_tf.")]
    return [".".join(parts) for parts in ours if parts[1] != "__version__" and floor(parts[1]) < here]


class ArchitectureTest(tf.test.TestCase):
    def test_imports_run_downwards(self):
        for path in modules():
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            self.assertEqual(violations(path.read_text(encoding="utf-8"), module), [], path.name)

    def test_no_form_of_an_import_is_overlooked(self):
        for climbing in (
            "import arconvl_tf.models",
            "from arconvl_tf import models",
            "def f():\n    from arconvl_tf.models import ARConvL",
            "from . import models",
            "from .models import ARConvL",
            "import importlib\nimportlib.import_module('arconvl_tf.models')",
            "__import__('arconvl_tf.models')",
            "RECORD = 'arconvl_tf.models:ARConvL'",
            "run('import json; from arconvl_tf.models import ARConvL')",
            "run(f'from arconvl_tf.experiments import training\\nprint({1})')",
        ):
            self.assertLen(violations(climbing, "arconvl_tf.losses"), 1, climbing)
        for allowed in ("from arconvl_tf import regions", '"""Used by arconvl_tf.models."""', "from .regions import x"):
            self.assertEmpty(violations(allowed, "arconvl_tf.losses"), allowed)
        self.assertLen(violations("from .. import models", "arconvl_tf.data.files"), 1)

    def test_heavy_packages_stay_in_their_modules(self):
        for path in modules():
            for name in imports_of(path):
                allowed = ALLOWED.get(name.split(".")[0], "")
                self.assertTrue(str(path.relative_to(PACKAGE)).startswith(allowed), f"{path.name} imports {name}")

    def test_every_import_is_a_declared_dependency(self):
        setup = configparser.ConfigParser()
        setup.read(pathlib.Path(__file__).parents[1] / "setup.cfg")
        declared = {re.split(r"[><=~\[]", line)[0] for line in setup["options"]["install_requires"].split()}
        imported = {name.split(".")[0] for path in modules() for name in imports_of(path)}
        for name in imported - set(sys.stdlib_module_names) - {"arconvl_tf"}:
            self.assertIn(DISTRIBUTIONS.get(name, name), declared, name)

    @pytest.mark.slow
    def test_importing_the_package_leaves_them_out(self):
        """Keras itself may load some of them; the package imports where all of them are missing."""
        heavy = ["tensorflow_datasets", "sklearn", "matplotlib", "pandas"]
        script = f"import sys; sys.modules.update(dict.fromkeys({heavy})); import arconvl_tf; arconvl_tf.ARConvL"
        subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    def test_modules_stay_short(self):
        for path in modules():
            self.assertLess(len(path.read_text(encoding="utf-8").splitlines()), 400, path.name)

    def test_nothing_is_decided_by_the_command_line_but_in_the_command(self):
        for path in PACKAGE.rglob("*.py"):
            if "cli" not in path.parts:
                self.assertNotIn("sys.argv", path.read_text(encoding="utf-8"), path.name)

    def test_help_and_version_do_not_import_tensorflow(self):
        for arguments in (["train", "--help"], ["--version"], ["benchmark", "--help"]):
            profile = [sys.executable, "-X", "importtime", "-m", "arconvl_tf", *arguments]
            result = subprocess.run(profile, capture_output=True, text=True, check=True)
            imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
            self.assertEmpty(imported & {"tensorflow", "keras", "matplotlib", "pandas", "sklearn"}, arguments)
        self.assertIn("--section", result.stdout)


class PublicFaceTest(tf.test.TestCase):
    def test_the_stub_names_what_the_package_exports(self):
        for package in (arconvl_tf, arconvl_tf.data):
            stub = pathlib.Path(package.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
            imported = [node for node in ast.parse(stub).body if isinstance(node, ast.ImportFrom)]
            named = {alias.asname for node in imported for alias in node.names}
            self.assertEqual(named, set(package.__all__))
            for name in package.__all__:
                self.assertIsNotNone(getattr(package, name), name)

    def test_constructors_and_compile_name_what_comes_after_the_first(self):
        classes = [value for name in arconvl_tf.__all__ if inspect.isclass(value := getattr(arconvl_tf, name))]
        keyword_only = [arconvl_tf.ARConvL.compile, arconvl_tf.PrototypeClassifier.compile]
        own = [each for each in classes if "__init__" in vars(each) and not dataclasses.is_dataclass(each)]
        keyword_only += [each.__init__ for each in own]
        for function in keyword_only:
            arguments = [each for each in inspect.signature(function).parameters.values() if each.kind != each.VAR_KEYWORD]
            positional = [each.name for each in arguments if each.kind != each.KEYWORD_ONLY and each.name != "self"]
            if len(arguments) > 3:  # self and more than two
                self.assertLen(positional, 1, function.__qualname__)

    def test_typed(self):
        self.assertTrue((PACKAGE / "py.typed").exists())


class SavedByVersion01Test(tf.test.TestCase):
    def test_a_layer_of_the_old_name_loads(self):
        """`BatchNormalization` of version 0.1 by its registered name, and the weights of its file."""
        model = backbones.resnet((8, 8, 3), depth=8)
        config = model.to_json().replace("arconvl_tf>FusedBatchNormalization", "arconvl_tf>BatchNormalization")
        old = keras.models.model_from_json(config)
        self.assertIsInstance(old.layers[2], layers.FusedBatchNormalization)
        with tempfile.TemporaryDirectory() as folder:
            model.save_weights(f"{folder}/new.weights.h5")
            old.load_weights(f"{folder}/new.weights.h5")
            with h5py.File(f"{folder}/new.weights.h5") as file:
                self.assertIn("batch_normalization", file["layers"])
                self.assertNotIn("fused_batch_normalization", file["layers"])
        images = tf.random.uniform((2, 8, 8, 3))
        self.assertAllEqual(model(images), old(images))

