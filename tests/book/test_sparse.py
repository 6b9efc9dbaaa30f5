"""Sparse products against dense ones; a column that does not depend on its neighbours."""

import numpy as np
import pytest

from bookkit.compiled import sparse


def images(density, count=23, pixels=40, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, pixels)) * (rng.random((count, pixels)) < density)).astype(np.float32)


@pytest.mark.parametrize("width", [1, 3, 100, sparse.TILE, sparse.TILE + 1, 3 * sparse.TILE])
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_both_products_against_dense_ones(density, width, seed_offset):
    x = images(density, seed=seed_offset)
    x[3], x[:, 5], x[-1] = 0, 0, 0  # a black image, an unused pixel, a black last image
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(x.shape[1], width)).astype(np.float32)
    rows, chosen = sparse.rows(x), np.array([4, 3, 22, 0, 4], np.int32)  # one image twice
    start = rng.normal(size=(len(chosen), width)).astype(np.float32)
    sparse.add_product(chosen, rows, weights, out := start.copy())
    np.testing.assert_allclose(out, start + np.float64(x[chosen]) @ weights, atol=2e-5)

    delta = rng.normal(size=out.shape).astype(np.float32)
    expected = weights + np.float64(x[chosen]).T @ delta
    sparse.add_product(np.arange(x.shape[1]), sparse.columns(chosen, rows, x.shape[1]), delta, weights)
    np.testing.assert_allclose(weights, expected, atol=2e-5)


def test_a_column_does_not_depend_on_the_others():
    """To the last bit, at every width and place: hence neither does a net on its neighbours."""
    x = images(0.3)
    rng = np.random.default_rng(2)
    rows, chosen = sparse.rows(x), np.arange(23, dtype=np.int32)
    columns = sparse.columns(chosen, rows, x.shape[1])
    own, own_delta = (rng.normal(size=(n, 7)).astype(np.float32) for n in (x.shape[1], 23))
    results = set()
    for before, after in [(0, 0), (1, 0), (0, 2), (5, 11), (13, 300), (sparse.TILE - 3, 0), (700, 700)]:
        weights, delta = (
            np.concatenate(
                [
                    rng.normal(size=(len(a), n)).astype(np.float32) if n != 7 else a
                    for n in (before, 7, after)
                ],
                1,
            )
            for a in (own, own_delta)
        )
        out = np.zeros_like(delta)
        sparse.add_product(chosen, rows, weights, out)
        sparse.add_product(np.arange(len(weights)), columns, delta, weights)
        place = slice(before, before + 7)
        results.add((out[:, place].tobytes(), weights[:, place].tobytes()))
    assert len(results) == 1
