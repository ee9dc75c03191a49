"""`arconvl evaluate`."""

import dataclasses
import functools

import click

from arconvl_tf.cli.options import FROM_ZERO, TFDS_FOLDER, Command
from arconvl_tf.cli.output import print_metrics, quiet_import


@click.command(cls=Command)
@click.argument("directory", type=click.Path())
@click.option("--split", type=click.Choice(["validation", "test"]), default="test", show_default=True)
@click.option("--data-dir", type=click.Path(), help=TFDS_FOLDER)
@click.option("--dataset", help="Where the run's own pictures lie now, if they have moved.")
@click.option("--logit-adjustment", type=FROM_ZERO, help="τ of a post-hoc logit adjustment by the training counts.")
def evaluate(directory, split, data_dir, dataset, logit_adjustment):
    """Measures the model of a finished run again."""
    with quiet_import():
        from arconvl_tf.baselines import adjusted_logits
        from arconvl_tf.experiments.evaluation import evaluate as measured
        from arconvl_tf.experiments.preparation import fingerprint, load_pictures, split_pictures
        from arconvl_tf.experiments.run_directory import RunDirectory

    directory = RunDirectory(directory)
    config = directory.config()
    if dataset is not None:
        config = dataclasses.replace(config, dataset=dataset)
    model = directory.model()
    if config.folds:
        raise click.ClickException(
            f"Expected a run without --folds. {directory} tested every sample once, and its model has seen them all: see "
            "metrics.json"
        )
    pictures = load_pictures(config, data_dir)
    splits = split_pictures(config, pictures)
    directory.check_data(splits, fingerprint(config, pictures))
    if getattr(splits, split) is None:
        raise click.ClickException(f"Expected --split test: {directory} set no validation samples aside")
    adjust = None
    if logit_adjustment is not None:
        adjust = functools.partial(adjusted_logits, class_counts=splits.class_counts, temperature=logit_adjustment)
    result = measured(model, getattr(splits, split), adjust)
    about = {"class_counts": splits.class_counts, "class_names": splits.class_names}
    print_metrics(about, result, config if split == "test" and adjust is None else None)
