"""Products of mostly black images with wide matrices, at the cost of the pixels that are not black.

Four of five of MNIST's pixels are zero. Dense products multiply by them all the same, and
TensorFlow's and SciPy's sparse ones are no faster than dense ones here; these are. A column of a
result does not depend on the other columns, to the last bit. Images are kept by rows (CSR) for the
product; a mini-batch is transposed for the gradient.
"""

import typing

import numpy as np
import scipy.sparse

from bookkit.compiled.jit import compiled


class Sparse(typing.NamedTuple):
    """A sparse matrix: row i has `value[k]` at `indices[k]`, for k in start[i]:start[i + 1]."""

    start: np.ndarray
    indices: np.ndarray  # unsigned: as a signed index could count from the end, each use would check that
    value: np.ndarray


def rows(images: np.ndarray) -> Sparse:
    """Turn images [N, D] into rows of pixels."""
    stored = scipy.sparse.csr_array(images)
    return Sparse(stored.indptr.astype(np.int64), stored.indices.astype(np.uint32), stored.data)


@compiled
def columns(chosen: np.ndarray, images: Sparse, pixels: int) -> Sparse:
    """Turn the images numbered `chosen`, of `pixels` pixels, into one row per pixel."""
    start = np.zeros(pixels + 1, np.int64)
    for image in chosen:
        for pixel in images.indices[images.start[image] : images.start[image + 1]]:
            start[pixel + 1] += 1
    start[:] = np.cumsum(start)
    place, index = start[:-1].astype(np.uint32), np.empty(start[-1], np.uint32)
    value = np.empty(start[-1], images.value.dtype)
    for i in range(len(chosen)):
        low, high = images.start[chosen[i]], images.start[chosen[i] + 1]
        for pixel, v in zip(images.indices[low:high], images.value[low:high]):
            at = place[pixel]
            index[at], value[at] = i, v
            place[pixel] = at + 1
    return Sparse(start, index, value)


@compiled
def add_product(chosen: np.ndarray, sparse: Sparse, matrix: np.ndarray, out: np.ndarray) -> None:
    """Add to each out[i] the row of `sparse` numbered chosen[i] times `matrix`."""
    index, value = sparse.indices, sparse.value
    for i in range(len(chosen)):
        total, start, end = out[i], sparse.start[chosen[i]], sparse.start[chosen[i] + 1]
        for k in range(start, end - 3, 4):  # four at a time: fewer loads and stores of the sum
            m0, m1 = matrix[index[k]], matrix[index[k + 1]]
            m2, m3 = matrix[index[k + 2]], matrix[index[k + 3]]
            v0, v1, v2, v3 = value[k], value[k + 1], value[k + 2], value[k + 3]
            for j in range(len(total)):
                total[j] += v0 * m0[j] + v1 * m1[j] + v2 * m2[j] + v3 * m3[j]
        for k in range(end - (end - start) % 4, end):
            row, v = matrix[index[k]], value[k]
            for j in range(len(total)):
                total[j] += v * row[j]
