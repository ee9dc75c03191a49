"""The paper, run and reported."""
