"""`arconvl benchmark`."""

import json
import pathlib

import click
from rich.table import Table

from arconvl_tf import benchmarks
from arconvl_tf.cli.options import Command
from arconvl_tf.cli.output import CONSOLE, quiet_import


@click.command(cls=Command)
@click.option("--section", "sections", type=click.Choice(benchmarks.SECTIONS), multiple=True, help="Default: all.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Rounds of taking turns.")
@click.option("--steps", type=click.IntRange(min=1), default=10, show_default=True, help="Training steps of one turn.")
@click.option("--out", type=click.Path(dir_okay=False), help="Also write the measurements as JSON.")
def benchmark(sections, repeats, steps, out):
    """Measures this machine: training steps, data, evaluation, the region head, start-up, parallel runs."""
    with quiet_import():
        results = benchmarks.run(sections or None, repeats, steps)
    CONSOLE.print(results["machine"])
    for section in sections or benchmarks.SECTIONS:
        measured = results[section]
        names = list(dict.fromkeys(name for values in measured.values() for name in values))
        table = Table(*[title.replace("_", " ") for title in (section, *names)])
        for variant, values in measured.items():
            table.add_row(variant, *[f"{values[name]:.4g}" if name in values else "" for name in names])
        CONSOLE.print(table)
    if out:
        pathlib.Path(out).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
