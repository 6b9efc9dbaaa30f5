"""Lists of seeds that make no grid of nets are refused in one line."""

import pytest

from bookkit.parameters import grid
from bsn import InputError


@pytest.mark.parametrize("seeds", [[], [1, 1], [-1], ["1"], 3, None])
def test_seeds(seeds):
    with pytest.raises(InputError, match="seeds"):
        grid({"net": {"estimator": "sigmoid", "learning_rate": 0.3}}, seeds)
