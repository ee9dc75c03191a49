"""`arconvl train`."""

import dataclasses
import pathlib

import click
from rich.markup import escape

from arconvl_tf.cli.options import (
    ABOVE_ZERO,
    FROM_ZERO,
    AdaptiveOrNumber,
    Command,
    data_options,
    dataset_and_imbalance,
    named_values,
    number_or_word,
)
from arconvl_tf.cli.output import CONSOLE, print_metrics, quiet_import
from arconvl_tf.experiments import recipes
from arconvl_tf.experiments.methods import METHODS

_DATASETS = f"A folder, a CSV file, or {', '.join(recipes.RECIPES)}."
_EPOCHS = "Default: the data set's; learning-rate drops move along."
_PIXEL_SCALE = "Factor of the pixels, which come in 0–255. Default: 1."


@click.command(cls=Command)
@click.option("--dataset", default="digits", show_default=True, help=_DATASETS)
@click.option("--method", type=click.Choice(list(METHODS)), default="arconvl", show_default=True)
@data_options
@click.option("--epochs", type=click.IntRange(min=1), help=_EPOCHS)
@click.option("--batch-size", type=click.IntRange(min=1), help="Default: the data set's.")
@click.option("--backbone", type=click.Choice(recipes.BACKBONES), help="Default: the data set's.")
@click.option("--feature-dim", type=click.IntRange(min=2), default=64, show_default=True, help="2 draws the true plane.")
@click.option("--beta", type=AdaptiveOrNumber(), help="Fixes β of Eq. 5 (ARConvL).")
@click.option("--margin", type=AdaptiveOrNumber(), help="Fixes σ² of Eq. 7 (ARConvL).")
@click.option(
    "--set", "settings", **named_values("value", number_or_word), help="Any other setting of a loss: temperature=0.5"
)
@click.option("--augmentation", type=click.Choice(["none", "light", "paper"]), help="Default: the data set's.")
@click.option("--learning-rate", type=ABOVE_ZERO, help="Of all but the radii, at the start. Default: 0.1.")
@click.option("--momentum", type=FROM_ZERO, help="Of both optimizers. Default: none, as in the released program.")
@click.option("--weight-decay", type=FROM_ZERO, help="Default: none, as in the released program.")
@click.option("--pixel-scale", type=ABOVE_ZERO, help=_PIXEL_SCALE)
@click.option("--precision", type=click.Choice(recipes.PRECISIONS), default="auto", show_default=True)
@click.option("--out", type=click.Path(), help="Run directory. Default: runs/DATASET-IMBALANCE-METHOD-SEED.")
def train(data_dir, out, **options):
    """Trains a model, keeps its best epoch and tests it.

    Without options: scikit-learn's digits, imbalanced by 10, in under a minute. The defaults of the paper's
    data sets are its protocol as its authors' program has it; cifar100 follows cifar10, and so do own pictures,
    with lighter augmentation.
    """
    with quiet_import():
        from arconvl_tf.experiments.progress import RunProgress
        from arconvl_tf.experiments.run_directory import RunDirectory
        from arconvl_tf.experiments.training import run

    config = _config(**options)
    name = f"{pathlib.Path(config.dataset).name}-{config.imbalance.factor:g}-{config.method}-{config.seed}"
    directory = RunDirectory(out or f"runs/{name}")
    if directory.finished(config):
        _report(directory.metrics(), config)
        CONSOLE.print(f"This run was finished before: [bold]{escape(str(directory))}[/bold]")
        return
    CONSOLE.print(
        f"[bold]{config.method}[/bold] on [bold]{escape(config.dataset)}[/bold], {config.describe_imbalance()}, "
        f"seed {config.seed}: {config.recipe.backbone}, {config.recipe.epochs} epochs, batch {config.recipe.batch_size}, "
        f"{config.precision}"
    )
    progress = RunProgress(CONSOLE)
    try:
        metrics = run(config, directory, data_dir, callbacks=[progress])
    finally:
        progress.stop()
    _report(metrics, config)
    CONSOLE.print(f"{metrics['seconds']:.0f} s in all.")
    CONSOLE.print(f"Model, history, metrics and figures: [bold]{escape(str(directory))}[/bold]")


def _config(dataset, method, imbalance, minority, profile, keep, precision, beta, margin, settings, **options):
    """The `RunConfig` that the options ask for."""
    from arconvl_tf import hardware
    from arconvl_tf.experiments.configuration import RunConfig

    dataset, imbalance = dataset_and_imbalance(dataset, imbalance, minority, profile, keep)
    named = {name: value for name, value in (("beta", beta), ("margin", margin)) if value is not None}
    for name in settings.keys() & named.keys():
        raise click.UsageError(f"Expected {name} once. Received: --{name} and --set {name}")
    loss_options = METHODS[method].changed_options(dataset, {**settings, **named})
    METHODS[method].make_objective([1, 1], **loss_options)  # refuses bad settings before any data are read
    recipe = {field.name: options.pop(field.name, None) for field in dataclasses.fields(recipes.Recipe)}
    return RunConfig(
        dataset,
        recipes.recipe_for(dataset).changed(**recipe),
        method=method,
        imbalance=imbalance,
        precision=hardware.default_precision() if precision == "auto" else precision,
        loss_options=loss_options,
        **options,
    )


def _report(metrics, config):
    print_metrics(metrics, metrics["test"], config)
    # Runs of version 0.1 don't say how their epoch was chosen.
    CONSOLE.print(metrics.get("choice", f"Epoch {metrics['best_epoch']} was best on validation."))
