import collections
import functools
import json
import pathlib
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from arconvl_tf import baselines, losses
from arconvl_tf.callbacks import DeferredReweighting
from arconvl_tf.data import Imbalance
from arconvl_tf.experiments import recipes, training
from arconvl_tf.experiments.configuration import RunConfig
from arconvl_tf.experiments.evaluation import evaluate
from arconvl_tf.experiments.methods import METHODS, method_named
from arconvl_tf.experiments.preparation import load_pictures, split_pictures
from arconvl_tf.experiments.run_directory import RunDirectory
from arconvl_tf.models import PrototypeClassifier
from tests import oracles
from tests.test_losses import COUNTS, random_batch, terms_and_gradients

OPTIONS = {
    "cpl": [{}],
    "gcpl": [{}, {"pull_weight": 0.5}],
    "focal": [{}, {"focusing": 0.5}, {"normalized": False}],
    "cb": [{}, {"effective_number_beta": 0.9}, {"weighted_mean": True}],
    "cb-focal": [{}, {"effective_number_beta": 0.99, "focusing": 1.0}, {"weighted_mean": False}],
    "affinity": [{}, {"affinity_margin": 0.43, "bandwidth": 2.0}],
    "la": [{}, {"temperature": 0.5}],
    "ldam-drw": [{}, {"max_margin": 2.0, "scale": 3.0}],
}
CASES = [(name, options) for name, choices in OPTIONS.items() for options in choices]


def terms_of(objective, batch):
    return terms_and_gradients(objective, *batch)[0]


class OracleTest(tf.test.TestCase):
    def test_values_equal_loops(self):
        for name, options in CASES:
            for seed in range(3):
                features, labels, centers, radii = random_batch(seed)
                expected = oracles.baseline_terms(name, features, labels, centers, COUNTS, **options)
                measured = terms_of(method_named(name).make_objective(COUNTS, **options), (features, labels, centers, radii))
                self.assertAllClose(measured, expected, rtol=1e-9, atol=1e-12)

    def test_gradients_equal_differences_and_leave_the_radii_alone(self):
        for name, options in CASES:
            features, labels, centers, radii = random_batch(1)
            _, gradients = terms_and_gradients(
                method_named(name).make_objective(COUNTS, **options), features, labels, centers, radii
            )

            here = features, centers

            def total(features, centers):
                return sum(oracles.baseline_terms(name, features, labels, centers, COUNTS, here, **options).values())

            by_features = oracles.numerical_gradient(lambda values: total(values, centers), features)
            by_centers = oracles.numerical_gradient(lambda values: total(features, values), centers)
            self.assertAllClose(gradients[0], by_features, rtol=1e-5, atol=1e-7, msg=name)
            self.assertAllClose(gradients[1], by_centers, rtol=1e-5, atol=1e-7, msg=name)
            self.assertAllEqual(gradients[2], np.zeros(4))

    def test_degenerate_batches_stay_finite(self):
        batches = {
            "two equal centres": ([[1, 2], [0, 0]], [0, 2], [[1, 1], [1, 1], [2, 0]]),
            "on the centre": ([[1, 1]], [0], [[1, 1], [50, 1], [2, 90]]),
            "far from everything": ([[1e8, 0], [-1e12, 3]], [0, 1], [[1, 1], [0, 1], [2, 0]]),
            "huge": ([[1e25, 0], [0, 1e25]], [1, 1], [[1e25, 1], [0, 1], [2, 0]]),
            "empty": (np.zeros((0, 2)), [], [[1, 1], [0, 1], [2, 0]]),
        }
        for name, options in CASES:
            for text, (features, labels, centers) in batches.items():
                terms, gradients = terms_and_gradients(
                    method_named(name).make_objective([100, 10, 1], **options),
                    np.asarray(features, "float32"),
                    np.asarray(labels, "int64"),
                    np.asarray(centers, "float32"),
                    np.full(3, 0.1, "float32"),
                )
                if (name, text) == ("affinity", "huge"):
                    continue  # its diversity term is of the fourth order in lengths and overflows
                for value in [*terms.values(), *gradients]:
                    self.assertTrue(np.all(np.isfinite(value)), f"{name}, {text}")


