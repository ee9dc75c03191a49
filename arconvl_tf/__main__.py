"""`python -m arconvl_tf`, the command `arconvl`."""

from arconvl_tf.cli import main

main()
