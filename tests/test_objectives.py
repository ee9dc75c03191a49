import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from arconvl_tf.experiments.methods import METHODS
from arconvl_tf.objectives import Term, reduce
from tests.test_losses import COUNTS, random_batch


class ReduceTest(tf.test.TestCase):
    """Against sums written out in float64."""

    def setUp(self):
        super().setUp()
        rng = np.random.default_rng(0)
        self.values, self.weights, self.divisor = (rng.uniform(0.5, 2.0, 7) for _ in range(3))

    def test_the_mean_counts_samples_not_weights(self):
        self.assertAllClose(reduce(tf.constant(self.values)), self.values.sum() / 7)
        for weights in (self.weights, self.weights[:, None], self.weights.tolist()):
            self.assertAllClose(reduce(tf.constant(self.values), weights), (self.weights * self.values).sum() / 7)

    def test_a_divisor_is_weighted_like_the_values(self):
        term = Term(tf.constant(self.values), scale=3.0, divisor=tf.constant(self.divisor))
        mean_divisor = (self.weights * self.divisor).sum() / self.weights.sum()
        self.assertAllClose(reduce(term, self.weights), 3.0 * (self.weights * self.values).sum() / 7 / mean_divisor)

    def test_no_gradient_reaches_the_divisor(self):
        values = tf.constant(self.values)
        with tf.GradientTape() as tape:
            tape.watch(values)
            loss = reduce(Term(values, divisor=values))
        self.assertAllClose(tape.gradient(loss, values), np.full(7, 1 / 7 / self.values.mean()))

    def test_nothing_is_zero(self):
        empty = tf.zeros([0])
        for term in (empty, Term(empty, divisor=empty), Term(tf.constant([2.0]), divisor=tf.constant([0.0]))):
            self.assertEqual(float(reduce(term)), 0.0)
        self.assertEqual(float(reduce(Term(tf.ones(2), divisor=tf.ones(2)), [0.0, 0.0])), 0.0)

    def test_a_scalar_belongs_to_the_parameters(self):
        self.assertEqual(float(reduce(tf.constant(3.0), sample_weight=[0.0, 0.0])), 3.0)


class DeclarationTest(tf.test.TestCase):
    def test_every_objective_returns_the_names_it_declares(self):
        features, labels, centers, radii = (tf.constant(values) for values in random_batch())
        distances = tf.reduce_sum((features[:, None] - centers) ** 2, axis=2)
        for name, method in METHODS.items():
            objective = method.make_objective(COUNTS)
            terms, readouts = objective.terms_and_readouts(labels, distances, centers, radii)
            self.assertEqual((tuple(terms), tuple(readouts)), (objective.term_names, objective.readout_names), name)


class ReplicaTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_two_replicas_make_the_loss_and_gradient_of_one(self):
        """An uneven batch with sample weights, every method: the replicas' terms add up to those of the whole batch."""
        script = """
            import numpy as np, tensorflow as tf
            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
            from arconvl_tf.experiments.methods import METHODS
            from tests.test_losses import COUNTS, random_batch

            features, labels, centers, radii = random_batch()
            weights = np.linspace(0.0, 2.0, 7)
            strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

            def terms_and_gradient(objective, features, labels, weights, state):
                features, fixed = tf.convert_to_tensor(features), [tf.constant(centers), tf.constant(radii)]
                with tf.GradientTape() as tape:
                    tape.watch(fixed)
                    distances = tf.reduce_sum((features[:, None] - fixed[0]) ** 2, axis=2)
                    terms = objective(labels, distances, *fixed, sample_weight=weights, **state)
                    total = tf.add_n(list(terms.values()))
                gradient = tape.gradient(total, fixed, unconnected_gradients="zero")
                return {**terms, "by centres": gradient[0], "by radii": gradient[1]}

            for name, method in METHODS.items():
                objective = method.make_objective(COUNTS)
                state = {key: 1.0 for key in objective.initial_state()}
                whole = terms_and_gradient(objective, features, labels, weights, state)
                for parts in (slice(0, 5), slice(5, 7)), (slice(0, 7), slice(7, 7)):
                    def shares(context):
                        part = parts[context.replica_id_in_sync_group]
                        return features[part], labels[part], weights[part]
                    local = [
                        strategy.experimental_distribute_values_from_function(lambda context, i=i: tf.constant(shares(context)[i]))
                        for i in range(3)
                    ]
                    @tf.function
                    def step(*local):
                        return strategy.run(lambda *batch: terms_and_gradient(objective, *batch, state), args=local)
                    for key, value in step(*local).items():
                        summed = sum(strategy.experimental_local_results(value))
                        np.testing.assert_allclose(summed, whole[key], rtol=1e-9, atol=1e-12, err_msg=f"{name}, {key}")
            print("alike", len(METHODS))
        """
        result = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=300)
        self.assertIn(f"alike {len(METHODS)}", result.stdout, result.stderr[-3000:])
