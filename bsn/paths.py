"""Where the book lies in the repository: the one authority for paths."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
BUILD = ROOT / "_build"
EXECUTED = BUILD / "executed"
SITE = BUILD / "html"
EXPERIMENTS = BOOK / "experiments.csv"
RECORD = BOOK / "record.parquet"
RANKING = BOOK / "ranking.parquet"
CLAIMS = BOOK / "claims.csv"
SECOND_SEEDS = BOOK / "second_seeds.csv"
CONFIG = ROOT / "_config.yml"
TOC = BOOK / "_toc.yml"
