"""Which answers to look at: confident mistakes, and training samples that are most likely mislabelled."""

from arconvl_tf.experiments.predictions import read_rows
from arconvl_tf.experiments.run_directory import TEST_PREDICTIONS, TRAINING_PREDICTIONS, RunDirectory


def confident_mistakes(rows: list[dict]) -> list[dict]:
    """Wrong answers, the surest first.

    Args:
        rows: see `predictions.COLUMNS`.

    Example:
        >>> row = {"truth": "owl", "predicted": "cat", "probability": "0.6", "truth_probability": "0.3"}
        >>> surer = {**row, "probability": "0.9", "truth_probability": "0.1"}
        >>> confident_mistakes([row, {**surer, "predicted": "owl"}, surer]) == [surer, row]
        True
    """
    return sorted(_wrong(rows), key=lambda row: (-float(row["probability"]), float(row["truth_probability"])))


def suspects(rows: list[dict]) -> list[dict]:
    """Samples whose label is likely wrong, the likeliest first: what the model gives their label least probability.

    Ranking by this *self-confidence* among wrong answers finds labels that were changed by chance (5 % of scikit-learn's
    digits, logistic regression, mean of ten seeds) with an average precision of 0.94 by answers of models that had not seen
    the sample, and 0.95 where half of the classes are ten times rarer; the margin between the two probabilities has 0.92
    and 0.89, and answers surer than is usual for the class answered, put first (confident learning), 0.94 and 0.88. By
    answers of a model that was trained on the samples: 0.97, but 0.67 with rare classes, which it learns by heart.

    Args:
        rows: see `predictions.COLUMNS`.

    Reference:
        Northcutt, Jiang, Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021.

    Example:
        >>> row = {"truth": "owl", "predicted": "cat", "probability": "0.6", "truth_probability": "0.3"}
        >>> likelier = {**row, "probability": "0.5", "truth_probability": "0.1"}
        >>> suspects([row, {**row, "predicted": "owl"}, likelier]) == [likelier, row]
        True
    """
    return sorted(_wrong(rows), key=lambda row: (float(row["truth_probability"]), -float(row["probability"])))


def answers_for_training_samples(directory: RunDirectory, metrics: dict) -> list[dict] | None:
    """What a finished run answered for the samples it was trained on: out of fold where it had folds.

    Args:
        directory: of the run.
        metrics: the content of its `metrics.json`.

    Returns:
        Rows, or `None` where no such file was written.
    """
    path = directory.file(TEST_PREDICTIONS if metrics.get("folds") else TRAINING_PREDICTIONS)
    return read_rows(path) if path.exists() else None


def _wrong(rows):
    return [row for row in rows if row["predicted"] != row["truth"]]
