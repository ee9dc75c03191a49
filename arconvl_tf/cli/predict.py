"""`arconvl predict`."""

import csv
import json
import sys

import click

from arconvl_tf.cli.options import Command
from arconvl_tf.cli.output import quiet_import


@click.command(cls=Command)
@click.argument("directory", type=click.Path())
@click.argument("images", nargs=-1, required=True, type=click.Path())
@click.option("--format", "output_format", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
def predict(directory, images, output_format):
    """Classifies pictures: class, probability, distance to the centre, whether inside the region.

    Files that can't be decoded are named on standard error, after the rows of all others; the exit status is 1 then.
    """
    with quiet_import():
        from arconvl_tf.data.images import complaint
        from arconvl_tf.experiments.prediction import predict_images
        from arconvl_tf.experiments.run_directory import RunDirectory

    rows, unreadable = predict_images(RunDirectory(directory), images)
    if output_format == "json":
        click.echo(json.dumps(rows, indent=1))
    elif rows:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    if unreadable:
        raise click.ClickException(complaint(unreadable))
