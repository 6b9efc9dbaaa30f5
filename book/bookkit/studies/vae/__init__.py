"""A variational autoencoder (VAE) with Bernoulli latents, trained by the estimators of `bsn.estimators`.

An image x of zeros and ones has an encoder, q(b | x) = Bernoulli(b; logits a(x)), a decoder p(x | b) and a
prior p(b), all of independent units. Training descends f(b) = log q(b | x) - log p(b) - log p(x | b), whose
mean over q is minus the evidence lower bound. The set-up is DisARM's (Dong, Mnih, Tucker 2020,
arXiv:2006.10680, and its public code, google-research/disarm).

``python -m bookkit.studies.vae`` trains the book's nets, and writes `book/vae.parquet`.
"""