class ReductionTest(tf.test.TestCase):
    def assertReduces(self, objective, other, term, other_term="cross_entropy"):
        for seed in range(3):
            batch = random_batch(seed)
            self.assertAllClose(terms_of(objective, batch)[term], terms_of(other, batch)[other_term], rtol=1e-10)

    def test_to_cpl(self):
        cpl, equal = baselines.CPLLoss(), [70.0] * 4
        self.assertReduces(baselines.FocalLoss(focusing=0), cpl, "focal")
        self.assertReduces(baselines.FocalLoss(focusing=0, normalized=False), cpl, "focal")
        self.assertReduces(baselines.ClassBalancedLoss(equal), cpl, "class_balanced")
        self.assertReduces(baselines.ClassBalancedLoss(COUNTS, effective_number_beta=0), cpl, "class_balanced")
        self.assertReduces(baselines.LogitAdjustmentLoss(COUNTS, temperature=0), cpl, "cross_entropy")
        self.assertReduces(baselines.LogitAdjustmentLoss(equal), cpl, "cross_entropy")
        self.assertReduces(baselines.GCPLLoss(pull_weight=0), cpl, "cross_entropy")
        self.assertEqual(float(terms_of(baselines.GCPLLoss(pull_weight=0), random_batch())["pull"]), 0.0)

    def test_class_balanced_focal_with_equal_counts_is_focal(self):
        focal = baselines.FocalLoss(normalized=False)
        self.assertReduces(baselines.ClassBalancedFocalLoss([9.0] * 4), focal, "class_balanced", "focal")

    def test_weighted_mean_is_the_loss_under_weights_of_mean_one(self):
        batch = random_batch()
        features, labels, centers, radii = batch
        weights = baselines.effective_number_weights(COUNTS, 0.9999)[labels]
        plain = terms_of(baselines.ClassBalancedLoss(COUNTS), batch)["class_balanced"]
        weighted = terms_of(baselines.ClassBalancedLoss(COUNTS, weighted_mean=True), batch)["class_balanced"]
        self.assertAllClose(weighted * weights.mean(), plain)
        # In a batch of one class the weights cancel.
        alone = features[labels == 1], labels[labels == 1], centers, radii
        balanced, focal = baselines.ClassBalancedFocalLoss(COUNTS, weighted_mean=True), baselines.FocalLoss()
        self.assertAllClose(terms_of(balanced, alone)["class_balanced"], terms_of(focal, alone)["focal"])

    def test_arconvl_without_its_additions_is_logit_adjustment_and_the_region_loss(self):
        bare = losses.ARConvLLoss(COUNTS, beta=0, margin=0, center_loss=False)
        self.assertReduces(bare, baselines.LogitAdjustmentLoss(COUNTS), "margin")
        batch = random_batch()
        terms = terms_of(bare, batch)
        self.assertAllClose(sum(terms.values()) - terms["margin"], terms_of(losses.ARConvLLoss(COUNTS), batch)["region"])

    def test_post_hoc_adjustment_undoes_what_training_added(self):
        logits = tf.constant(np.random.default_rng(0).normal(size=(5, 4)))
        raised = baselines.adjusted_logits(logits, COUNTS, -1.0)
        self.assertAllClose(baselines.adjusted_logits(raised, COUNTS, 1.0), logits)


