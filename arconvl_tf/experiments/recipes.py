"""What the paper did on each data set, as defaults: network, length, batch, augmentation, learning rates.

Numbers to expect for ARConvL, G-mean in % (the paper's Table 1): MNIST-100 97.3±0.6, Fashion-100 82.3±0.8,
SVHN-100 87.2±1.1, Cifar10-100 71.3±1.2.

This module is plain data: it imports neither TensorFlow nor Keras, so the command line can read it at once.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one data set is trained on.

    Learning rates fall by ten at the start of each epoch in `learning_rate_drops` (counted from 0). Radii learn with
    `radius_learning_rates[0]` for `radius_warmup_epochs`, then with `radius_learning_rates[1]`. Pixels in 0–255 are
    multiplied by `pixel_scale` inside the network. Where the paper's text differs from the authors' program (momentum,
    weight decay, pixels in 0–1) the defaults are the program's.
    """

    backbone: str
    epochs: int
    batch_size: int = 128
    augmentation: str = "none"
    learning_rate: float = 0.1
    learning_rate_drops: tuple = (26, 41)
    radius_learning_rates: tuple = (0.001, 0.01)
    radius_warmup_epochs: int = 3
    momentum: float = 0.0
    weight_decay: float = 0.0
    pixel_scale: float = 1.0

    @classmethod
    def from_dict(cls, values):
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})

    def changed(self, **changes):
        """This recipe with the given fields changed, `None` meaning unchanged; drops move along with the epochs.

        Example:
            >>> RECIPES["mnist"].changed(epochs=10, batch_size=None).learning_rate_drops
            (5, 8)
        """
        changes = {name: value for name, value in changes.items() if value is not None}
        stretch = changes.get("epochs", self.epochs) / self.epochs
        drops = tuple(round(epoch * stretch) for epoch in self.learning_rate_drops)
        return dataclasses.replace(self, **{"learning_rate_drops": drops, **changes})


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
IMBALANCED_BY_NATURE = ("celeb_a", "i_naturalist2018")
BACKBONES = ("simple_cnn", "resnet44", "resnet56")
PRECISIONS = ("auto", "float32", "mixed_bfloat16")


def recipe_for(dataset: str) -> Recipe:
    """The paper's recipe of a data set by name; that of own pictures for anything else."""
    return RECIPES.get(dataset, OWN_PICTURES)


def usual_imbalance(dataset: str) -> float:
    """The `q` of a data set when none is asked for: 10, or 1 where nature has seen to it, as in own pictures."""
    return 10.0 if dataset in RECIPES and dataset not in IMBALANCED_BY_NATURE else 1.0
