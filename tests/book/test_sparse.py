"""Sparse products against dense ones."""

import numpy as np
import pytest

from bookkit.compiled import sparse


@pytest.mark.parametrize("width", [1, 3, 100, sparse.TILE, sparse.TILE + 1, 3 * sparse.TILE])
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_both_products_against_dense_ones(density, width, seed_offset):
    rng = np.random.default_rng(seed_offset)
    x = (rng.normal(size=(23, 40)) * (rng.random((23, 40)) < density)).astype(np.float32)
    x[3], x[:, 5], x[-1] = 0, 0, 0  # a black image, an unused pixel, a black last image
    weights = rng.normal(size=(x.shape[1], width)).astype(np.float32)
    rows, chosen = sparse.rows(x), np.array([4, 3, 22, 0, 4], np.int32)  # one image twice
    start = rng.normal(size=(len(chosen), width)).astype(np.float32)
    sparse.add_product(chosen, rows, weights, out := start.copy())
    np.testing.assert_allclose(out, start + np.float64(x[chosen]) @ weights, atol=2e-5)

    delta = rng.normal(size=out.shape).astype(np.float32)
    expected = weights + np.float64(x[chosen]).T @ delta
    sparse.add_product(np.arange(x.shape[1]), sparse.columns(chosen, rows, x.shape[1]), delta, weights)
    np.testing.assert_allclose(weights, expected, atol=2e-5)
