"""Every formula again, in float64 and one sample at a time: slow, plain, and independent of the library."""

import math

import numpy as np


def squared_distance(a, b):
    return sum((float(x) - float(y)) ** 2 for x, y in zip(a, b))


def log_softmax_at(logits, label):
    largest = max(logits)
    return logits[label] - largest - math.log(sum(math.exp(value - largest) for value in logits))


def geometry(centers, radii):
    """Eqs. 3, 4, 5, 7 → (R_ben², R_upp², β, σ²)."""
    nearest = [
        min(squared_distance(own, other) for j, other in enumerate(centers) if j != i) for i, own in enumerate(centers)
    ]
    benchmark = min(nearest) / 4
    upper = max(max(float(radius) ** 2 for radius in radii), max(nearest) / 4)
    beta = min(1.0, upper / benchmark - 1)
    return benchmark, upper, beta, min(benchmark, upper - benchmark)


def arconvl_terms(features, labels, centers, radii, counts, gamma=0.05, frozen_geometry=None, own_distances=None):
    """Eqs. 2, 6, 8. `frozen_geometry` (β, σ²) and `own_distances` (d*) stand for the non-learnable values."""
    k, n = len(centers), len(features)
    alpha = [max(counts) / count for count in counts]
    weights = [value / (sum(alpha) / k) for value in alpha]
    priors = [count / sum(counts) for count in counts]
    beta, margin = frozen_geometry if frozen_geometry is not None else geometry(centers, radii)[2:]
    region = distribution = cross_entropy = center = 0.0
    for i, (feature, label) in enumerate(zip(features, labels)):
        distances = [squared_distance(feature, other) for other in centers]
        reach = math.sqrt(distances[label]) if own_distances is None else own_distances[i]
        radius = float(radii[label])
        region += alpha[label] * (max(0.0, reach - radius) ** 2 + gamma * radius**2) / n
        distribution += beta * weights[label] * distances[label] / n
        logits = [-distances[j] + (margin if j != label else 0.0) + math.log(priors[j]) for j in range(k)]
        cross_entropy -= log_softmax_at(logits, label) / n
    for j in range(k):
        logits = [-squared_distance(centers[j], centers[i]) + (margin if i != j else 0.0) for i in range(k)]
        center -= log_softmax_at(logits, j) / k
    return {"region": region, "distribution": distribution, "margin": cross_entropy, "center": center}


def numerical_gradient(function, values, step=1e-5):
    """Central differences of a scalar function of one float64 array."""
    values = np.array(values, dtype="float64")
    gradient = np.zeros_like(values)
    for index in np.ndindex(values.shape):
        shifted = values.copy()
        shifted[index] += step
        above = function(shifted)
        shifted[index] -= 2 * step
        gradient[index] = (above - function(shifted)) / (2 * step)
    return gradient