class InvarianceTest(tf.test.TestCase):
    def test_permuting_the_classes(self):
        order = np.array([2, 0, 3, 1])
        features, labels, centers, radii = random_batch()
        moved = features, np.argsort(order)[labels], centers[order], radii[order]
        for name, options in CASES:
            before = terms_of(method_named(name).make_objective(COUNTS, **options), (features, labels, centers, radii))
            after = terms_of(method_named(name).make_objective(np.array(COUNTS)[order], **options), moved)
            self.assertAllClose(before, after, rtol=1e-10)

    def test_a_constant_added_to_every_distance_of_a_sample(self):
        _, labels, centers, radii = (tf.constant(values) for values in random_batch())
        distances = tf.constant(np.random.default_rng(0).uniform(0, 5, (7, 4)))
        shifted = distances + tf.constant(np.arange(7.0)[:, None])
        for name in ("cpl", "focal", "cb", "cb-focal", "la", "ldam-drw"):
            objective = method_named(name).make_objective(COUNTS)
            self.assertAllClose(
                objective(labels, distances, centers, radii), objective(labels, shifted, centers, radii), rtol=1e-9
            )

    def test_sample_weights_repeat_or_remove_samples(self):
        _, labels, centers, radii = random_batch(n=4)
        weights = [2.0, 1.0, 0.0, 1.0]
        distances = tf.constant(np.random.default_rng(0).uniform(0, 5, (4, 4)))
        repeat = [0, 0, 1, 3]
        objectives = [method_named(name).make_objective(COUNTS, **options) for name, options in CASES]
        for objective in [*objectives, baselines.LDAMLoss(COUNTS, reweighted=True)]:
            weighted = objective(tf.constant(labels), distances, tf.constant(centers), radii, sample_weight=weights)
            repeated = objective(tf.constant(labels[repeat]), tf.gather(distances, repeat), tf.constant(centers), radii)
            self.assertAllClose(weighted, repeated, rtol=1e-10, msg=type(objective).__name__)

    def test_equally_spread_centres_have_no_diversity_loss(self):
        self.assertAllClose(baselines.center_diversity(tf.eye(5)), 0.0)


class DeferredReweightingTest(tf.test.TestCase):
    def compiled(self, objective):
        keras.utils.set_random_seed(0)
        model = PrototypeClassifier(keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)]), num_classes=4)
        model.compile(keras.optimizers.SGD(0.1), objective=objective)
        return model

    def test_weights_set_in_at_their_epoch(self):
        features, labels, centers, _ = batch = random_batch()
        objective = baselines.LDAMLoss(COUNTS)
        model, callback = self.compiled(objective), DeferredReweighting(start=2)
        callback.set_model(model)
        for epoch, reweighting in enumerate([False, False, True]):
            callback.on_epoch_begin(epoch)
            expected = oracles.baseline_terms("ldam-drw", features, labels, centers, COUNTS, reweighting=reweighting)
            state = {name: tf.convert_to_tensor(variable) for name, variable in model.objective_state.items()}
            self.assertAllClose(terms_of(functools.partial(objective, **state), batch), expected, rtol=1e-6)

    def test_one_objective_serves_two_models(self):
        """Each switches for itself: one model's deferred weights are none of the other's."""
        objective = baselines.LDAMLoss(COUNTS)
        early, late = [self.compiled(objective) for _ in range(2)]
        features, labels = np.random.default_rng(0).normal(size=(8, 3)), np.arange(8) % 4
        early.fit(features, labels, epochs=2, verbose=0, callbacks=[DeferredReweighting(start=0)])
        self.assertEqual([float(model.objective_state["reweighting"]) for model in (early, late)], [1.0, 0.0])
        switched, plain = [self.compiled(baselines.LDAMLoss(COUNTS, reweighted=on)) for on in (True, False)]
        for model, twin in ((early, switched), (late, plain)):
            twin.set_weights(model.get_weights())
            losses = [each.evaluate(features, labels, verbose=0, return_dict=True)["loss"] for each in (model, twin)]
            self.assertAllClose(*losses)

    def test_without_margins_ldam_is_cpl_and_then_class_balanced(self):
        batch = random_batch()
        objective = baselines.LDAMLoss(COUNTS, max_margin=0)
        self.assertAllClose(terms_of(objective, batch), terms_of(baselines.CPLLoss(), batch))
        balanced = terms_of(baselines.ClassBalancedLoss(COUNTS, weighted_mean=True), batch)["class_balanced"]
        switched = functools.partial(objective, reweighting=1.0)
        self.assertAllClose(terms_of(switched, batch)["cross_entropy"], balanced)


