"""What the paper did on each data set, as defaults: network, length, batch, augmentation, learning rates.

Numbers to expect for ARConvL, G-mean in % (the paper's Table 1): MNIST-100 97.3±0.6, Fashion-100 82.3±0.8,
SVHN-100 87.2±1.1, Cifar10-100 71.3±1.2.

This module is plain data: it imports neither TensorFlow nor Keras, so the command line can read it at once.
"""

import dataclasses
import importlib
import inspect


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one data set is trained on.

    Learning rates fall by ten at the start of each epoch in `learning_rate_drops` (counted from 0). Radii learn with
    `radius_learning_rates[0]` for `radius_warmup_epochs`, then with `radius_learning_rates[1]`.
    """

    backbone: str
    epochs: int
    batch_size: int = 128
    augmentation: str = "none"
    learning_rate: float = 0.1
    learning_rate_drops: tuple = (26, 41)
    radius_learning_rates: tuple = (0.001, 0.01)
    radius_warmup_epochs: int = 3


# Own choice, not the paper's: small batches, so that the few hundred digits make enough steps.
_DIGITS = Recipe("simple_cnn", epochs=30, batch_size=32, learning_rate_drops=(16, 24))
_GREY = Recipe("simple_cnn", epochs=50)
_COLOUR = Recipe("resnet44", epochs=50, augmentation="paper")
_LONG = dataclasses.replace(_COLOUR, epochs=100, learning_rate_drops=(51, 81))
_LARGE = dataclasses.replace(_LONG, backbone="resnet56", batch_size=64, augmentation="none")

RECIPES = {
    "digits": _DIGITS,
    "mnist": _GREY,
    "fashion_mnist": _GREY,
    "svhn": _COLOUR,
    "cifar10": _LONG,
    "cifar100": _LONG,  # not in the paper
    "celeb_a": _LARGE,
    "i_naturalist2018": _LARGE,
}
# Long enough for a few thousand pictures, with the augmentation that suits most subjects.
OWN_PICTURES = dataclasses.replace(_LONG, augmentation="light")
BACKBONES = ("simple_cnn", "resnet44", "resnet56")
# method → (module, objective class, options of its own); a constructor that takes class counts is given them.
METHODS = {
    "arconvl": ("losses", "ARConvLLoss", {}),
    "arc-c": ("losses", "ARConvLLoss", {"center_loss": False}),
    "cpl": ("baselines", "CPLLoss", {}),
    "gcpl": ("baselines", "GCPLLoss", {}),
    "focal": ("baselines", "FocalLoss", {}),
    "cb": ("baselines", "ClassBalancedLoss", {}),
    "cb-focal": ("baselines", "ClassBalancedFocalLoss", {}),
    "affinity": ("baselines", "AffinityLoss", {}),
    "la": ("baselines", "LogitAdjustmentLoss", {}),
    # Not in the paper; "balanced-softmax" is LA with τ = 1 under the name others know it by.
    "balanced-softmax": ("baselines", "LogitAdjustmentLoss", {"temperature": 1.0}),
    "ldam-drw": ("baselines", "LDAMLoss", {"reweighted": False}),
}
DEFERRED_SHARE = 0.8  # of the epochs pass before LDAM's weights set in
PRECISIONS = ("auto", "float32", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's result; `config.json` of a run directory.

    `recipe` holds what was left to the data set's recipe as well as what the user changed in it.
    """

    dataset: str
    recipe: Recipe
    method: str = "arconvl"
    imbalance: float = 1.0
    minority: str | list = "even"
    profile: str = "step"
    keep: dict = dataclasses.field(default_factory=dict)
    seed: int = 0
    feature_dim: int = 64
    image_size: int | None = None
    overlap: str = "exclude"
    skip_corrupt: bool = False
    precision: str = "float32"
    loss_options: dict = dataclasses.field(default_factory=dict)

    def follows_the_paper(self):
        """Whether data and protocol are the paper's, so that its numbers are the ones to compare with."""
        data = (self.minority, self.profile, self.keep) == ("even", "step", {})
        return data and self.feature_dim == 64 and self.recipe == RECIPES.get(self.dataset)

    def to_dict(self):
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values):
        recipe = {name: tuple(value) if isinstance(value, list) else value for name, value in values["recipe"].items()}
        return cls(**{**values, "recipe": Recipe(**recipe)})


