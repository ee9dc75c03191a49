import pathlib
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf import losses, regions
from arconvl_tf.baselines import CPLLoss
from tests import oracles

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "arconvl_released.npz")
COUNTS = [50.0, 500.0, 25.0, 400.0]


def random_batch(seed=0, n=7, k=4, d=3, dtype="float64"):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(n, d)).astype(dtype),
        rng.integers(0, k, n),
        rng.normal(size=(k, d)).astype(dtype),
        rng.uniform(0.2, 1.5, k).astype(dtype),
    )


def terms_and_gradients(objective, features, labels, centers, radii, by_term=False):
    """The terms, and the gradients of their sum (or of each term) by features, centres and radii."""
    variables = [tf.constant(values) for values in (features, centers, radii)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(variables)
        distances = regions.squared_distances(variables[0], variables[1])
        terms = objective(tf.constant(labels), distances, variables[1], variables[2])
        total = tf.add_n(list(terms.values()))
    if by_term:
        return terms, {name: tape.gradient(term, variables) for name, term in terms.items()}
    return terms, tape.gradient(total, variables, unconnected_gradients="zero")


def relative_error(measured, expected):
    expected = np.asarray(expected)
    return np.max(np.abs(np.asarray(measured) - expected)) / np.max(np.abs(expected))


class ReleasedProgramTest(tf.test.TestCase):
    """The authors' released program, four recorded cases."""

    def test_terms_and_gradients(self):
        for case in range(4):
            batch = [GOLDEN[f"{case}/{name}"] for name in ("features", "labels", "centers", "radii")]
            objective = losses.ARConvLLoss(GOLDEN[f"{case}/class_counts"])
            terms, gradients = terms_and_gradients(objective, *batch)
            geometry = objective.geometry(tf.constant(batch[2]), tf.constant(batch[3]))
            measured = {
                "region": terms["region"],
                "distribution": terms["distribution"],
                "margin_ce": terms["margin"],
                "center_ce": terms["center"],
                "loss": sum(terms.values()),
                "beta": geometry.beta,
                "sigma_sq": geometry.margin,
            }
            for name, value in measured.items():
                self.assertLess(relative_error(value, GOLDEN[f"{case}/{name}"]), 1e-5, f"case {case}: {name}")
            for name, value in zip(("dfeatures", "dcenters", "dradii"), gradients):
                self.assertLess(relative_error(value, GOLDEN[f"{case}/{name}"]), 1e-4, f"case {case}: {name}")


class OracleTest(tf.test.TestCase):
    def test_terms_equal_loops(self):
        for seed in range(5):
            features, labels, centers, radii = random_batch(seed)
            expected = oracles.arconvl_terms(features, labels, centers, radii, COUNTS)
            terms, _ = terms_and_gradients(losses.ARConvLLoss(COUNTS), features, labels, centers, radii)
            self.assertAllClose(terms, expected, rtol=1e-10)

    def test_gradients_equal_differences_with_the_fixed_values_held(self):
        for seed in range(3):
            features, labels, centers, radii = random_batch(seed)
            held = {
                "frozen_geometry": oracles.geometry(centers, radii)[2:],
                "own_distances": [np.sqrt(oracles.squared_distance(f, centers[y])) for f, y in zip(features, labels)],
            }

            def total(features, centers, radii):
                return sum(oracles.arconvl_terms(features, labels, centers, radii, COUNTS, **held).values())

            _, gradients = terms_and_gradients(losses.ARConvLLoss(COUNTS), features, labels, centers, radii)
            expected = [
                oracles.numerical_gradient(lambda values: total(values, centers, radii), features),
                oracles.numerical_gradient(lambda values: total(features, values, radii), centers),
                oracles.numerical_gradient(lambda values: total(features, centers, values), radii),
            ]
            for measured, numerical in zip(gradients, expected):
                self.assertAllClose(measured, numerical, rtol=1e-6, atol=1e-8)

    def test_gradient_reaches_what_the_paper_says_and_nothing_else(self):
        reaches = {  # term: (backbone, centres, radii)
            "region": (False, False, True),
            "distribution": (True, True, False),
            "margin": (True, True, False),
            "center": (False, True, False),
        }
        _, gradients = terms_and_gradients(losses.ARConvLLoss(COUNTS), *random_batch(), by_term=True)
        for term, expected in reaches.items():
            moves = tuple(bool(g is not None and np.any(np.asarray(g) != 0)) for g in gradients[term])
            self.assertEqual(moves, expected, term)

    def test_geometry_lets_no_gradient_through_to_beta_or_margin(self):
        # Were β or σ² learnable, the radii would feel the distribution loss: here the largest radius sets R_upp.
        features, labels, centers, radii = random_batch()
        radii = radii + 5.0
        _, gradients = terms_and_gradients(losses.ARConvLLoss(COUNTS), features, labels, centers, radii, by_term=True)
        self.assertIsNone(gradients["distribution"][2])
        self.assertIsNone(gradients["margin"][2])
        self.assertIsNone(gradients["center"][2])

    def test_center_cross_entropy_in_blocks(self):
        centers = tf.constant(np.random.default_rng(0).normal(size=(23, 4)))
        margin = tf.constant(0.7, tf.float64)

        def value_and_gradients():
            with tf.GradientTape() as tape:
                tape.watch([centers, margin])
                value = losses.center_cross_entropy(centers, margin)
            return value, tape.gradient(value, [centers, margin])

        whole = value_and_gradients()
        with mock.patch.object(regions, "BLOCK_ELEMENTS", 60):
            self.assertAllClose(tf.function(value_and_gradients)(), whole, rtol=1e-10)
        numerical = oracles.numerical_gradient(
            lambda value: float(losses.center_cross_entropy(centers, tf.constant(value))), margin.numpy()
        )
        self.assertAllClose(whole[1][1], numerical, rtol=1e-6)


class ReductionTest(tf.test.TestCase):
    def test_fixed_beta_and_margin_take_the_place_of_the_adaptive_ones(self):
        features, labels, centers, radii = random_batch()
        fixed, _ = terms_and_gradients(losses.ARConvLLoss(COUNTS, beta=0.5, margin=1.0), features, labels, centers, radii)
        expected = oracles.arconvl_terms(features, labels, centers, radii, COUNTS, frozen_geometry=(0.5, 1.0))
        self.assertAllClose(fixed, expected, rtol=1e-10)

    def test_without_its_additions_and_with_equal_counts_it_is_cpl(self):
        batch = random_batch()
        bare, _ = terms_and_gradients(losses.ARConvLLoss([10.0] * 4, beta=0, margin=0, center_loss=False), *batch)
        cpl, _ = terms_and_gradients(CPLLoss(), *batch)
        self.assertAllClose(bare["margin"], cpl["cross_entropy"], rtol=1e-10)
        self.assertEqual(float(bare["distribution"]), 0.0)
        self.assertNotIn("center", bare)

    def test_paper_weights_are_alpha(self):
        batch = random_batch()
        released, _ = terms_and_gradients(losses.ARConvLLoss(COUNTS), *batch)
        paper, _ = terms_and_gradients(losses.ARConvLLoss(COUNTS, distribution_weights="paper"), *batch)
        mean_alpha = np.mean(500.0 / np.array(COUNTS))
        self.assertAllClose(paper["distribution"], mean_alpha * released["distribution"], rtol=1e-10)

    def test_permuting_classes_changes_nothing(self):
        features, labels, centers, radii = random_batch()
        order = np.array([2, 0, 3, 1])
        renumbered = np.argsort(order)[labels]
        before, _ = terms_and_gradients(losses.ARConvLLoss(COUNTS), features, labels, centers, radii)
        after, _ = terms_and_gradients(
            losses.ARConvLLoss(np.array(COUNTS)[order]), features, renumbered, centers[order], radii[order]
        )
        self.assertAllClose(before, after, rtol=1e-10)

    def test_sample_weights_repeat_or_remove_samples(self):
        features, labels, centers, radii = random_batch(n=4)
        distances = regions.squared_distances(tf.constant(features), tf.constant(centers))
        objective = losses.ARConvLLoss(COUNTS)
        weighted = objective(tf.constant(labels), distances, centers, tf.constant(radii), sample_weight=[2.0, 1.0, 0.0, 1.0])
        repeat = [0, 0, 1, 3]
        repeated = objective(tf.constant(labels[repeat]), tf.gather(distances, repeat), centers, tf.constant(radii))
        self.assertAllClose(weighted, repeated, rtol=1e-10)


class DegenerateInputTest(tf.test.TestCase):
    def check_finite(self, features, labels, centers, radii, counts):
        batch = [np.asarray(values, "float32") for values in (features, centers, radii)]
        terms, gradients = terms_and_gradients(
            losses.ARConvLLoss(counts), batch[0], np.asarray(labels, "int64"), batch[1], batch[2]
        )
        for name, value in {**terms, "by features": gradients[0], "by centres": gradients[1], "by radii": gradients[2]}.items():
            self.assertAllEqual(tf.math.is_finite(value), tf.ones_like(value, tf.bool), name)

    def test_two_equal_centres(self):
        self.check_finite([[1, 2], [0, 0]], [0, 2], [[1, 1], [1, 1], [2, 0]], [0.1] * 3, [10, 5, 1])

    def test_all_centres_equal_and_radii_zero(self):
        self.check_finite([[1, 1], [0, 0]], [0, 1], [[1, 1]] * 3, [0.0] * 3, [10, 5, 1])

    def test_a_class_absent_from_the_batch(self):
        self.check_finite([[1, 2], [0, 0]], [1, 1], [[1, 1], [0, 1], [2, 0]], [0.1] * 3, [10, 5, 1])

    def test_one_sample(self):
        self.check_finite([[1, 2]], [1], [[1, 1], [0, 1], [2, 0]], [0.1] * 3, [10, 5, 1])

    def test_an_empty_batch(self):
        self.check_finite(np.zeros((0, 2)), [], [[1, 1], [0, 1]], [0.1] * 2, [10, 5])

    def test_a_feature_exactly_on_its_centre(self):
        self.check_finite([[1, 1], [0, 1]], [0, 1], [[1, 1], [0, 1], [2, 0]], [0.0, 0.1, 0.1], [10, 5, 1])

    def test_two_classes(self):
        self.check_finite([[1, 2], [0, 0]], [0, 1], [[1, 1], [0, 1]], [0.1] * 2, [1000, 1])

    def test_huge_and_tiny_scales(self):
        features, labels, centers, radii = random_batch()
        for scale in (1e-30, 1e-15, 1e6, 1e12, 1e25):
            self.check_finite(features * scale, labels, centers * scale, radii, COUNTS)
            self.check_finite(features * scale, labels, centers, radii, COUNTS)


class ConfigurationTest(tf.test.TestCase):
    def test_survives_serialisation(self):
        objective = losses.ARConvLLoss(COUNTS, gamma=0.1, beta=0.5, center_loss=False, distribution_weights="paper")
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(objective))
        self.assertEqual(copy.get_config(), objective.get_config())

    def test_numbers_of_numpy_are_numbers(self):
        self.assertIs(type(losses.ARConvLLoss(COUNTS, beta=np.float32(0.5)).beta), float)

    def test_refuses_bad_options(self):
        for arguments, text in [
            ({"class_counts": [5, 0]}, "class_counts"),
            ({"class_counts": [5]}, "at least two"),
            ({"class_counts": [[5, 5]]}, "class_counts"),
            ({"class_counts": [5, float("nan")]}, "class_counts"),
            ({"class_counts": COUNTS, "beta": "auto"}, "beta"),
            ({"class_counts": COUNTS, "margin": -1}, "margin"),
            ({"class_counts": COUNTS, "gamma": -1}, "gamma"),
            ({"class_counts": COUNTS, "beta": float("inf")}, "beta"),
            ({"class_counts": COUNTS, "distribution_weights": "both"}, "distribution_weights"),
        ]:
            with self.assertRaisesRegex(ValueError, text):
                losses.ARConvLLoss(**arguments)