class ConfigurationTest(tf.test.TestCase):
    def test_survives_serialisation(self):
        for name, options in CASES:
            objective = method_named(name).make_objective(COUNTS, **options)
            copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(objective))
            self.assertEqual((type(copy), copy.get_config()), (type(objective), objective.get_config()))
            for option, value in options.items():
                self.assertEqual(copy.get_config()[option], value)

    def test_defaults_are_the_formulas_of_their_papers(self):
        """FL = 1/n Σ (1 − p)^γ · −log p (Lin et al., Eq. 4), and under class-balanced weights (Cui et al., Eq. 8)."""
        features, labels, centers, _ = batch = random_batch()
        for objective, name, readings in (
            (baselines.FocalLoss(), "focal", {"normalized": False}),
            (baselines.ClassBalancedFocalLoss(COUNTS), "cb-focal", {"weighted_mean": False}),
        ):
            expected = oracles.baseline_terms(name, features, labels, centers, COUNTS, **readings)
            self.assertAllClose(terms_of(objective, batch), expected, rtol=1e-9)

    def test_refuses_bad_options(self):
        for build, text in [
            (lambda: baselines.GCPLLoss(-1), "pull_weight"),
            (lambda: baselines.GCPLLoss(float("inf")), "pull_weight"),
            (lambda: baselines.FocalLoss(normalized=0.5), "normalized"),
            (lambda: baselines.ClassBalancedLoss(COUNTS, weighted_mean=2), "weighted_mean"),
            (lambda: baselines.FocalLoss(-1), "focusing"),
            (lambda: baselines.FocalLoss("two"), "focusing"),
            (lambda: baselines.ClassBalancedLoss(COUNTS, effective_number_beta=1.0), "effective_number_beta"),
            (lambda: baselines.ClassBalancedLoss([1, 0]), "class_counts"),
            (lambda: baselines.AffinityLoss(bandwidth=0), "bandwidth"),
            (lambda: baselines.AffinityLoss(bandwidth=float("inf")), "bandwidth"),
            (lambda: baselines.AffinityLoss(affinity_margin=-1), "affinity_margin"),
            (lambda: baselines.ClassBalancedFocalLoss(COUNTS, focusing=-1), "focusing"),
            (lambda: baselines.LogitAdjustmentLoss(COUNTS, -1), "temperature"),
            (lambda: baselines.LDAMLoss(COUNTS, max_margin=-1), "max_margin"),
            (lambda: baselines.LDAMLoss(COUNTS, scale=0), "scale"),
            (lambda: baselines.LDAMLoss([1, 0]), "class_counts"),
            (lambda: baselines.effective_number_weights([10, -3], 0.9), "class_counts"),
            (lambda: baselines.adjusted_logits([[1.0, 2.0]], [90, 0]), "class_counts"),
            (lambda: baselines.adjusted_logits([[1.0, 2.0]], [90]), "class_counts"),
            (lambda: baselines.adjusted_logits([[1.0, 2.0]], [90, 5, 5]), "of 2 classes"),
            (lambda: baselines.LogitAdjustmentLoss(collections.Counter([0, 0, 1])), "class_counts"),
        ]:
            with self.assertRaisesRegex(ValueError, text):
                build()


class TrainingTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_every_method_learns_rare_digits_saves_and_predicts(self):
        # Affinity may lose a class whole at the protocol's rate of 0.1, and in many dimensions. With these numbers every
        # method reached 0.58 or more with every seed that was tried.
        recipe = recipes.RECIPES["digits"].changed(epochs=16, learning_rate=0.03)
        chance = 0.1
        for method in METHODS:
            config = RunConfig("digits", recipe, method=method, imbalance=Imbalance(20), feature_dim=4)
            with tempfile.TemporaryDirectory() as folder:
                directory = RunDirectory(pathlib.Path(folder) / method)
                metrics = training.run(config, directory)
                history = np.genfromtxt(directory.file("history.csv"), delimiter=",", names=True)
                self.assertLess(history["loss"][-1], history["loss"][0], method)
                # The last epoch: what is learnt, however the best epoch is chosen on one validation picture a rare class.
                self.assertGreater(metrics["last"]["g_mean"], chance, method)
                splits = split_pictures(config, load_pictures(config))
                again = evaluate(directory.model(), splits.test)
                self.assertEqual(json.loads(json.dumps(again)), metrics["test"])
