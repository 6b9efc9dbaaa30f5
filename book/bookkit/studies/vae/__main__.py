"""``python -m bookkit.studies.vae``: train the nets of the book's record, or continue a stopped run."""

import sys

from bookkit import data, record
from bookkit.paths import VAE
from bookkit.settings import Settings
from bookkit.studies.vae import runs
from bsn.errors import InputError

if __name__ == "__main__":
    try:
        settings = Settings.from_environment()
        nets, _ = runs.train(runs.BOOK_RUNS, data.load("mnist", settings.mnist_dir), settings)
        print(f"bsn: {record.adopt(VAE, nets.to_dict('records'), runs.SCHEMA)}")
    except InputError as error:
        print(f"bsn: {error}", file=sys.stderr)
        sys.exit(2)
