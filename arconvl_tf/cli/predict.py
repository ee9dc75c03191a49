"""`arconvl predict`."""

import contextlib
import csv
import json
import sys

import click

from arconvl_tf.cli.options import Command
from arconvl_tf.cli.output import quiet_import


@click.command(cls=Command)
@click.argument("directory", type=click.Path())
@click.argument("paths", nargs=-1, required=True, type=click.Path())
@click.option("--probabilities", is_flag=True, help="Those of all classes: a column p_CLASS for each.")
@click.option("--format", "output_format", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
@click.option("--out", type=click.Path(dir_okay=False), help="A file in place of standard output.")
def predict(directory, paths, probabilities, output_format, out):
    """Classifies pictures: class, probability, distance to the centre, whether inside the region.

    DIRECTORY is that of a finished run; PATHS are pictures, folders of them or patterns, or one .npz file for a model
    of feature vectors. Files that can't be read are named on standard error, a line each, after the rows of all
    others; the exit status is 1 then.
    """
    with quiet_import():
        from arconvl_tf.data.images import complaint
        from arconvl_tf.experiments.classification import classify
        from arconvl_tf.experiments.run_directory import RunDirectory

    rows, unreadable = classify(RunDirectory(directory), paths, probabilities)
    with _opened(out) as file:
        write = _write_json if output_format == "json" else _write_csv
        write(rows, file)
    for path, why in unreadable.items():
        click.echo(f"arconvl: {complaint({path: why})}", err=True)
    sys.exit(1 if unreadable else 0)


def _opened(out):
    # As `cli.main` has it for standard output.
    return open(out, "w", encoding="utf-8", errors="backslashreplace") if out else contextlib.nullcontext(sys.stdout)


def _write_csv(rows, file):
    writer = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)


def _write_json(rows, file):
    """A list, row by row: there may be more of them than fit in memory."""
    before = "[\n"
    for row in rows:
        file.write(before + json.dumps(row))
        before = ",\n"
    file.write("[]\n" if before == "[\n" else "\n]\n")
