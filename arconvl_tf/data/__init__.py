"""Imbalanced image data as `tf.data` pipelines; knows no model."""

import importlib

_EXPORTS = {
    "Imbalance": "imbalance",
    "Splits": "pipeline",
    "from_datasets": "datasets",
    "load_data": "catalog",
    "make_splits": "arrays",
}

__all__ = [*_EXPORTS]


def __getattr__(name):
    # Late, so that an `Imbalance` can be described before TensorFlow is imported.
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"arconvl_tf.data.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
