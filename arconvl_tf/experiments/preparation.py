"""What a run is trained on: its data set, and where a network's lower part stays as it is, the activations of that."""

import dataclasses
import hashlib
import json

import keras
import numpy as np

from arconvl_tf import hardware
from arconvl_tf.data import Splits
from arconvl_tf.data.catalog import is_own, load_sides
from arconvl_tf.data.duplicates import share_across
from arconvl_tf.data.files import with_lookalikes
from arconvl_tf.data.folds import folds
from arconvl_tf.data.pipeline import assemble
from arconvl_tf.data.sampling import Sampling
from arconvl_tf.data.sides import Sides
from arconvl_tf.experiments.activations import MIRRORS, ActivationStore, cached_activations
from arconvl_tf.experiments.configuration import RunConfig
from arconvl_tf.experiments.networks import pretrained_parts
from arconvl_tf.experiments.recipes import PAPER_BACKBONES

ALL = -1  # in place of a fold's number
PRETRAINED_SIZE = 224  # what most networks were trained on


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """What stays the same over the folds of a run.

    `pictures` are the data set as it is, `sides` what training draws from: the same, or the activations of `lower`, with
    which a copy of `upper` goes on; where there is no `upper` they are the network's features. `folds` are (training, test)
    indices.
    """

    config: RunConfig
    pictures: Sides
    sides: Sides
    folds: list
    lower: keras.Model | None = None
    upper: keras.Model | None = None

    def splits(self, fold: int | None = None) -> Splits:
        """The `Splits` of one fold; of the whole data set as it is divided without folds; or, with `ALL`, of all of it as
        training side (which then stands for the test side as well)."""
        sides, sampling = self.sides, _sampling(self.config)
        if fold == ALL:
            sides = dataclasses.replace(sides, test=sides.train)
        elif fold is not None:
            train, test = self.folds[fold]
            sides = dataclasses.replace(sides, train=sides.train.part(train), test=sides.train.part(test))
        return assemble(sides, sampling)

    def share_of_duplicates(self, splits: Splits) -> float | None:
        """Which share of the test samples has a near-duplicate in training or validation; `None` where nobody looked."""
        if splits.parts["train"].lookalikes is None:
            return None
        seen = [side.lookalikes for name, side in splits.parts.items() if name != "test"]
        tested = splits.parts["test"].lookalikes
        both = np.concatenate([*seen, tested])
        return share_across(both, np.arange(len(both) - len(tested)), np.arange(len(both) - len(tested), len(both)))


def load_pictures(config: RunConfig, data_dir: str | None = None, progress=None) -> Sides:
    """The data set of a run as it is; pictures, or vectors.

    Args:
        config: of the run.
        data_dir: where TensorFlow Datasets keeps its files.
        progress: `progress(stage)` gives a function of (done, total), or `None`.

    Raises:
        ValueError: on bad options or data.
    """
    pictures = load_sides(
        config.dataset,
        config.data,
        config.recipe.augmentation,
        data_dir,
        seed=_sampling(config).sides_seed,
        default_size=None if config.recipe.backbone in PAPER_BACKBONES else PRETRAINED_SIZE,
        progress=None if progress is None else progress("looking at pictures"),
    )
    given = [side for side in pictures.given() if side != "train"]
    if config.folds and given:
        raise ValueError(f"Expected data without a {given[0]} side beside --folds. Received: {config.dataset} with one")
    return pictures


def fingerprint(config: RunConfig, pictures: Sides) -> str | None:
    """Of the contents, labels and groups of own data, in their order, which divides them; `None` of others."""
    if not is_own(config.dataset):
        return None
    rows = []
    for name, side in pictures.given().items():
        for index, label in enumerate(side.labels):
            group = None if side.groups is None else str(side.groups[index])
            rows.append(json.dumps([name, pictures.class_names[label], group, side.digests[index].tobytes().hex()]))
    return hashlib.blake2b("\n".join(rows).encode(), digest_size=16).hexdigest()


def split_pictures(config: RunConfig, pictures: Sides) -> Splits:
    """What a run without folds is trained and judged on, as pictures."""
    return assemble(pictures, _sampling(config))


def prepare(config: RunConfig, pictures: Sides, progress=None) -> Prepared:
    """Computes the activations that a run is trained on, where a network's lower part stays as it is.

    Args: see `load_pictures`.

    Raises:
        ValueError: if the data can't be divided, or the network's weights aren't at hand.
    """
    recipe, parts = config.recipe, _divided(config, pictures)
    if pictures.reading is not None and pictures.train.lookalikes is None:
        pictures = with_lookalikes(pictures)
    if recipe.fine_tune == "all":
        pretrained_parts(recipe, pictures.image_shape)  # says now what it would say in the middle of a run
    if recipe.fine_tune in (None, "all"):
        return Prepared(config, pictures, pictures, parts)
    if pictures.train.digests is None:
        raise ValueError(
            f"Expected --fine-tune all beside {config.dataset}: only of own pictures activations are kept. "
            f"Received: {recipe.fine_tune}"
        )
    with hardware.precision(config.precision):
        lower, upper = pretrained_parts(recipe, pictures.image_shape)
    views = 1 if recipe.fine_tune == "none" else len(MIRRORS)
    about = [recipe.backbone, lower.layers[-1].name, config.precision, pictures.reading.to_dict()]
    store = ActivationStore.of(lower, views, json.dumps(about))
    seen = None if progress is None else progress(f"{recipe.backbone} looks at them, once")
    sides = pictures.mapped(lambda side: cached_activations(store, lower, side, views, seen), lower.output_shape[1:])
    return Prepared(config, pictures, sides, parts, lower, upper)


def _divided(config, pictures):
    """The folds, if there are any; what can't be divided is found before anything is computed."""
    if not config.folds:
        split_pictures(config, pictures)
        return []
    train, seed = pictures.train, _sampling(config).sides_seed
    parts = folds(train.labels, train.groups, config.folds, seed, pictures.class_names)
    for fold in range(config.folds):
        Prepared(config, pictures, pictures, parts).splits(fold)
    return parts


def _sampling(config):
    return Sampling(
        config.imbalance,
        config.seed,
        config.recipe.batch_size,
        config.recipe.augmentation,
        split_seed=config.split_seed,
        epoch_cap=config.recipe.epoch_cap,
        validation_share=0.0 if config.recipe.choice == "last" else 0.1,
    )
