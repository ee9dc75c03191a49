"""arconvl_tf: region-based learning for imbalanced image classes, on Keras."""

import importlib
import pathlib
import sys

__version__ = "0.1.0"

_EXPORTS = {
    "ARConvL": "models",
    "PrototypeClassifier": "models",
    "ClassRegions": "layers",
    "ARConvLLoss": "losses",
    "Objective": "losses",
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
    "Splits": "data",
    "from_datasets": "data",
    "load_data": "data",
    "make_splits": "data",
}
_KERAS_MODULES = ("backbones", "baselines", "callbacks", "layers", "losses", "metrics", "models", "regions")
_MODULES = (*_KERAS_MODULES, "data")

__all__ = [*_EXPORTS, *_MODULES]


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])


# Saved models load without custom objects once their classes are registered, so a program that imports the package
# gets them all at once. Only the command `arconvl`, which must answer --help before TensorFlow could be imported,
# leaves it to each subcommand.
if pathlib.Path(sys.argv[0] if sys.argv else "").name not in ("arconvl", "arconvl.exe"):
    for _module in _KERAS_MODULES:
        importlib.import_module(f"{__name__}.{_module}")
