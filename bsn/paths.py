"""Where the book lies in the repository: the one authority for paths."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
BUILD = ROOT / "_build"
EXPERIMENTS = BOOK / "experiments.csv"
RECORD = BOOK / "record.parquet"
CONFIG = ROOT / "_config.yml"
TOC = BOOK / "_toc.yml"
