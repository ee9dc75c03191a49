"""What a person would pick instead, on the same features and folds: `python against_scikit_learn.py features.npz`.

Writes `against_scikit_learn.json`: pooled test G-mean, a seed a value.
"""

import json
import pathlib
import sys

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from arconvl_tf.data.folds import folds
from arconvl_tf.data.vectors import read_vectors
from arconvl_tf.experiments.evaluation import measures

SEEDS = range(5)
MODELS = {
    "logistic regression, balanced, C = 0.01": lambda seed: LogisticRegression(
        C=0.01, class_weight="balanced", max_iter=2000
    ),
    "linear SVM, balanced, C = 0.0001": lambda seed: LinearSVC(C=1e-4, class_weight="balanced", random_state=seed),
}

vectors = read_vectors(sys.argv[1])
found = {}
for name, model in MODELS.items():
    found[name] = []
    for seed in SEEDS:
        predicted = np.zeros_like(vectors.labels)
        for train, test in folds(vectors.labels, vectors.groups, 5, seed):
            fitted = make_pipeline(StandardScaler(), model(seed)).fit(vectors.x[train], vectors.labels[train])
            predicted[test] = fitted.predict(vectors.x[test])
        found[name].append(round(measures(vectors.labels, predicted, len(vectors.class_names))["g_mean"], 4))
    print(name, found[name], np.mean(found[name]), flush=True)
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
