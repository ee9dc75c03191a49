"""What the commands print."""

import contextlib
import os
import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

CONSOLE = Console()


def print_metrics(about, result, config=None):
    """Class recalls and their means; with the published mean, where `config` is an experiment of the paper.

    Args:
        about: `class_names` and `class_counts`.
        result: `recall`, `g_mean`, `class_wise_accuracy`.
        config: optional `RunConfig`.
    """
    from arconvl_tf.experiments.tables import published

    table = Table("class", "training samples", "recall")
    for name, count, recall in zip(about["class_names"], about["class_counts"], result["recall"]):
        table.add_row(escape(name), str(count), "no samples" if recall is None else f"{recall:.3f}")
    CONSOLE.print(table)
    for measure, label in (("g_mean", "G-mean"), ("class_wise_accuracy", "class-wise accuracy")):
        line, paper = f"{label} [bold]{result[measure]:.3f}[/bold]", None
        if config is not None and config.follows_the_paper():
            paper = published(config.dataset, config.imbalance.factor, config.method, measure, config.loss_options)
        interval = result.get(f"{measure}_interval")
        line += f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
        CONSOLE.print(line + (f" (published {paper[0]:.3f} ± {paper[1]:.3f}, ten seeds)" if paper else ""))
    lost = [name for name, recall in zip(about["class_names"], result["recall"]) if recall == 0]
    if lost:
        CONSOLE.print(f"[bold red]Collapsed[/bold red]: no sample of class {escape(', '.join(lost))} is found.")


@contextlib.contextmanager
def quiet_import():
    """Keeps the start-up chatter of native libraries, which no log level reaches, and TFDS' advice off the terminal."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
        import logging

        from absl import logging as absl_logging

        absl_logging.set_verbosity(absl_logging.ERROR)
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # that several models are trained in a process, for one
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
