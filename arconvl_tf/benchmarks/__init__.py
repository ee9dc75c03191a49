"""`arconvl benchmark`: how fast this machine trains, and where time and memory go.

Variants that are compared take turns in one run, so that a machine that slows down slows all of them; quote medians and
ratios. Nothing here is a test: a slow machine measures slow, it fails nothing. What was learnt with it, with numbers,
stands in notebooks/results/README.md.

A section is the module of its name, with a function `measure(repeats, steps)`. Sections are imported when they run: the
command line lists them in its --help, before TensorFlow could be imported.
"""

import importlib

SECTIONS = (
    "training_step",
    "against_cross_entropy",
    "activation",
    "input_pipeline",
    "picture_folder",
    "evaluation",
    "region_head",
    "start_up",
    "parallel_runs",
    "memory_of_fit",
)


def run(sections=None, repeats=5, steps=10):
    """Measures the chosen sections.

    Args:
        sections: names among `SECTIONS`; all of them by default.
        repeats: how often the variants of a section take turns.
        steps: training steps of one turn.

    Returns:
        `{"machine": {...}, section: {variant: {"median", "min", "max", ...}}}`, seconds unless the name says otherwise.
    """
    from arconvl_tf.benchmarks import machine

    results = {"machine": machine.describe()}
    for name in sections or SECTIONS:
        results[name] = importlib.import_module(f"{__name__}.{name}").measure(repeats, steps)
    return results
