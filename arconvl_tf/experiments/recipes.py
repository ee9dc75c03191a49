"""What the paper did on each data set, as defaults: network, length, batch, augmentation, learning rates.

Numbers to expect for ARConvL, G-mean in % (the paper's Table 1): MNIST-100 97.3±0.6, Fashion-100 82.3±0.8,
SVHN-100 87.2±1.1, Cifar10-100 71.3±1.2.

This module is plain data: it imports neither TensorFlow nor Keras, so the command line can read it at once.
"""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one data set is trained on.

    Learning rates (of vectors: for 1280 numbers, `√(1280 / d)` times that for d) fall by ten at the start of each epoch in
    `learning_rate_drops` (counted from 0). Radii learn with `radius_learning_rates[0]` for `radius_warmup_epochs`, then with
    `radius_learning_rates[1]`. Pixels in 0–255 are multiplied by `pixel_scale` inside the network. Where the paper's text
    differs from the authors' program (momentum, weight decay, pixels in 0–1) the defaults are the program's.

    The rest is not the paper's. `optimizer` is `"sgd"` or `"adamw"`; `schedule` is `"drops"`, or `"cosine"`: the rate falls
    to 0 along half a wave. An epoch draws at most `epoch_cap` times the classes' mean count of samples from one class,
    others every time; priors and weights are those of all samples, which was measured to be better. `choice` says which
    epoch is kept: the best on `"validation"` (a tenth of the training samples is set aside for it) or the `"last"` (none
    is). Of a pretrained backbone `weights` are `"imagenet"` or a file, and `fine_tune` says what learns beside the head:
    `"none"`, the `"upper"` part, above the layer `cut` (see `backbones.split_at`), or `"all"` of it. `head` is `"regions"`,
    the paper's, or `"linear"`: logits `f · w + b` of the network's own features. For regions features are made by dropout,
    a dense layer and a normalisation whose scale starts at `feature_scale`, put on a sphere of radius `sphere` if there is
    one; centres start at random, or at the `"class_means"` of the features.
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
    optimizer: str = "sgd"
    schedule: str = "drops"
    epoch_cap: float | None = None
    choice: str = "validation"
    weights: str = "imagenet"
    fine_tune: str | None = None
    cut: str | None = None
    head: str = "regions"
    dropout: float = 0.0
    feature_scale: float = 1.0
    sphere: float | None = None
    center_start: str = "random"

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
# Own pictures and vectors: notebooks/results/README.md has what was measured.
FROM_SCRATCH = dataclasses.replace(_LONG, augmentation="light")
_TRANSFER = Recipe(
    "efficientnet_lite0",
    epochs=12,
    batch_size=32,
    optimizer="adamw",
    learning_rate=1e-3,
    learning_rate_drops=(),
    weight_decay=0.004,
    schedule="cosine",
    epoch_cap=1.7,
    choice="last",
    fine_tune="upper",
    cut="block14_add",
    dropout=0.3,
    feature_scale=0.2,
)
_FROZEN = dataclasses.replace(
    _TRANSFER,
    epochs=20,
    fine_tune="none",
    cut=None,
    epoch_cap=None,
    learning_rate=3e-4,
    feature_scale=1.0,
    sphere=3.5,
    center_start="class_means",
)
_WHOLE = dataclasses.replace(_TRANSFER, fine_tune="all", cut=None, augmentation="light")
FINE_TUNED = {"none": _FROZEN, "upper": _TRANSFER, "all": _WHOLE}
VECTORS = dataclasses.replace(_FROZEN, backbone="vector", fine_tune=None)
IMBALANCED_BY_NATURE = ("celeb_a", "i_naturalist2018")
PAPER_BACKBONES = ("simple_cnn", "resnet44", "resnet56")
PRECISIONS = ("auto", "float32", "mixed_bfloat16")


def recipe_for(dataset: str, backbone: str | None = None, fine_tune: str | None = None) -> Recipe:
    """The recipe of a data set.

    Args:
        dataset: name of one that the paper has, or a path.
        backbone: the network that was asked for; by default the paper's, or a pretrained one for own pictures.
        fine_tune: what of a pretrained network learns: `"none"`, `"upper"` or `"all"`.

    Raises:
        ValueError: on `fine_tune` beside a network that isn't pretrained.

    Example:
        >>> recipe_for("mnist").backbone, recipe_for("pictures/").backbone, recipe_for("pictures/", "resnet44").fine_tune
        ('simple_cnn', 'efficientnet_lite0', None)
    """
    vectors = dataset not in RECIPES and dataset.lower().endswith(".npz")
    scratch = backbone in PAPER_BACKBONES or (backbone is None and dataset in RECIPES)
    if (scratch or vectors) and fine_tune is not None:
        raise ValueError(f"Expected --fine-tune beside a pretrained --backbone. Received: {backbone or dataset}")
    if vectors and backbone is not None:
        raise ValueError(f"Expected no --backbone beside feature vectors. Received: {backbone}")
    if vectors:
        return VECTORS
    if scratch:
        return RECIPES.get(dataset, FROM_SCRATCH).changed(backbone=backbone)
    recipe = FINE_TUNED[fine_tune or ("all" if dataset in RECIPES else "upper")]
    if re.sub("[-_ ]", "", backbone or recipe.backbone).lower() != "efficientnetlite0":  # whose layers have other names
        recipe = dataclasses.replace(recipe, cut=None)
    return recipe.changed(backbone=backbone)


def refuse_idle(recipe: Recipe, changed: set[str]) -> None:
    """Refuses options that the recipe would pass over in silence.

    Args:
        recipe: with the changes.
        changed: names of the fields that were asked for.

    Raises:
        ValueError: naming the first of them.
    """
    vectors, scratch = recipe.backbone == VECTORS.backbone, recipe.backbone in PAPER_BACKBONES
    idle = {
        "weights": vectors or scratch,
        "cut": recipe.fine_tune != "upper",
        "augmentation": vectors or recipe.fine_tune in ("none", "upper"),
        "pixel_scale": not scratch,
        "momentum": recipe.optimizer != "sgd",
    }
    names = sorted(name for name in changed if idle.get(name))
    if names:
        option = f"--{names[0].replace('_', '-')}"
        what = "feature vectors" if vectors else f"--backbone {recipe.backbone}"
        tuned = f" and --fine-tune {recipe.fine_tune}" if recipe.fine_tune else ""
        raise ValueError(f"Expected no {option} beside {what}{tuned}, which would not heed it. Received: {option}")


def usual_imbalance(dataset: str) -> float:
    """The `q` of a data set when none is asked for: 10, or 1 where nature has seen to it, as in own pictures."""
    return 10.0 if dataset in RECIPES and dataset not in IMBALANCED_BY_NATURE else 1.0
