"""Imbalanced image data as `tf.data` pipelines; knows no model."""

from arconvl_tf.data.catalog import load_data
from arconvl_tf.data.datasets import from_datasets
from arconvl_tf.data.pipeline import Splits, make_splits

__all__ = ["Splits", "from_datasets", "load_data", "make_splits"]
