"""What a model is trained on: named terms of a batch, and the one place where samples become a mean.

An `Objective` says what every sample loses; `reduce` alone knows sample weights, empty batches and several replicas.
The checks of an objective's arguments stand here as well.
"""

import abc
import inspect
import math
import numbers
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class Term(NamedTuple):
    """One term of an objective where the losses of the samples alone don't say it all.

    `values`: losses of the samples, shape (n,). `scale`: a scalar that multiplies their mean, Eq. 6's β for instance.
    `divisor`: shape (n,); the mean is divided by the mean of these, a constant to the gradient, so that the loss becomes
    `Σ_i v_i / Σ_i u_i` (without sample weights) and keeps its size whatever the weights inside `values`.
    """

    values: tf.Tensor
    scale: tf.Tensor | float | None = None
    divisor: tf.Tensor | None = None


def reduce(term: "Term | tf.Tensor | float", sample_weight: tf.Tensor | None = None) -> tf.Tensor:
    """The scalar that a term adds to the loss of this replica.

    Losses of samples become `1/n Σ_i w_i v_i` with n the samples of the global batch, as in Keras'
    `sum_over_batch_size`; an empty batch gives 0. A scalar is a term of the parameters alone, of which every replica
    takes its share. So the sum over the replicas is what one device would make of the whole batch.

    Args:
        term: losses of the samples, shape (n,); a `Term`; or a scalar that does not depend on the samples.
        sample_weight: optional weights, shape (n,) or (n, 1).

    Returns:
        A scalar.

    Example:
        >>> float(reduce(tf.constant([1.0, 3.0]))), float(reduce(tf.constant([1.0, 3.0]), tf.constant([1.0, 0.0])))
        (2.0, 0.5)
        >>> float(reduce(Term(tf.constant([1.0, 3.0]), scale=2.0, divisor=tf.constant([4.0, 4.0]))))
        1.0
    """
    term = term if isinstance(term, Term) else Term(tf.convert_to_tensor(term))
    if term.values.shape.rank == 0:
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return term.values if replicas == 1 else term.values / replicas
    mean = tf.math.divide_no_nan(_weighted_sum(term.values, sample_weight), _count(term.values))
    if term.divisor is not None:
        mean = tf.math.divide_no_nan(mean, _average(tf.stop_gradient(term.divisor), sample_weight))
    return mean if term.scale is None else term.scale * mean


def _weighted_sum(values, sample_weight):
    if sample_weight is not None:
        values = values * tf.reshape(tf.cast(sample_weight, values.dtype), [-1])
    return tf.reduce_sum(values)


def _count(values):
    return _over_replicas(tf.cast(tf.size(values), values.dtype))


def _average(values, sample_weight):
    """`Σ_i w_i v_i / Σ_i w_i` over the global batch."""
    totals = [_over_replicas(_weighted_sum(each, sample_weight)) for each in (values, tf.ones_like(values))]
    return tf.math.divide_no_nan(*totals)


def _over_replicas(total):
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return total
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, total)


