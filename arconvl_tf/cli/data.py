"""`arconvl data`."""

import click
from rich.markup import escape
from rich.table import Table

from arconvl_tf.cli.options import Command, data_options, dataset_and_imbalance, taken_data_options
from arconvl_tf.cli.output import CONSOLE, quiet_import
from arconvl_tf.experiments.recipes import recipe_for

SIDES = ("train", "validation", "test")


@click.command(cls=Command)
@click.argument("dataset", default="digits")
@data_options
@click.option("--out", type=click.Path(dir_okay=False), default="pictures.png", show_default=True, help="Picture sheet.")
def data(dataset, out, imbalance, minority, profile, keep, seed, split_seed, data_dir, **options):
    """Shows a data set: samples by class and split, pictures that training and test share, a sheet of examples."""
    with quiet_import():
        from arconvl_tf.data import inspection
        from arconvl_tf.data.catalog import load_sides
        from arconvl_tf.data.pipeline import assemble
        from arconvl_tf.data.sampling import Sampling
        from arconvl_tf.experiments import figures

    dataset, imbalance = dataset_and_imbalance(dataset, imbalance, minority, profile, keep)
    share = 0.0 if recipe_for(dataset).choice == "last" else 0.1
    sampling = Sampling(imbalance, seed, split_seed=split_seed, validation_share=share)
    sides = load_sides(dataset, taken_data_options(options), data_dir=data_dir, seed=sampling.sides_seed)
    splits = assemble(sides, sampling)
    largest = max(splits.class_counts)
    table = Table("class", "train", "validation", "test", "train and validation")
    for label, (name, count) in enumerate(zip(splits.class_names, splits.class_counts)):
        parts = [str(splits.split_counts[side][label]) if side in splits.split_counts else "" for side in SIDES]
        table.add_row(escape(name), *parts, "█" * max(1, round(30 * count / largest)))
    CONSOLE.print(table)
    kind = "pictures" if len(splits.image_shape) == 3 else "vectors"
    CONSOLE.print(f"imbalance ratio {largest / min(splits.class_counts):.4g}, {kind} {splits.image_shape}")
    for remark in sides.remarks:
        CONSOLE.print(f"[yellow]{escape(remark)}[/yellow]")
    if len(splits.image_shape) == 1:
        return
    seen = splits.train if splits.validation is None else splits.train.concatenate(splits.validation)
    shared = inspection.shared_pictures(seen, splits.test)
    CONSOLE.print(f"test pictures that training or validation shows as well: {shared}")
    sheet = inspection.examples(splits.train, splits.split_counts["train"], per_class=8)
    figures.draw_picture_sheet(sheet, splits.class_counts, splits.class_names).savefig(out, dpi=120)
    CONSOLE.print(f"Examples (rare classes in red): [bold]{escape(str(out))}[/bold]")
