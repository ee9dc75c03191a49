"""Where a network can be cut in two, so that the lower part runs once and only the upper part is trained."""

import collections
import difflib
import math

import keras

# Of the layers with kernels, how many the upper part may hold.
_UPPER_THIRD = (0.3, 0.45)


def cut_points(network: keras.Model) -> list[str]:
    """Names of the layers whose output alone decides the network's, from its input upwards.

    Between the branches of a residual block there is none: what runs beside would be lost.

    Args:
        network: a functional model of one input and one output, each of whose layers is called once.

    Returns:
        Names for `split_at`; neither layers before the first weight nor the last layer are among them.

    Example:
        >>> from arconvl_tf.backbones import efficientnet_lite0
        >>> cut_points(efficientnet_lite0(weights=None))[-4:]
        ['block15_project_bn', 'head_conv', 'head_bn', 'head_relu']
    """
    waiting = collections.Counter(id(tensor) for each in network.operations for tensor in _inputs(each))
    open_tensors, points, weights = set(), [], 0
    for operation in network.operations:  # each after those whose outputs it takes
        for tensor in _inputs(operation):
            waiting[id(tensor)] -= 1
            if not waiting[id(tensor)]:
                open_tensors.discard(id(tensor))
        open_tensors.add(id(operation.output))
        weights += len(getattr(operation, "weights", ()))
        if weights and open_tensors == {id(operation.output)}:
            points.append(operation.name)
    return points[:-1]


def split_at(network: keras.Model, layer: str | None = None) -> tuple[keras.Model, keras.Model]:
    """Cuts a network in two that share its layers: `upper(lower(x))` is `network(x)`, before and after training.

    Args:
        network: as in `cut_points`.
        layer: the last one of the lower part, among `cut_points`. By default the upper part gets about a third of the layers
            with kernels (0.30 to 0.45 of them): of the cuts that leave it so many, the last with the smallest tensor.

    Returns:
        (lower, upper), functional models: inputs → the layer's output → the network's output.

    Raises:
        ValueError: if the layer is no cut point (the names of some are told), or if none is given and no cut leaves about a
            third.

    Example:
        >>> from arconvl_tf.backbones import efficientnet_lite0
        >>> lower, upper = split_at(efficientnet_lite0(weights=None))
        >>> lower.layers[-1].name, lower.output_shape, upper.output_shape
        ('block10_add', (None, 14, 14, 112), (None, 1280))
    """
    points = cut_points(network)
    if layer is None:
        layer = _default(network, points)
    elif layer not in points:
        close = ", ".join(difflib.get_close_matches(layer, points, 5, cutoff=0) or points)
        raise ValueError(
            f"Expected `layer` to be a cut point of the network. Received: layer={layer!r}. Take one of {close}"
        )
    middle = next(each for each in network.operations if each.name == layer).output
    lower = keras.Model(network.input, middle, name=f"{network.name}_lower")
    return lower, keras.Model(middle, network.output, name=f"{network.name}_upper")


def _default(network, points):
    names = [each.name for each in network.operations]
    kernels = [any(len(weight.shape) > 1 for weight in getattr(each, "weights", ())) for each in network.operations]
    lowest, highest = (share * sum(kernels) for share in _UPPER_THIRD)
    allowed = [point for point in points if lowest <= sum(kernels[names.index(point) + 1 :]) <= highest]
    if not allowed:
        raise ValueError(
            "Expected a network that can be cut with a third of its layers above. Received: "
            f"{network.name}, which can be cut after {', '.join(points) or 'no layer'}. Name a layer, or take another"
        )
    sizes = {each.name: math.prod(size or 1 for size in each.output.shape) for each in network.operations}
    return min(reversed(allowed), key=sizes.get)


def _inputs(operation):
    return [] if isinstance(operation, keras.layers.InputLayer) else keras.tree.flatten(operation.input)
