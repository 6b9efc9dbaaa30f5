"""A variational autoencoder (VAE) with Bernoulli latents, trained by the estimators of `bsn.estimators`.

An image x of zeros and ones has an encoder, q(b | x) = Bernoulli(b; logits a(x)), a decoder p(x | b) and a
prior p(b), all of independent units. Training descends f(b) = log q(b | x) - log p(b) - log p(x | b), whose
expectation over q is minus the evidence lower bound. The setup is DisARM's (Dong, Mnih, Tucker 2020,
arXiv:2006.10680, and its public code, google-research/disarm).
"""

ARCHITECTURES: dict[str, tuple[int, ...]] = {"linear": (), "nonlinear": (200, 200)}  # hidden widths, each way
ESTIMATORS: tuple[str, ...] = ("concrete", "sigmoid-adjusted", "reinmax", "moving-average", "nvil")
ESTIMATORS += ("leave-one-out", "muprop", "rebar", "relax", "arm", "disarm")