def default_loss_options(method, dataset):
    """What the supplement sets otherwise on some data sets than the losses' own defaults.

    Example:
        >>> default_loss_options("affinity", "cifar10"), default_loss_options("affinity", "mnist")
        ({'affinity_margin': 0.43}, {})
    """
    if method == "affinity" and dataset not in ("mnist", "fashion_mnist"):
        return {"affinity_margin": 0.43}
    if method == "cb-focal" and dataset == "i_naturalist2018":
        return {"effective_number_beta": 0.999, "focusing": 0.5}
    return {}


def changed_loss_options(method, dataset, options):
    """The loss options in which a run differs from the losses' own defaults: what is only spelled out is no change.

    Example:
        >>> changed_loss_options("la", "mnist", {"temperature": 1.0})
        {}
        >>> changed_loss_options("affinity", "cifar10", {"bandwidth": 5.0})
        {'affinity_margin': 0.43, 'bandwidth': 5.0}
    """
    objective_class, own_options = _objective_class(method)
    arguments = inspect.signature(objective_class).parameters
    supplement = default_loss_options(method, dataset)
    usual = {name: argument.default for name, argument in arguments.items()} | own_options | supplement
    changed = {name: value for name, value in options.items() if name not in usual or usual[name] != value}
    return supplement | changed


def default_imbalance(dataset):
    """The `q` of a data set when none is asked for: 10, or 1 where nature has seen to it, as in own pictures."""
    return 10.0 if dataset in RECIPES and dataset not in ("celeb_a", "i_naturalist2018") else 1.0


def adjusted(recipe, **changes):
    """A recipe with the given fields changed, `None` meaning unchanged; drops move along with the number of epochs.

    Example:
        >>> adjusted(RECIPES["mnist"], epochs=10, batch_size=None).learning_rate_drops
        (5, 8)
    """
    changes = {name: value for name, value in changes.items() if value is not None}
    stretch = changes.get("epochs", recipe.epochs) / recipe.epochs
    drops = tuple(round(epoch * stretch) for epoch in recipe.learning_rate_drops)
    return dataclasses.replace(recipe, learning_rate_drops=drops, **changes)


def make_objective(method, class_counts, **options):
    """The objective of a method by name.

    Raises:
        ValueError: on an unknown method, or an option that the method does not have.
    """
    objective_class, own_options = _objective_class(method)
    arguments = inspect.signature(objective_class).parameters
    settable = [argument for argument in arguments if argument != "class_counts" and argument not in own_options]
    unknown = sorted(set(options) - set(settable))
    if unknown:
        raise ValueError(
            f"Expected a number of the method {method} ({', '.join(settable) or 'it has none'}). "
            f"Received: {', '.join(unknown)}"
        )
    if "class_counts" in arguments:
        options["class_counts"] = class_counts
    return objective_class(**{**own_options, **options})


def _objective_class(method):
    if method not in METHODS:
        raise ValueError(f"Expected a method among {', '.join(METHODS)}. Received: {method!r}")
    module, name, own_options = METHODS[method]
    return getattr(importlib.import_module(f"arconvl_tf.{module}"), name), own_options


def make_backbone(name, image_shape, feature_dim):
    """One of the paper's networks by name.

    Raises:
        ValueError: on an unknown name.
    """
    from arconvl_tf import backbones

    if name not in BACKBONES:
        raise ValueError(f"Expected a backbone among {', '.join(BACKBONES)}. Received: {name!r}")
    if name == "simple_cnn":
        return backbones.simple_cnn(image_shape, feature_dim)
    return backbones.resnet(image_shape, int(name.removeprefix("resnet")), feature_dim)
