"""The published tables, to stand beside a run's own numbers."""

import pathlib

import pandas as pd

from arconvl_tf.experiments.methods import METHODS

_FOLDER = pathlib.Path(__file__).parent / "published"
_TABLES = {
    "g_mean": ("table1_gmean.csv", "table2_gmean_ablation.csv"),
    "class_wise_accuracy": ("supp_table3_classwise_accuracy.csv", "supp_table4_classwise_accuracy_ablation.csv"),
}
_DATASETS = {"mnist": "Mnist", "fashion_mnist": "Fashion", "svhn": "SVHN", "cifar10": "Cifar10"}


def published(dataset, imbalance, method, measure="g_mean", loss_options=None):
    """The paper's mean and standard deviation over ten seeds, as fractions.

    Args:
        dataset: this library's name, for instance `"fashion_mnist"`.
        imbalance: `q`.
        method: this library's name, for instance `"arconvl"`.
        measure: `"g_mean"` (Tables 1 and 2) or `"class_wise_accuracy"` (supplement, Tables 3 and 4).
        loss_options: what was set otherwise than by the loss's default: a single fixed `beta` or `margin` is an ablation
            of Table 2, and what the supplement sets on this data set is the paper's method.

    Returns:
        (mean, std), or `None` where the paper has no such experiment.

    Example:
        >>> published("mnist", 100, "arconvl")
        (0.973, 0.006)
        >>> published("mnist", 100, "arconvl", loss_options={"beta": 0.5})
        (0.976, 0.003)
    """
    if method in METHODS and loss_options == METHODS[method].dataset_options(dataset):
        loss_options = None
    number, column, name = _row(method, loss_options or {})
    table = pd.read_csv(_FOLDER / _TABLES[measure][number])
    rows = table[(table.dataset == _paper_name(dataset, imbalance)) & (table[column] == name)]
    if rows.empty:
        return None
    return round(rows["mean"].item() / 100, 4), round(rows["std"].item() / 100, 4)


def published_class_counts():
    """The supplement's Table 1: `{dataset: (training counts, test counts)}`, lists of integers by class."""
    table = pd.read_csv(_FOLDER / "supp_table1_class_counts.csv")
    return {
        row.dataset: tuple([int(count) for count in cell.split()] for cell in (row.training_counts, row.test_counts))
        for row in table.itertuples()
    }


def _row(method, loss_options):
    """Which of the two tables, which column and which name an experiment has in the paper."""
    if method == "arconvl" and len(loss_options) == 1:
        ((option, value),) = loss_options.items()
        symbol = {"beta": "beta", "margin": "sigma_sq"}.get(option)
        return 1, "variant", f"{symbol}={value:g}" if symbol and value != "adaptive" else None
    known = METHODS.get(method)
    name = known.published if known and not loss_options else None
    return (1, "variant", name) if known and known.ablation else (0, "method", name)


def _paper_name(dataset, imbalance):
    return f"{_DATASETS.get(dataset, dataset)}-{imbalance:g}"
