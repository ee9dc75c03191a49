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
    taken_data_options,
)
from arconvl_tf.cli.output import CONSOLE, print_metrics, quiet_import
from arconvl_tf.experiments import recipes
from arconvl_tf.experiments.methods import METHODS

_DATASETS = f"A folder, a CSV file, feature vectors (.npz), or {', '.join(recipes.RECIPES)}."
_EPOCHS = "Default: the data set's; learning-rate drops move along."
_BACKBONE = (
    f"{', '.join(recipes.PAPER_BACKBONES)}: from scratch; efficientnet_lite0 or one of keras.applications: pretrained. "
    "Default: the data set's, or efficientnet_lite0 for own pictures."
)
_FINE_TUNE = "What of a pretrained network learns. none: seconds; upper (default): minutes; all: for a GPU."
_PIXEL_SCALE = "Factor of the pixels, which come in 0–255. Default: 1."


@click.command(cls=Command)
@click.option("--dataset", default="digits", show_default=True, help=_DATASETS)
@click.option("--method", type=click.Choice(list(METHODS)), default="arconvl", show_default=True)
@data_options
@click.option("--epochs", type=click.IntRange(min=1), help=_EPOCHS)
@click.option("--batch-size", type=click.IntRange(min=1), help="Default: the data set's.")
@click.option("--backbone", help=_BACKBONE)
@click.option("--weights", help="Of a pretrained network: a file in place of ImageNet's.")
@click.option("--fine-tune", type=click.Choice(list(recipes.FINE_TUNED)), help=_FINE_TUNE)
@click.option("--cut", help="The last layer that keeps its weights, beside --fine-tune upper. Default: the network's.")
@click.option("--head", type=click.Choice(["regions", "linear"]), help="regions, or the linear layer of most other papers.")
@click.option("--folds", type=click.IntRange(min=2), help="Tests every sample once, by models of the other parts.")
@click.option("--feature-dim", type=click.IntRange(min=2), default=64, show_default=True, help="2 draws the true plane.")
@click.option("--beta", type=AdaptiveOrNumber(), help="Fixes β of Eq. 5 (ARConvL).")
@click.option("--margin", type=AdaptiveOrNumber(), help="Fixes σ² of Eq. 7 (ARConvL).")
@click.option(
    "--set", "settings", **named_values("value", number_or_word), help="Any other setting of a loss: temperature=0.5"
)
@click.option("--augmentation", type=click.Choice(["none", "light", "paper"]), help="Default: the data set's.")
@click.option("--learning-rate", type=ABOVE_ZERO, help="Of all but the radii, at the start. Default: the data set's.")
@click.option("--momentum", type=FROM_ZERO, help="Of both SGDs. Default: none, as in the released program.")
@click.option("--weight-decay", type=FROM_ZERO, help="Default: none, as in the released program; of AdamW 0.004.")
@click.option("--pixel-scale", type=ABOVE_ZERO, help=_PIXEL_SCALE)
@click.option("--precision", type=click.Choice(recipes.PRECISIONS), default="auto", show_default=True)
@click.option("--out", type=click.Path(), help="Run directory. Default: runs/DATASET-IMBALANCE-METHOD-SEED.")
def train(data_dir, out, **options):
    """Trains a model, tests it and writes a run directory.

    Without options: scikit-learn's digits, imbalanced by 10, in under a minute. The defaults of the paper's
    data sets are its protocol as its authors' program has it; cifar100 follows cifar10. Own pictures
    start from a pretrained network.
    """
    with quiet_import():
        from arconvl_tf.experiments.progress import RunProgress
        from arconvl_tf.experiments.run_directory import RunDirectory
        from arconvl_tf.experiments.training import run

    config = _config(**options)
    name = f"{pathlib.Path(config.dataset).name}-{config.imbalance.factor:g}-{config.method}-{config.seed}"
    directory = RunDirectory(out or f"runs/{name}")
    finished = directory.finished(config)
    if not finished:
        CONSOLE.print(_headline(config))
    progress = RunProgress(CONSOLE, fits=config.folds + 1)
    try:
        metrics = run(config, directory, data_dir, callbacks=[progress], progress=progress.stage)
    finally:
        progress.stop()
    _report(metrics, config)
    if finished:
        CONSOLE.print(f"This run was finished before: [bold]{escape(str(directory))}[/bold]")
        return
    CONSOLE.print(f"{metrics['seconds']:.0f} s in all.")
    CONSOLE.print(f"Model, history, metrics and figures: [bold]{escape(str(directory))}[/bold]")


def _headline(config):
    recipe = config.recipe
    learns = {"none": ", frozen", "upper": ", its upper part learns", "all": ", all of it learns"}.get(recipe.fine_tune, "")
    folds = f"{config.folds} folds and a model of all, " if config.folds else ""
    return (
        f"[bold]{config.method}[/bold] on [bold]{escape(config.dataset)}[/bold], {config.describe_imbalance()}, "
        f"seed {config.seed}: {recipe.backbone}{learns}, {folds}{recipe.epochs} epochs, batch {recipe.batch_size}, "
        f"{config.precision}"
    )


def _config(dataset, method, imbalance, minority, profile, keep, precision, beta, margin, settings, folds, **options):
    """The `RunConfig` that the options ask for."""
    from arconvl_tf import hardware
    from arconvl_tf.experiments.configuration import RunConfig

    dataset, imbalance = dataset_and_imbalance(dataset, imbalance, minority, profile, keep)
    named = {name: value for name, value in (("beta", beta), ("margin", margin)) if value is not None}
    for name in settings.keys() & named.keys():
        raise click.UsageError(f"Expected {name} once. Received: --{name} and --set {name}")
    loss_options = METHODS[method].changed_options(dataset, {**settings, **named})
    # Bad settings are refused before any data are read.
    objective = METHODS[method].make_objective([1, 1], **loss_options)
    if options["head"] == "linear" and objective.reads_distances:
        raise click.UsageError(f"Expected a method that reads logits alone with --head linear. Received: --method {method}")
    changes = {field.name: options.pop(field.name, None) for field in dataclasses.fields(recipes.Recipe)}
    recipe = recipes.recipe_for(dataset, changes["backbone"], changes["fine_tune"]).changed(**changes)
    recipes.refuse_idle(recipe, {name for name, value in changes.items() if value is not None})
    return RunConfig(
        dataset,
        recipe,
        data=taken_data_options(options),
        method=method,
        imbalance=imbalance,
        folds=folds or 0,
        precision=hardware.default_precision() if precision == "auto" else precision,
        loss_options=loss_options,
        **options,
    )


def _report(metrics, config):
    print_metrics(metrics, metrics["test"], config)
    for remark in metrics.get("remarks", ()):
        CONSOLE.print(f"[yellow]{escape(remark)}[/yellow]")
    # Runs of version 0.1 don't say how their epoch was chosen.
    CONSOLE.print(metrics.get("choice", f"Epoch {metrics['best_epoch']} was best on validation."))
