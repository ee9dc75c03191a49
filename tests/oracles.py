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


def baseline_terms(name, features, labels, centers, counts, frozen=None, **options):
    """The competitors' terms by loops; names are those of the command line.

    `frozen` is the point (features, centers) at which a divisor without a gradient is taken; by default the same.
    """
    k, n = len(centers), len(features)
    terms = {}

    def add(term, value):
        terms[term] = terms.get(term, 0.0) + value / n

    total = sum(counts)
    raw_weights = [1 / sum(options.get("effective_number_beta", 0.9999) ** i for i in range(int(c))) for c in counts]
    weights = [weight * k / sum(raw_weights) for weight in raw_weights]
    if options.get("weighted_mean", name == "cb-focal"):
        mean_weight = sum(weights[label] for label in labels) / n
        weights = [weight / mean_weight for weight in weights]
    divisor = 1.0
    if options.get("normalized", name == "focal"):
        divisor, (frozen_features, frozen_centers) = 0.0, frozen or (features, centers)
        for feature, label in zip(frozen_features, labels):
            distances = [squared_distance(feature, center) for center in frozen_centers]
            p = math.exp(log_softmax_at([-distance for distance in distances], label))
            divisor += (1 - p) ** options.get("focusing", 2.0) / n
    for feature, label in zip(features, labels):
        distances = [squared_distance(feature, center) for center in centers]
        log_p = log_softmax_at([-distance for distance in distances], label)
        doubt = 1 - math.exp(log_p)
        if name in ("cpl", "gcpl"):
            add("cross_entropy", -log_p)
        if name == "gcpl":
            add("pull", options.get("pull_weight", 0.1) * distances[label])
        if name == "focal":
            add("focal", doubt ** options.get("focusing", 2.0) * -log_p / divisor)
        if name == "cb":
            add("class_balanced", weights[label] * -log_p)
        if name == "cb-focal":
            add("class_balanced", weights[label] * doubt ** options.get("focusing", 2.0) * -log_p)
        if name == "la":
            tau = options.get("temperature", 1.0)
            raised = [-distance + tau * math.log(count / total) for distance, count in zip(distances, counts)]
            add("cross_entropy", -log_softmax_at(raised, label))
        if name == "ldam-drw":
            margin = options.get("max_margin", 0.5) * (min(counts) / counts[label]) ** 0.25
            scale = options.get("scale", 1.0)
            logits = [scale * (-distance - (margin if j == label else 0.0)) for j, distance in enumerate(distances)]
            share = n * weights[label] / sum(weights[other] for other in labels) if options.get("reweighting") else 1.0
            add("cross_entropy", -log_softmax_at(logits, label) * share)
        if name == "affinity":
            near = [math.exp(-distance / options.get("bandwidth", 10.0)) for distance in distances]
            lam = options.get("affinity_margin", 0.75)
            add("affinity", sum(max(0.0, lam + near[j] - near[label]) for j in range(k) if j != label))
    if name == "affinity":
        pairs = [squared_distance(centers[i], centers[j]) for i in range(k) for j in range(i)]
        mean = sum(pairs) / len(pairs)
        terms["diversity"] = sum((pair - mean) ** 2 for pair in pairs) / len(pairs)
    return terms
