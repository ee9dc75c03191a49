from arconvl_tf.data.arrays import make_splits as make_splits
from arconvl_tf.data.catalog import load_data as load_data
from arconvl_tf.data.datasets import from_datasets as from_datasets
from arconvl_tf.data.imbalance import Imbalance as Imbalance
from arconvl_tf.data.pipeline import Splits as Splits
