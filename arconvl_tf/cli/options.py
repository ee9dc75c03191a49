"""What the commands' options have in common: types, the options that choose data, `--debug`."""

import contextlib
import dataclasses
import math
import pathlib

import click

from arconvl_tf.experiments import recipes


class Command(click.Command):
    """A command with `--debug`, which lets an error show where it came from."""

    def __init__(self, *args, params=(), **kwargs):
        debug = click.Option(
            ["--debug"], is_flag=True, expose_value=False, callback=_remember_debug, help="Show where an error came from."
        )
        super().__init__(*args, params=[*params, debug], **kwargs)


def _remember_debug(context, option, value):
    if context.obj is not None:
        context.obj.debug = value


class Number(click.ParamType):
    """A finite number in a range; click's own ranges let NaN pass."""

    name = "number"

    def __init__(self, range_text, holds):
        self.range_text, self.holds = range_text, holds

    def convert(self, value, param, ctx):
        with contextlib.suppress(ValueError):
            if math.isfinite(float(value)) and self.holds(float(value)):
                return float(value)
        return self.fail(f"Expected a number {self.range_text}. Received: {value}", param, ctx)


FROM_ONE = Number("≥ 1", lambda value: value >= 1)
FROM_ZERO = Number("≥ 0", lambda value: value >= 0)
ABOVE_ZERO = Number("> 0", lambda value: value > 0)


class AdaptiveOrNumber(click.ParamType):
    name = "adaptive|number"

    def convert(self, value, param, ctx):
        if value == "adaptive":
            return value
        with contextlib.suppress(ValueError):
            return float(value)
        return self.fail(f'Expected "adaptive" or a number. Received: {value!r}', param, ctx)


class _Setting(click.ParamType):
    """NAME=VALUE as a pair."""

    def __init__(self, kind, convert_value):
        self.name, self.kind, self.convert_value = f"name={kind}", kind, convert_value

    def convert(self, value, param, ctx):
        name, _, given = value.rpartition("=")
        with contextlib.suppress(ValueError):
            if name:
                return name, self.convert_value(given)
        return self.fail(f"Expected NAME={self.kind.upper()}. Received: {value!r}", param, ctx)


class _Minority(click.ParamType):
    name = "even|odd|last|classes"

    def convert(self, value, param, ctx):
        return value if value in ("even", "odd", "last") else value.split(",")


def named_values(kind, convert_value):
    """The arguments of an option NAME=VALUE that may stand several times and becomes a dictionary."""

    def collect(context, option, pairs):
        names = [name for name, _ in pairs]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise click.BadParameter(f"Expected every name once. Received: {', '.join(sorted(twice))} again")
        return dict(pairs)

    return {"type": _Setting(kind, convert_value), "multiple": True, "callback": collect}


def number_or_word(text):
    with contextlib.suppress(ValueError):
        return float(text)
    return text


_USUAL_SIZE = "Of pictures on disk. Default: 224 for a pretrained network; else own ones' if alike and at most 256, else 64."
_FIT = "How own pictures come to it: stretched, with a border, or cut."
_GROUP_BY = "Keeps own pictures together: a folder level below the class (1, 2, …) or a regular expression on the path."
_SPLIT_SEED = "Divides the samples. Default: --seed does."
_OVERLAP = "celeb_a: faces with several hair attributes are left out, or a sample of each."
_USUAL_IMBALANCE = "Default: 10; of pictures that are imbalanced already: 1."
TFDS_FOLDER = "Folder of TensorFlow Datasets. Default: $TFDS_DATA_DIR."


def data_options(command):
    """The options that decide which pictures a command sees."""
    options = [
        click.option("--imbalance", type=FROM_ONE, help=f"How many times fewer minority samples. {_USUAL_IMBALANCE}"),
        click.option("--minority", type=_Minority(), default="even", show_default=True, help="Classes to thin."),
        click.option("--profile", type=click.Choice(["step", "exponential"]), default="step", show_default=True),
        click.option("--keep", **named_values("whole number", int), help="Or how many samples a class keeps: --keep cat=50"),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
        click.option("--image-size", type=click.IntRange(min=1), help=_USUAL_SIZE),
        click.option("--split-seed", type=click.IntRange(min=0), help=_SPLIT_SEED),
        click.option("--fit", type=click.Choice(["resize", "pad", "crop"]), default="resize", show_default=True, help=_FIT),
        click.option("--background", default="white", show_default=True, help="Colour behind transparent pictures."),
        click.option("--group-by", help=_GROUP_BY),
        click.option("--keep-duplicates-together", is_flag=True, help="Near-duplicates stand on one side of every split."),
        click.option("--skip-corrupt", is_flag=True, help="Leave out own pictures that can't be read."),
        click.option("--overlap", type=click.Choice(["exclude", "count"]), default="exclude", help=_OVERLAP),
        click.option("--data-dir", type=click.Path(), help=TFDS_FOLDER),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def taken_data_options(options):
    """Takes what is the `DataOptions`' out of a command's options."""
    from arconvl_tf.data.options import DataOptions

    names = [field.name for field in dataclasses.fields(DataOptions)]
    return DataOptions(**{name: options.pop(name) for name in names})


def dataset_and_imbalance(dataset, imbalance, minority, profile, keep):
    """A data set's name, or the full path of own pictures; and the `Imbalance`, the usual one if none is asked for."""
    from arconvl_tf.data.imbalance import Imbalance

    if dataset not in recipes.RECIPES:
        if not pathlib.Path(dataset).exists():
            names = ", ".join(recipes.RECIPES)
            raise click.ClickException(
                f"Expected a data set ({names}), a folder, a CSV file or an .npz file. Received: {dataset!r}"
            )
        dataset = str(pathlib.Path(dataset).resolve())
    usual = 1.0 if keep else recipes.usual_imbalance(dataset)
    if imbalance is None and usual == 1 and not keep and (minority, profile) != ("even", "step"):
        raise click.UsageError("Expected --imbalance beside --minority or --profile: these pictures are kept as they are.")
    factor = usual if imbalance is None else imbalance
    return dataset, Imbalance(factor, minority=minority, profile=profile, keep=keep or None)
