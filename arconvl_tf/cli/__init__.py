"""The command `arconvl`. TensorFlow is imported by the subcommands, so that --help answers at once."""

import os
import sys
import types

import click

from arconvl_tf import __version__
from arconvl_tf.cli.benchmark import benchmark
from arconvl_tf.cli.data import data
from arconvl_tf.cli.evaluate import evaluate
from arconvl_tf.cli.predict import predict
from arconvl_tf.cli.train import train


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="arconvl")
def cli():
    """Region-based learning for imbalanced image classes (ARConvL, ECML-PKDD 2023)."""


for _command in (train, evaluate, predict, data, benchmark):
    cli.add_command(_command)


def main():
    """Runs the command line; every failure is one line and a non-zero exit status, `--debug` shows where it came from."""
    for stream in (sys.stdout, sys.stderr):  # a letter that a terminal or a pipe can't show must not end a training
        stream.reconfigure(errors="backslashreplace")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # TensorFlow leaves oneDNN off on processors without AVX-512, where it helps as well: see notebooks/results/README.md.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    settings = types.SimpleNamespace(debug=False)
    try:
        sys.exit(cli(standalone_mode=False, obj=settings))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except Exception as error:
        if settings.debug:
            raise
        _fail(_in_words(error), 1)


def _in_words(error):
    # TensorFlow's own errors: out of memory, a picture that vanished; known by name, without importing it for --help.
    if isinstance(error, (ValueError, OSError)) or type(error).__module__.startswith("tensorflow"):
        return str(error)
    return f"{type(error).__name__}: {error} (a fault of arconvl itself? --debug shows where)"


def _fail(message, status):
    click.echo("arconvl: " + " ".join(message.split()), err=True)
    sys.exit(status)
