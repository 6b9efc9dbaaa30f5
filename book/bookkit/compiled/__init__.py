"""The fast path: the training compiled by Numba."""
