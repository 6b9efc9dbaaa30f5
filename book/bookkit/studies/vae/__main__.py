"""``python -m bookkit.studies.vae``: train the nets of the book's record, or continue a stopped run."""

import sys

from bookkit.paths import VAE
from bookkit.studies.vae import runs
from bsn.errors import InputError

if __name__ == "__main__":
    try:
        print(f"bsn: {runs.write_book_record()} nets are in {VAE}")
    except InputError as error:
        print(f"bsn: {error}", file=sys.stderr)
        sys.exit(2)
