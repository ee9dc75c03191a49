import pathlib
import tempfile

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from arconvl_tf.experiments.predictions import COLUMNS, read_rows, write_rows
from arconvl_tf.experiments.run_directory import RunDirectory
from arconvl_tf.experiments.suspects import answers_for_training_samples, confident_mistakes, suspects


def answer(sample, truth, predicted, probability, truth_probability):
    about = {"truth": truth, "predicted": predicted, "probability": probability, "truth_probability": truth_probability}
    return {name: str({"sample": sample, **about}.get(name, "")) for name in COLUMNS}


class SuspectsTest(tf.test.TestCase):
    def test_each_list_is_in_its_own_order_and_holds_wrong_answers_only(self):
        rows = [
            answer("right", "owl", "owl", 0.99, 0.99),
            answer("torn", "owl", "cat", 0.41, 0.2),
            answer("sure", "owl", "cat", 0.9, 0.1),
            answer("strange", "cat", "hen", 0.5, 0.05),
            answer("stranger", "cat", "owl", 0.6, 0.05),
        ]
        self.assertEqual([row["sample"] for row in confident_mistakes(rows)], ["sure", "stranger", "strange", "torn"])
        self.assertEqual([row["sample"] for row in suspects(rows)], ["stranger", "strange", "sure", "torn"])
        self.assertEqual(suspects(rows[:1]) + confident_mistakes([]), [])

    def test_changed_labels_of_digits_come_first(self):
        images, labels = load_digits(return_X_y=True)
        rng = np.random.default_rng(0)
        changed = rng.random(len(labels)) < 0.05
        given = np.where(changed, (labels + rng.integers(1, 10, len(labels))) % 10, labels)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=100))
        parts = StratifiedKFold(4, shuffle=True, random_state=0)
        shares = cross_val_predict(model, images, given, cv=parts, method="predict_proba")
        rows = [
            answer(sample, own, share.argmax(), share.max(), share[own])
            for sample, (own, share) in enumerate(zip(given, shares))
        ]
        ranked = [int(row["sample"]) for row in suspects(rows)]
        score = np.zeros(len(labels))
        score[ranked] = np.arange(len(ranked), 0, -1)
        self.assertGreater(average_precision_score(changed, score), 0.9)
        self.assertGreater(changed[ranked[: changed.sum() // 2]].mean(), 0.95)

    def test_answers_are_out_of_fold_where_there_are_folds(self):
        with tempfile.TemporaryDirectory() as folder:
            directory = RunDirectory(folder)
            write_rows(directory.file("test_predictions.csv"), tested := [answer("tested", "owl", "cat", 0.6, 0.4)])
            self.assertIsNone(answers_for_training_samples(directory, {}))
            write_rows(directory.file("training_predictions.csv"), learnt := [answer("learnt", "owl", "cat", 0.6, 0.4)])
            self.assertEqual(answers_for_training_samples(directory, {"folds": [{}, {}]}), tested)
            for without in ({}, {"folds": None}):
                self.assertEqual(answers_for_training_samples(directory, without), learnt)
            self.assertEqual(read_rows(pathlib.Path(folder) / "test_predictions.csv"), tested)
