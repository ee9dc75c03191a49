"""Pictures that show the same thing twice, and so must not stand on both sides of a split.

A picture is described by the direction in which its brightness changes, at each place of a small thumbnail: exposure, size,
compression and a little noise leave that as it is. Colour is not looked at; a mirrored, turned or cropped copy is another
picture. Near-duplicates of near-duplicates are one group. The largest is worth a look: pictures that all show one thing in
one place (handwritten digits, X-rays) may be alike enough to be chained.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SIZE = 16
# Of the places, fewer than these tell too little: only a copy, pixel for pixel, is then a duplicate.
LEAST_STRUCTURE = 0.1
# Chosen on magnetic tiles under six exposures, whose file names tell them apart (of the pairs put together 90 % are of one
# tile, of a tile's pairs 79 % are found; at 0.65 tiles begin to be chained), and on CIFAR-10, where one picture in a
# thousand has another at 0.67 or nearer.
SIMILAR = 0.75
SIMILAR_FEATURES = 0.95
ROUNDING = 1e-5
BLOCK = 1024  # rows compared with as many others at a time


def picture_hashes(pictures: Iterable[np.ndarray]) -> np.ndarray:
    """Describes pictures by the signs of their gradients (a "difference hash" both ways).

    Args:
        pictures: uint8 arrays (h, w), (h, w, 1) or (h, w, 3), of equal size or not; one is held at a time.

    Returns:
        int8 array of −1, 0 and 1, shape (n, 480). A picture with next to no structure has random signs, drawn from its
        pixels.

    Example:
        >>> grey = np.add.outer(np.arange(64), np.arange(64)).astype("uint8")  # brighter downwards and to the right
        >>> picture_hashes([grey, grey[::2, ::2], 255 - grey]).mean(axis=1).tolist()
        [1.0, 1.0, -1.0]
    """
    return np.stack([_hash(np.asarray(picture)) for picture in pictures])


def near_duplicates(hashes: np.ndarray, similarity: float = SIMILAR) -> np.ndarray:
    """Groups of pictures that are connected by near-duplicates.

    Takes time with n² (half a minute of one core for 50,000 pictures) and memory with n.

    Args:
        hashes: of `picture_hashes`, shape (n, 480).
        similarity: of two near-duplicates at least, the cosine of their hashes, in −1..1. Of two different photographs it
            is around 0, and hardly ever above 0.6; of copies 1.

    Returns:
        Group numbers 0..g−1, shape (n,).

    Example:
        >>> noise = np.random.default_rng(0).integers(0, 200, (3, 32, 32), "uint8")
        >>> near_duplicates(picture_hashes([*noise, noise[0] + 40, noise[2] // 2])).tolist()
        [0, 1, 2, 0, 2]
    """
    return _connected(_unit(hashes.astype("float32")), similarity)


def by_features(features: np.ndarray, similarity: float = SIMILAR_FEATURES) -> np.ndarray:
    """As `near_duplicates`, from feature vectors, where pictures are not at hand.

    Features of a network tell classes apart, not pictures: they find fewer near-duplicates than hashes, and chain more.

    Args:
        features: shape (n, d).
        similarity: least cosine of two near-duplicates, once the mean of all is taken off.

    Returns:
        Group numbers 0..g−1, shape (n,).

    Example:
        >>> by_features([[1.0, 0.0], [0.0, 1.0], [1.0, 0.01], [-1.0, -1.0]]).tolist()
        [0, 1, 0, 2]
    """
    features = np.asarray(features, dtype="float32")
    return _connected(_unit(features - features.mean(axis=0)), similarity)


def joined(groups: np.ndarray, duplicates: np.ndarray) -> np.ndarray:
    """The finest groups that tear neither of two groupings.

    Args:
        groups: numbers or words, shape (n,), for instance the user's own.
        duplicates: numbers or words, shape (n,), for instance those of `near_duplicates`.

    Returns:
        Group numbers 0..g−1, shape (n,).

    Example:
        >>> joined(np.array(["a", "a", "b", "c", "c"]), np.array([0, 1, 1, 2, 3])).tolist()
        [0, 0, 0, 1, 1]
    """
    _, first = np.unique(groups, return_inverse=True)
    _, second = np.unique(duplicates, return_inverse=True)
    second += len(first)  # nodes of their own: each sample connects one group with another
    return np.unique(_components(first, second, 2 * len(first))[first], return_inverse=True)[1]


def share_across(groups: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Share of the test samples that have one of their own group in training.

    Args:
        groups: numbers or words, shape (n,).
        train, test: indices into them.

    Example:
        >>> share_across(np.array([0, 0, 1, 2, 2]), train=[0, 3], test=[1, 2])
        0.5
    """
    return float(np.isin(groups[test], groups[train]).mean())


def _hash(picture):
    plane = picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture
    small = np.asarray(Image.fromarray(plane).convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR), dtype="int16")
    signs = np.sign(np.concatenate([np.diff(small, axis=axis).ravel() for axis in (0, 1)])).astype("int8")
    if np.count_nonzero(signs) < LEAST_STRUCTURE * len(signs):
        pixels = hashlib.blake2b(repr(plane.shape).encode() + plane.tobytes(), digest_size=16).digest()
        signs = np.random.default_rng(list(pixels)).choice(np.array([-1, 1], dtype="int8"), len(signs))
    return signs


def _unit(vectors):
    """Of length 1; those without a direction share one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.full_like(vectors, vectors.shape[1] ** -0.5), where=lengths > 0)


def _connected(vectors, similarity):
    """Components of unit vectors, two of which are connected if their cosine is `similarity` or more."""
    groups = np.arange(len(vectors))
    for start in range(0, len(vectors), BLOCK):
        for other in range(start, len(vectors), BLOCK):
            rows, columns = slice(start, start + BLOCK), slice(other, other + BLOCK)
            near = vectors[rows] @ vectors[columns].T >= similarity - ROUNDING
            near &= groups[rows, None] != groups[columns]  # where they aren't connected already
            if near.any():
                first, second = np.nonzero(near)
                groups = _components(groups[rows][first], groups[columns][second], len(vectors))[groups]
    return np.unique(groups, return_inverse=True)[1]


def _components(first, second, number):
    """Of a graph of `number` nodes with edges from `first` to `second`."""
    edges = coo_array((np.ones(len(first), dtype="bool"), (first, second)), shape=(number, number))
    return connected_components(edges, directed=False)[1]
