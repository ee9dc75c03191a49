"""The command `arconvl`. TensorFlow is imported by the subcommands, so that --help answers at once."""

import contextlib
import csv
import dataclasses
import functools
import json
import math
import os
import pathlib
import sys

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from arconvl_tf import __version__
from arconvl_tf.experiments import recipes

CONSOLE = Console()


def main():
    """Runs the command line; every failure that the user can mend is one line and a non-zero exit status."""
    for stream in (sys.stdout, sys.stderr):  # a letter that a terminal or a pipe can't show must not end a training
        stream.reconfigure(errors="backslashreplace")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow leaves oneDNN off on processors without AVX-512, where it helps as well: see the README under "Speed".
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    try:
        sys.exit(cli(standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except (ValueError, OSError) as error:
        _fail(str(error), 1)
    except Exception as error:
        # TensorFlow's own errors (out of memory, a picture that vanished) without importing it for --help.
        if not type(error).__module__.startswith("tensorflow"):
            raise
        _fail(str(error), 1)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="arconvl")
def cli():
    """Region-based learning for imbalanced image classes (ARConvL, ECML-PKDD 2023)."""


class _AdaptiveOrNumber(click.ParamType):
    name = "adaptive|number"

    def convert(self, value, param, ctx):
        if value == "adaptive":
            return value
        try:
            return float(value)
        except ValueError:
            self.fail(f'Expected "adaptive" or a number. Received: {value!r}', param, ctx)


class _Number(click.ParamType):
    """A finite number in a range; click's own ranges let NaN pass."""

    name = "number"

    def __init__(self, range_text, holds):
        self.range_text, self.holds = range_text, holds

    def convert(self, value, param, ctx):
        with contextlib.suppress(ValueError):
            if math.isfinite(float(value)) and self.holds(float(value)):
                return float(value)
        self.fail(f"Expected a number {self.range_text}. Received: {value}", param, ctx)


class _Setting(click.ParamType):
    name = "name=number"

    def __init__(self, number_type):
        self.number_type = number_type

    def convert(self, value, param, ctx):
        name, _, number = value.rpartition("=")
        with contextlib.suppress(ValueError):
            if name:
                return name, self.number_type(number)
        kind = "NUMBER" if self.number_type is float else "WHOLE NUMBER"
        self.fail(f"Expected NAME={kind}. Received: {value!r}", param, ctx)


class _Minority(click.ParamType):
    name = "even|odd|last|classes"

    def convert(self, value, param, ctx):
        return value if value in ("even", "odd", "last") else value.split(",")


def _named_numbers(number_type):
    """The arguments of an option NAME=NUMBER that may stand several times and becomes a dictionary."""

    def collect(context, option, pairs):
        names = [name for name, _ in pairs]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise click.BadParameter(f"Expected every name once. Received: {', '.join(sorted(twice))} again")
        return dict(pairs)

    return {"type": _Setting(number_type), "multiple": True, "callback": collect}


_FROM_ONE = _Number("≥ 1", lambda value: value >= 1)
_FROM_ZERO = _Number("≥ 0", lambda value: value >= 0)
_USUAL_SIZE = "Of pictures on disk. Default: own ones' if all are alike and at most 256, else 64."
_OVERLAP = "celeb_a: faces with several hair attributes are left out, or a sample of each."
_USUAL_IMBALANCE = "Default: 10; of pictures that are imbalanced already: 1."


def _data_options(command):
    """The options that decide which pictures a command sees."""
    options = [
        click.option("--imbalance", type=_FROM_ONE, help=f"How many times fewer minority samples. {_USUAL_IMBALANCE}"),
        click.option("--minority", type=_Minority(), default="even", show_default=True, help="Classes to thin."),
        click.option("--profile", type=click.Choice(["step", "exponential"]), default="step", show_default=True),
        click.option("--keep", **_named_numbers(int), help="Or how many samples a class keeps: --keep cat=50"),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
        click.option("--image-size", type=click.IntRange(min=1), help=_USUAL_SIZE),
        click.option("--skip-corrupt", is_flag=True, help="Leave out own pictures that can't be read."),
        click.option("--overlap", type=click.Choice(["exclude", "count"]), default="exclude", help=_OVERLAP),
        click.option("--data-dir", type=click.Path(), help="Folder of TensorFlow Datasets. Default: $TFDS_DATA_DIR."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@cli.command()
@click.option("--dataset", default="digits", show_default=True, help=f"A folder, a CSV file, or {', '.join(recipes.RECIPES)}.")
@click.option("--method", type=click.Choice(list(recipes.METHODS)), default="arconvl", show_default=True)
@_data_options
@click.option("--epochs", type=click.IntRange(min=1), help="Default: the data set's; learning-rate drops move along.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Default: the data set's.")
@click.option("--backbone", type=click.Choice(recipes.BACKBONES), help="Default: the data set's.")
@click.option("--feature-dim", type=click.IntRange(min=2), default=64, show_default=True, help="2 draws the true plane.")
@click.option("--beta", type=_AdaptiveOrNumber(), help="Fixes β of Eq. 5 (ARConvL).")
@click.option("--margin", type=_AdaptiveOrNumber(), help="Fixes σ² of Eq. 7 (ARConvL).")
@click.option("--set", "settings", **_named_numbers(float), help="Any other number of a loss: temperature=0.5")
@click.option("--augmentation", type=click.Choice(["none", "light", "paper"]), help="Default: the data set's.")
@click.option("--precision", type=click.Choice(recipes.PRECISIONS), default="auto", show_default=True)
@click.option("--out", type=click.Path(), help="Run directory. Default: runs/DATASET-IMBALANCE-METHOD-SEED.")
def train(dataset, method, imbalance, seed, precision, data_dir, out, beta, margin, settings, **options):
    """Trains a model, keeps its best epoch and tests it.

    Without options: scikit-learn's digits, imbalanced by 10, in under a minute. The defaults of the paper's
    data sets are its protocol; cifar100 follows cifar10, and so do own pictures, with lighter augmentation.
    """
    dataset, imbalance = _resolve(dataset, imbalance, options["keep"], options["minority"], options["profile"])
    with _quiet_import():
        from arconvl_tf import hardware
        from arconvl_tf.experiments import runner
        from arconvl_tf.experiments.progress import RunProgress

    base_recipe = recipes.RECIPES.get(dataset, recipes.OWN_PICTURES)
    if precision == "auto":
        precision = hardware.default_precision()
    named = {name: value for name, value in (("beta", beta), ("margin", margin)) if value is not None}
    for name in settings.keys() & named.keys():
        raise click.UsageError(f"Expected {name} once. Received: --{name} and --set {name}")
    loss_options = recipes.changed_loss_options(method, dataset, {**settings, **named})
    recipe = {field.name: options.pop(field.name, None) for field in dataclasses.fields(recipes.Recipe)}
    config = recipes.RunConfig(
        dataset=dataset,
        recipe=recipes.adjusted(base_recipe, **recipe),
        method=method,
        imbalance=imbalance,
        seed=seed,
        precision=precision,
        loss_options=loss_options,
        **options,
    )
    directory = pathlib.Path(out or f"runs/{pathlib.Path(dataset).name}-{imbalance:g}-{method}-{seed}")
    if runner.finished(directory, config):
        metrics = runner.read_metrics(directory)
        _print_metrics(metrics, metrics["test"], config)
        CONSOLE.print(f"This run was finished before: [bold]{escape(str(directory))}[/bold]")
        return
    CONSOLE.print(
        f"[bold]{method}[/bold] on [bold]{escape(dataset)}[/bold], {_imbalance_text(config)}, seed {seed}: "
        f"{config.recipe.backbone}, {config.recipe.epochs} epochs, batch {config.recipe.batch_size}, {precision}"
    )
    progress = RunProgress(CONSOLE)
    try:
        metrics = runner.run(config, directory, data_dir, callbacks=[progress])
    finally:
        progress.stop()
    _print_metrics(metrics, metrics["test"], config)
    CONSOLE.print(f"Epoch {metrics['best_epoch']} was best on validation; {metrics['seconds']:.0f} s in all.")
    CONSOLE.print(f"Model, history, metrics and figures: [bold]{escape(str(directory))}[/bold]")


@cli.command()
@click.argument("directory", type=click.Path())
@click.option("--split", type=click.Choice(["validation", "test"]), default="test", show_default=True)
@click.option("--data-dir", type=click.Path(), help="Folder of TensorFlow Datasets. Default: $TFDS_DATA_DIR.")
@click.option("--dataset", help="Where the run's own pictures lie now, if they have moved.")
@click.option("--logit-adjustment", type=_FROM_ZERO, help="τ of a post-hoc logit adjustment by the training counts.")
def evaluate(directory, split, data_dir, dataset, logit_adjustment):
    """Measures the model of a finished run again."""
    with _quiet_import():
        from arconvl_tf.baselines import adjusted_logits
        from arconvl_tf.experiments import runner

    config = runner.read_config(directory)
    if dataset is not None:
        config = dataclasses.replace(config, dataset=dataset)
    model = runner.load_model(directory)
    splits = runner.load_run_data(config, data_dir)
    runner.check_run_data(directory, splits)
    adjust = None
    if logit_adjustment is not None:
        adjust = functools.partial(adjusted_logits, class_counts=splits.class_counts, temperature=logit_adjustment)
    result = runner.evaluate(model, getattr(splits, split), adjust)
    about = {"class_counts": splits.class_counts, "class_names": splits.class_names}
    _print_metrics(about, result, config if split == "test" and adjust is None else None)


@cli.command()
@click.argument("directory", type=click.Path())
@click.argument("images", nargs=-1, required=True, type=click.Path())
@click.option("--format", "output_format", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
def predict(directory, images, output_format):
    """Classifies pictures: class, probability, distance to the centre, whether inside the region.

    Files that can't be decoded are named on standard error, after the rows of all others; the exit status is 1 then.
    """
    with _quiet_import():
        from arconvl_tf.data.images import complaint
        from arconvl_tf.experiments.prediction import predict_images

    rows, unreadable = predict_images(directory, images)
    if output_format == "json":
        click.echo(json.dumps(rows, indent=1))
    elif rows:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    if unreadable:
        raise click.ClickException(complaint(unreadable))


@cli.command()
@click.argument("dataset", default="digits")
@_data_options
@click.option("--out", type=click.Path(dir_okay=False), default="pictures.png", show_default=True, help="Picture sheet.")
def data(dataset, out, imbalance, **options):
    """Shows a data set: samples by class and split, pictures that training and test share, a sheet of examples."""
    dataset, imbalance = _resolve(dataset, imbalance, options["keep"], options["minority"], options["profile"])
    with _quiet_import():
        from arconvl_tf.data import inspection, load_data
        from arconvl_tf.experiments import figures

    splits = load_data(dataset, imbalance, **options)
    largest = max(splits.class_counts)
    table = Table("class", "train", "validation", "test", "train and validation")
    for label, (name, count) in enumerate(zip(splits.class_names, splits.class_counts)):
        parts = [str(splits.split_counts[side][label]) for side in ("train", "validation", "test")]
        table.add_row(escape(name), *parts, "█" * max(1, round(30 * count / largest)))
    CONSOLE.print(table)
    CONSOLE.print(f"imbalance ratio {largest / min(splits.class_counts):.4g}, pictures {splits.image_shape}")
    seen = splits.train.concatenate(splits.validation)
    CONSOLE.print(f"test pictures that training or validation shows as well: {inspection.shared_pictures(seen, splits.test)}")
    sheet = inspection.examples(splits.train, splits.split_counts["train"], per_class=8)
    figures.draw_picture_sheet(sheet, splits.class_counts, splits.class_names).savefig(out, dpi=120)
    CONSOLE.print(f"Examples (rare classes in red): [bold]{escape(str(out))}[/bold]")


def _resolve(dataset, imbalance, keep, minority, profile):
    """A data set's name, or the full path of own pictures; and the imbalance, if none is asked for the usual one."""
    if dataset not in recipes.RECIPES:
        if not pathlib.Path(dataset).exists():
            names = ", ".join(recipes.RECIPES)
            raise click.ClickException(f"Expected a data set ({names}), a folder or a CSV file. Received: {dataset!r}")
        dataset = str(pathlib.Path(dataset).resolve())
    usual = 1.0 if keep else recipes.default_imbalance(dataset)
    if imbalance is None and usual == 1 and not keep and (minority, profile) != ("even", "step"):
        raise click.UsageError("Expected --imbalance beside --minority or --profile: these pictures are kept as they are.")
    return dataset, usual if imbalance is None else imbalance


BENCHMARK_SECTIONS = (
    "training_step", "against_cross_entropy", "input_pipeline", "picture_folder", "evaluation", "region_head", "start_up",
    "parallel_runs",
)  # fmt: skip


@cli.command()
@click.option("--section", "sections", type=click.Choice(BENCHMARK_SECTIONS), multiple=True, help="Default: all.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Rounds of taking turns.")
@click.option("--steps", type=click.IntRange(min=1), default=10, show_default=True, help="Training steps of one turn.")
@click.option("--out", type=click.Path(dir_okay=False), help="Also write the measurements as JSON.")
def benchmark(sections, repeats, steps, out):
    """Measures this machine: training steps, data, evaluation, the region head, start-up, parallel runs."""
    with _quiet_import():
        from arconvl_tf import benchmark as benchmarks

    results = benchmarks.run(sections or None, repeats, steps)
    CONSOLE.print(results["machine"])
    for section in sections or BENCHMARK_SECTIONS:
        measured = results[section]
        names = list(dict.fromkeys(name for values in measured.values() for name in values))
        table = Table(*[title.replace("_", " ") for title in (section, *names)])
        for variant, values in measured.items():
            table.add_row(variant, *[f"{values[name]:.4g}" if name in values else "" for name in names])
        CONSOLE.print(table)
    if out:
        pathlib.Path(out).write_text(json.dumps(results, indent=1) + "\n")


def _imbalance_text(config):
    if config.keep:
        return "counts by class"
    natural = config.imbalance == 1 and recipes.default_imbalance(config.dataset) == 1
    return "classes as they are" if natural else f"imbalance {config.imbalance:g}"


def _print_metrics(about, result, config=None):
    """Class recalls and their means; with the published mean, where `config` is an experiment of the paper."""
    from arconvl_tf.experiments.tables import published

    table = Table("class", "training samples", "recall")
    for name, count, recall in zip(about["class_names"], about["class_counts"], result["recall"]):
        table.add_row(escape(name), str(count), "no samples" if recall is None else f"{recall:.3f}")
    CONSOLE.print(table)
    for measure, label in (("g_mean", "G-mean"), ("class_wise_accuracy", "class-wise accuracy")):
        line, paper = f"{label} [bold]{result[measure]:.3f}[/bold]", None
        if config is not None and config.follows_the_paper():
            paper = published(config.dataset, config.imbalance, config.method, measure, config.loss_options)
        CONSOLE.print(line + (f" (published {paper[0]:.3f} ± {paper[1]:.3f}, ten seeds)" if paper else ""))
    lost = [name for name, recall in zip(about["class_names"], result["recall"]) if recall == 0]
    if lost:
        CONSOLE.print(f"[bold red]Collapsed[/bold red]: no sample of class {escape(', '.join(lost))} is found.")


@contextlib.contextmanager
def _quiet_import():
    """Keeps the start-up chatter of native libraries, which no log level reaches, and TFDS' advice off the terminal."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
        from absl import logging

        logging.set_verbosity(logging.ERROR)
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def _fail(message, status):
    click.echo("arconvl: " + " ".join(message.split()), err=True)
    sys.exit(status)
