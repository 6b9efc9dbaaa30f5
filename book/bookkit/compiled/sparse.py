"""Products of mostly black images with wide matrices, at the cost of the pixels that are not black.

Four of five of MNIST's pixels are zero. Dense products multiply by them all the same, and
TensorFlow's and SciPy's sparse ones are no faster than dense ones here; these are. A column of a
result does not depend on the other columns, to the last bit. Images are kept by rows (CSR) for the
product; a mini-batch is transposed for the gradient.
"""

import typing

import numpy as np

from bookkit.compiled.jit import compiled

GROUP = 4  # rows added together: fewer loads and stores of the sum


class Sparse(typing.NamedTuple):
    """A sparse matrix: row i has `value[k]` at `indices[k]`, for k in start[i]:start[i + 1].

    Each row is padded to a multiple of `GROUP` with zeros at its last index.
    """

    start: np.ndarray
    indices: np.ndarray
    value: np.ndarray


@compiled
def rows(images: np.ndarray) -> Sparse:
    """Turn images [N, D] into rows of pixels."""
    start = np.zeros(len(images) + 1, np.int64)
    for i in range(len(images)):
        start[i + 1] = start[i] + (np.count_nonzero(images[i]) + GROUP - 1) // GROUP * GROUP
    index, value = np.zeros(start[-1], np.int32), np.zeros(start[-1], images.dtype)
    for i in range(len(images)):
        pixels = np.flatnonzero(images[i])
        if len(pixels):
            index[start[i] : start[i + 1]] = pixels[-1]
            index[start[i] : start[i] + len(pixels)] = pixels
            value[start[i] : start[i] + len(pixels)] = images[i][pixels]
    return Sparse(start, index, value)


@compiled
def columns(chosen: np.ndarray, images: Sparse, pixels: int) -> Sparse:
    """Turn the images numbered `chosen`, of `pixels` pixels, into one row per pixel."""
    start, place = np.zeros(pixels + 1, np.int64), np.zeros(pixels, np.int32)
    for image in chosen:
        for k in range(images.start[image], images.start[image + 1]):
            place[images.indices[k]] += 1
    for pixel in range(pixels):
        count = place[pixel]
        place[pixel] = start[pixel]  # from here on: where the pixel's next value goes
        start[pixel + 1] = start[pixel] + (count + GROUP - 1) // GROUP * GROUP
    index, value = np.zeros(start[-1], np.int32), np.zeros(start[-1], images.value.dtype)
    for i in range(len(chosen)):
        for k in range(images.start[chosen[i]], images.start[chosen[i] + 1]):
            pixel = images.indices[k]
            index[place[pixel]], value[place[pixel]] = i, images.value[k]
            place[pixel] += 1
    return Sparse(start, index, value)


@compiled
def add_product(chosen: np.ndarray, sparse: Sparse, matrix: np.ndarray, out: np.ndarray) -> None:
    """Add to each out[i] the row of `sparse` numbered chosen[i] times `matrix`."""
    value, index = sparse.value, sparse.indices
    for i in range(len(chosen)):
        total = out[i]
        for k in range(sparse.start[chosen[i]], sparse.start[chosen[i] + 1], GROUP):
            m0, m1, m2, m3 = (
                matrix[index[k]],
                matrix[index[k + 1]],
                matrix[index[k + 2]],
                matrix[index[k + 3]],
            )
            v0, v1, v2, v3 = value[k], value[k + 1], value[k + 2], value[k + 3]
            for j in range(len(total)):
                total[j] += v0 * m0[j] + v1 * m1[j] + v2 * m2[j] + v3 * m3[j]