class Objective(abc.ABC):
    """What `PrototypeClassifier.compile(objective=…)` takes.

    A subclass declares `term_names`, defines `call`, and keeps each constructor argument as an attribute of that name.
    The sum of the reduced terms is the objective; `fit` logs each as `NAME_loss`.

    Attributes:
        term_names: the terms that are added up.
        readout_names: scalars that `call` returns as well, for the training log only.
        learns_radii: whether a gradient reaches the radii, which then need an optimizer.
        reads_distances: whether it takes `squared_distances` or `centers` for lengths and places, rather than minus
            `squared_distances` for logits: then it can't stand beside a linear head.

    Example:
        >>> class Squared(Objective):
        ...     term_names = ("squared",)
        ...     def call(self, labels, squared_distances, centers, radii):
        ...         return {"squared": tf.gather(squared_distances, labels, axis=1, batch_dims=1)}
        >>> terms = Squared()(labels=tf.constant([0, 1]), squared_distances=tf.constant([[1.0, 9.0], [4.0, 3.0]]))
        >>> float(terms["squared"])
        2.0
    """

    term_names: tuple[str, ...] = ()
    readout_names: tuple[str, ...] = ()
    learns_radii: bool = False
    reads_distances: bool = False

    @abc.abstractmethod
    def call(self, labels, squared_distances, centers, radii):
        """What one batch loses.

        Args:
            labels: integers in 0..k−1, shape (n,).
            squared_distances: of every sample to every centre, shape (n, k).
            centers: shape (k, d).
            radii: shape (k,).
            **state: the scalars of `initial_state`, as they stand.

        Returns:
            A dict that holds for each of `term_names` the losses of the samples (n,), a `Term`, or a scalar where the
            term depends on the parameters alone. With `readout_names` a pair of that dict and one of named scalars.
        """

    def initial_state(self) -> dict[str, float]:
        """Scalars that are switched while a model trains: it keeps each as a variable of its own and passes it on."""
        return {}

    def __call__(self, labels, squared_distances, centers=None, radii=None, sample_weight=None, **state):
        """The terms of one batch, reduced: a dict of scalars. Arguments as for `call`; `sample_weight` has shape (n,)."""
        return self.terms_and_readouts(labels, squared_distances, centers, radii, sample_weight, **state)[0]

    def terms_and_readouts(self, labels, squared_distances, centers, radii, sample_weight=None, **state):
        """As `__call__`, and the read-outs beside it: two dicts of scalars."""
        result = self.call(labels, squared_distances, centers, radii, **{**self.initial_state(), **state})
        terms, readouts = result if self.readout_names else (result, {})
        self._check("term_names", terms, max_rank=1)
        self._check("readout_names", readouts, max_rank=0)
        return {name: reduce(terms[name], sample_weight) for name in self.term_names}, readouts

    def _check(self, declaration, values, max_rank):
        """Another set of names would be logged in the wrong place; of a matrix nobody could say what its mean is."""
        names = getattr(self, declaration)
        given = {}
        if isinstance(values, dict):
            plain = {name: value.values if isinstance(value, Term) else value for name, value in values.items()}
            given = {name: tf.TensorShape(getattr(value, "shape", ())) for name, value in plain.items()}
        if set(given) != set(names) or any((shape.rank or 0) > max_rank for shape in given.values()):
            kind = "losses of samples, shape (n,), or scalars" if max_rank else "scalars"
            received = ", ".join(f"{name} {shape}" for name, shape in given.items()) or repr(values)
            raise ValueError(
                f"Expected {type(self).__name__}.call to return the {kind} that its `{declaration}` declares, "
                f"{', '.join(names) or 'none so far'}. Received: {received}"
            )

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def validate_class_counts(class_counts) -> np.ndarray:
    """Returns `class_counts` as a float64 vector, or says what is wrong with it.

    Raises:
        ValueError: if the counts are not a vector of at least two positive, finite numbers.
    """
    try:
        counts = np.asarray(class_counts, dtype="float64")
    except (TypeError, ValueError):  # words, a Counter or another mapping
        counts = np.zeros(0)
    if counts.ndim != 1 or len(counts) < 2 or not np.all(np.isfinite(counts)) or np.any(counts <= 0):
        raise ValueError(
            "Expected `class_counts` to hold one positive number for each of at least two classes (an empty class "
            f"has no prior: leave it out and number the others from 0). Received: class_counts={class_counts}"
        )
    return counts


def at_least_zero(name, value):
    """Returns a loss's number, or says that it is negative, infinite or NaN."""
    if not (isinstance(value, numbers.Real) and 0 <= value < math.inf):
        raise ValueError(f"Expected `{name}` to be a number ≥ 0. Received: {name}={value}")
    return value


def above_zero(name, value):
    """Returns a loss's number, or says that it is not positive, or infinite or NaN."""
    if not (isinstance(value, numbers.Real) and 0 < value < math.inf):
        raise ValueError(f"Expected `{name}` to be a number > 0. Received: {name}={value}")
    return value


def yes_or_no(name, value):
    """Returns a loss's switch as a bool; the command line says 1 and 0."""
    if value not in (0, 1):
        raise ValueError(f"Expected `{name}` to be 1 or 0. Received: {name}={value}")
    return bool(value)


def one_of(name, value, choices):
    """Returns a loss's choice, or says what there is to choose from."""
    if value not in choices:
        words = " or ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"Expected `{name}` to be {words}. Received: {name}={value!r}")
    return value
