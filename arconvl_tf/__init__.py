"""arconvl_tf: region-based learning for imbalanced image classes, on Keras."""

import importlib
import importlib.abc
import importlib.util
import os
import sys

__version__ = "0.3.0"

_EXPORTS = {
    "ARConvL": "models",
    "PrototypeClassifier": "models",
    "ClassRegions": "layers",
    "ARConvLLoss": "losses",
    "Objective": "objectives",
    "Term": "objectives",
    "CPLLoss": "baselines",
    "GCPLLoss": "baselines",
    "FocalLoss": "baselines",
    "ClassBalancedLoss": "baselines",
    "ClassBalancedFocalLoss": "baselines",
    "AffinityLoss": "baselines",
    "LogitAdjustmentLoss": "baselines",
    "LDAMLoss": "baselines",
    "GMean": "metrics",
    "ClassWiseAccuracy": "metrics",
    "BestEpoch": "callbacks",
    "DeferredReweighting": "callbacks",
    "ToldEpoch": "callbacks",
    "Imbalance": "data",
    "Splits": "data",
    "from_datasets": "data",
    "load_data": "data",
    "make_splits": "data",
}
_MODULES = ("backbones", "baselines", "callbacks", "data", "layers", "losses", "metrics", "models", "objectives", "regions")
# They answer before TensorFlow could be imported, and import it where they need it.
_WITHOUT_KERAS = ("__main__", "benchmarks", "cli", "data", "experiments")

__all__ = [*_EXPORTS, *_MODULES]


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"arconvl_tf.{name}")
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"arconvl_tf.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])


def _require_tensorflow():
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise ImportError(
            f'Expected Keras on TensorFlow. Received: KERAS_BACKEND="{backend}". Set KERAS_BACKEND=tensorflow before Keras '
            "is imported"
        )


def _register():
    """Makes our classes known to Keras, so that it loads saved models without custom objects."""
    importlib.import_module("arconvl_tf.models")
    importlib.import_module("arconvl_tf.baselines")


class _RegisterAtFirstUse(importlib.abc.MetaPathFinder):
    """Registers our classes right after the first import of Keras, of TensorFlow (which imports Keras before it is
    complete itself), or of a module of ours that needs them.

    Importing them at once would take seconds that `arconvl --help` does not have.
    """

    def find_spec(self, name, path=None, target=None):
        ours = name.startswith("arconvl_tf.") and name.split(".")[1] not in _WITHOUT_KERAS
        if name not in ("keras", "tensorflow") and not ours:
            return None
        if ours:
            _require_tensorflow()  # before Keras fails over a backend that may not even be installed
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                execute(module)
                _register()

            spec.loader.exec_module = execute_and_register
        return spec


if "keras" in sys.modules:
    _register()
else:
    sys.meta_path.insert(0, _RegisterAtFirstUse())
