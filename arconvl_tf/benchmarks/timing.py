"""The clock of every benchmark: callables that take turns."""

import random
import statistics
import time


def take_turns(variants, repeats, per=1):
    """Times callables in turn, after one untimed round; every round has an order of its own.

    Args:
        variants: `{name: callable}`.
        repeats: timed rounds.
        per: units of work in one call, by which the seconds are divided.

    Returns:
        `{name: {"median", "min", "max"}}`, seconds per unit.
    """
    seconds = {name: [] for name in variants}
    shuffled = random.Random(0)
    for round_number in range(repeats + 1):
        for name in shuffled.sample(list(variants), len(variants)):
            started = time.perf_counter()
            variants[name]()
            if round_number:
                seconds[name].append((time.perf_counter() - started) / per)
    return {
        name: {"median": statistics.median(values), "min": min(values), "max": max(values)}
        for name, values in seconds.items()
    }
