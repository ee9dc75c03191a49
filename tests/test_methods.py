import dataclasses

import tensorflow as tf

from arconvl_tf.data import Imbalance
from arconvl_tf.experiments import recipes
from arconvl_tf.experiments.configuration import RunConfig
from arconvl_tf.experiments.methods import METHODS, method_named
from arconvl_tf.experiments.tables import published


class MethodTest(tf.test.TestCase):
    def test_objectives_by_name(self):
        objective = method_named("arconvl").make_objective([10, 5], beta=0.5)
        self.assertEqual((objective.class_counts, objective.beta), ([10.0, 5.0], 0.5))
        self.assertFalse(method_named("cpl").make_objective([10, 5]).learns_radii)
        with self.assertRaisesRegex(ValueError, "arconvl, arc-c, cpl"):
            method_named("arconv")
        for name, options, text in [("cpl", {"beta": 1}, "beta"), ("arc-c", {"center_loss": True}, "center_loss")]:
            with self.assertRaisesRegex(ValueError, text):
                method_named(name).make_objective([1, 1], **options)

    def test_the_recipe_names_the_reading_of_the_paper(self):
        """The class follows its own paper; the method that reproduces ARConvL's table says where it departs."""
        focal, cb_focal = [method_named(name).make_objective([10, 5]) for name in ("focal", "cb-focal")]
        self.assertEqual((focal.normalized, cb_focal.weighted_mean), (True, True))
        self.assertEqual((METHODS["focal"].reading, METHODS["cb-focal"].reading), ({"normalized": True}, {"weighted_mean": True}))
        self.assertFalse(method_named("focal").make_objective([10, 5], normalized=0).normalized)

    def test_a_default_that_is_spelled_out_is_no_change(self):
        for method, dataset, options, changed in [
            ("arconvl", "mnist", {"beta": "adaptive", "gamma": 0.05}, {}),
            ("arconvl", "mnist", {"beta": 0.5}, {"beta": 0.5}),
            ("arconvl", "mnist", {"distribution_weights": "paper"}, {"distribution_weights": "paper"}),
            ("cb-focal", "mnist", {"weighted_mean": 1.0}, {}),
            ("cb-focal", "mnist", {"weighted_mean": 0.0}, {"weighted_mean": 0.0}),
            ("affinity", "svhn", {"affinity_margin": 0.43}, {"affinity_margin": 0.43}),
            ("affinity", "svhn", {"affinity_margin": 0.75}, {"affinity_margin": 0.75}),
            ("cpl", "mnist", {"beta": 1.0}, {"beta": 1.0}),  # refused later, by name
        ]:
            self.assertEqual(METHODS[method].changed_options(dataset, options), changed)

    def test_every_method_has_a_colour_of_its_own(self):
        self.assertLen({method.colour for method in METHODS.values()}, len(METHODS))

    def test_published_values(self):
        self.assertEqual(published("fashion_mnist", 100, "arconvl"), (0.823, 0.008))
        self.assertEqual(published("mnist", 100, "cpl", "class_wise_accuracy"), (0.926, 0.007))
        self.assertEqual(published("mnist", 100, "arc-c"), (0.974, 0.005))
        self.assertEqual(published("cifar10", 50, "arconvl", "class_wise_accuracy", {"margin": 1.0}), (0.76, 0.015))
        self.assertEqual(published("svhn", 100, "affinity", loss_options={"affinity_margin": 0.43}), (0.0, 0.0))
        self.assertIsNone(published("mnist", 100, "affinity", loss_options={"affinity_margin": 0.43}))
        for arguments in (("digits", 10, "arconvl"), ("mnist", 100, "la", "g_mean", {"temperature": 0.5})):
            self.assertIsNone(published(*arguments))


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
            self.assertEqual((recipe.momentum, recipe.weight_decay, recipe.pixel_scale), (0, 0, 1))

    def test_only_the_papers_protocol_is_compared_with_its_numbers(self):
        config = RunConfig("mnist", recipes.RECIPES["mnist"], imbalance=Imbalance(100))
        self.assertTrue(config.follows_the_paper())
        for changes in (
            {"imbalance": Imbalance(100, profile="exponential")},
            {"imbalance": Imbalance(100, minority="odd")},
            {"imbalance": Imbalance(100, seed=3)},
            {"recipe": recipes.RECIPES["svhn"]},
            {"recipe": recipes.RECIPES["mnist"].changed(momentum=0.9)},
            {"feature_dim": 2},
        ):
            self.assertFalse(dataclasses.replace(config, **changes).follows_the_paper())
