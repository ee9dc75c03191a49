import dataclasses
import json

import tensorflow as tf

from arconvl_tf.experiments import recipes
from arconvl_tf.experiments.tables import published


class RecipeTest(tf.test.TestCase):
    def test_the_papers_protocol(self):
        for name, epochs, drops, backbone in [
            ("mnist", 50, (26, 41), "simple_cnn"),
            ("fashion_mnist", 50, (26, 41), "simple_cnn"),
            ("svhn", 50, (26, 41), "resnet44"),
            ("cifar10", 100, (51, 81), "resnet44"),
        ]:
            recipe = recipes.RECIPES[name]
            self.assertEqual((recipe.epochs, recipe.learning_rate_drops, recipe.backbone), (epochs, drops, backbone))
            self.assertEqual((recipe.batch_size, recipe.radius_warmup_epochs), (128, 3))

    def test_configurations_survive_json(self):
        config = recipes.RunConfig("mnist", recipes.RECIPES["mnist"], imbalance=100, loss_options={"beta": 0.5})
        self.assertEqual(recipes.RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))), config)

    def test_objectives_by_name(self):
        objective = recipes.make_objective("arconvl", [10, 5], beta=0.5)
        self.assertEqual((objective.class_counts, objective.beta), ([10.0, 5.0], 0.5))
        self.assertFalse(recipes.make_objective("cpl", [10, 5]).learns_radii)
        for arguments, text in [(("arconv", [1, 1]), "arconvl, arc-c, cpl"), (("cpl", [1, 1]), "beta")]:
            with self.assertRaisesRegex(ValueError, text):
                recipes.make_objective(*arguments, **({"beta": 1} if arguments[0] == "cpl" else {}))

    def test_a_default_that_is_spelled_out_is_no_change(self):
        for method, dataset, options, changed in [
            ("arconvl", "mnist", {"beta": "adaptive", "gamma": 0.05}, {}),
            ("arconvl", "mnist", {"beta": 0.5}, {"beta": 0.5}),
            ("cb-focal", "mnist", {"weighted_mean": 1.0}, {}),
            ("affinity", "svhn", {"affinity_margin": 0.43}, {"affinity_margin": 0.43}),
            ("affinity", "svhn", {"affinity_margin": 0.75}, {"affinity_margin": 0.75}),
            ("cpl", "mnist", {"beta": 1.0}, {"beta": 1.0}),  # refused later, by name
        ]:
            self.assertEqual(recipes.changed_loss_options(method, dataset, options), changed)

    def test_published_values(self):
        self.assertEqual(published("fashion_mnist", 100, "arconvl"), (0.823, 0.008))
        self.assertEqual(published("mnist", 100, "cpl", "class_wise_accuracy"), (0.926, 0.007))
        self.assertEqual(published("mnist", 100, "arc-c"), (0.974, 0.005))
        self.assertEqual(published("cifar10", 50, "arconvl", "class_wise_accuracy", {"margin": 1.0}), (0.76, 0.015))
        self.assertEqual(published("svhn", 100, "affinity", loss_options={"affinity_margin": 0.43}), (0.0, 0.0))
        self.assertIsNone(published("mnist", 100, "affinity", loss_options={"affinity_margin": 0.43}))
        for arguments in (("digits", 10, "arconvl"), ("mnist", 100, "la", "g_mean", {"temperature": 0.5})):
            self.assertIsNone(published(*arguments))

    def test_only_the_papers_protocol_is_compared_with_its_numbers(self):
        config = recipes.RunConfig("mnist", recipes.RECIPES["mnist"], imbalance=100.0)
        self.assertTrue(config.follows_the_paper())
        for changes in ({"profile": "exponential"}, {"minority": "odd"}, {"recipe": recipes.RECIPES["svhn"]}, {"feature_dim": 2}):
            self.assertFalse(dataclasses.replace(config, **changes).follows_the_paper())
