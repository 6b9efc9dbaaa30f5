"""Where things lie in the repository: the one authority for paths."""

import pathlib
from typing import Any

import yaml

BOOK = pathlib.Path(__file__).resolve().parents[1]
ROOT = BOOK.parent
TABLES = BOOK / "tables"  # settings and claims
RECORDS = BOOK / "record"  # what was measured
BUILD = ROOT / "_build"
EXECUTED = BUILD / "executed"
SITE = BUILD / "html"
CONFIG = ROOT / "_config.yml"
TOC = ROOT / "_toc.yml"
EXPERIMENTS = TABLES / "experiments.csv"
PREREGISTRATION = TABLES / "preregistration.yml"
RECORD = RECORDS / "experiments.parquet"
CONFIRMATORY = RECORDS / "confirmatory.parquet"
RANKING = RECORDS / "ranking.parquet"
TENSORFLOW = RECORDS / "tensorflow.parquet"
COSTS = RECORDS / "costs.parquet"
REPEATABILITY = RECORDS / "repeatability.parquet"
VAE = RECORDS / "vae.parquet"


def table(name: str) -> Any:
    """Return the content of a table in YAML."""
    return yaml.load((TABLES / f"{name}.yml").read_text(encoding="utf-8"), yaml.CSafeLoader)
