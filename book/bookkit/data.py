"""MNIST in the split of the post, scikit-learn's digits, or the user's own arrays."""

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import io
import os
import pathlib
import sys
import zlib
from typing import Any

import numpy as np

from bookkit import files
from bookkit.parameters import check
from bookkit.paths import table
from bsn.backend import load_tensorflow
from bsn.errors import InputError

VALIDATION = 5_000  # of MNIST's 60,000 training images, the first in file order
PARTS = ("train", "validation", "test")
TFDS_VERSION = "3.0.1"
MAX_BYTES = 16 + 60_000 * 784  # of an original file, unzipped
# name -> (original file, hash of the decoded bytes)
ORIGINAL: dict[str, list[str]] = table("mnist")
MAX_CLASSES = 1000  # of a user's own data; larger labels are mistakes


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """A data set: part -> (images [N, D] float32 in [0, 1], labels [N] int32 from 0)."""

    name: str
    parts: dict[str, tuple[np.ndarray, np.ndarray]]
    classes: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Data) and (self.name, self.checksum) == (other.name, other.checksum)

    def __hash__(self) -> int:
        return hash(self.checksum)

    @functools.cached_property
    def checksum(self) -> str:
        """A hash of the arrays: equal data have equal checksums, wherever they come from."""
        digest = hashlib.sha256()
        for part in PARTS:
            for array in self.parts[part]:
                digest.update(f"{array.shape} {array.dtype}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:32]


class _Unavailable(InputError):
    """MNIST is not on this machine and cannot be downloaded."""


def dataset_title(name: str) -> str:
    """Return a data set's name for pages and figures."""
    return {"mnist": "MNIST", "digits": "scikit-learn's digits"}.get(name, name)


def resolve(dataset: str, mnist_dir: pathlib.Path | None = None) -> str:
    """Turn "auto" into "mnist" or "digits", and say in one line on stderr if it is digits."""
    check("dataset", dataset)
    if dataset != "auto":
        return dataset
    try:
        return load("mnist", mnist_dir).name
    except _Unavailable as reason:
        print(
            f"bsn: {str(reason).rpartition(';')[0]}; using scikit-learn's digits instead of MNIST",
            file=sys.stderr,
        )
        return "digits"


@functools.lru_cache(maxsize=2)
def load(dataset: str, mnist_dir: pathlib.Path | None = None) -> Data:
    """Load a data set.

    Args:
        dataset: "auto", "mnist", "digits", or the path to an .npz file with `train_images` and
            `train_labels`, and the same for validation and test: images [N, ...] with values in [0, 1],
            labels [N], integers starting at 0.
        mnist_dir: folder with MNIST's four original files; None takes MNIST from TFDS's cache, or downloads
            it.

    Raises:
        InputError: the data set cannot be loaded, or one of its files is invalid; the message names the file.
    """
    dataset = resolve(dataset, mnist_dir)
    if dataset == "digits":
        return _digits()
    if dataset == "mnist":
        return _mnist(pathlib.Path(mnist_dir) if mnist_dir else None)
    return _own_arrays(dataset)


def _flat(images: np.ndarray, scale: float) -> np.ndarray:
    return np.reshape(images, [len(images), -1]).astype(np.float32) / np.float32(scale)


def _digits() -> Data:
    """Load scikit-learn's 1,797 digits of 8 x 8: 1,250 to train, 250 to validate, 297 to test."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images, labels = _flat(images, 16), labels.astype(np.int32)
    cuts = {"validation": slice(0, 250), "train": slice(250, 1500), "test": slice(1500, None)}
    return Data("digits", {part: (images[cut], labels[cut]) for part, cut in cuts.items()}, 10)


def _own_arrays(path: str) -> Data:
    """Load a user's own arrays; nothing in the file is executed."""
    if not path.endswith(".npz"):  # a file called mnist would be taken for MNIST
        raise InputError(f"dataset: {path} is not an .npz file; expected auto, mnist, digits or such a file")
    try:
        if files.special(path):
            raise ValueError("not a file")
        with np.load(path, allow_pickle=False) as file:
            parts = {part: _part(part, file[f"{part}_images"], file[f"{part}_labels"]) for part in PARTS}
    except FileNotFoundError:
        raise InputError(
            f"dataset: no file {path}; expected auto, mnist, digits or the path to an .npz file"
        ) from None
    except Exception as error:  # NumPy raises many kinds for a malformed file
        raise InputError(
            f"dataset: {path} is not usable: {str(error)[:200]}; see bookkit.data.load for what it holds"
        ) from None
    if len({images.shape[1] for images, _ in parts.values()}) > 1:
        raise InputError(f"dataset: {path}: the parts' images differ in size; expected one size")
    return Data(os.path.basename(path), parts, 1 + max(int(labels.max()) for _, labels in parts.values()))


def _part(part: str, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not {images.dtype.kind, labels.dtype.kind} <= {*"biuf"}:
        raise ValueError(f"{part}: images and labels must be real numbers")
    if not (images.size and ((images >= 0) & (images <= 1)).all()):  # as given: float32 would round 1 + 1e-9
        raise ValueError(f"{part}_images are not pixels from 0 to 1")
    with np.errstate(over="ignore", invalid="ignore"):  # what the cast changes is refused below
        flat, whole = _flat(images, 1), labels.astype(np.int32)
    if labels.shape != (len(images),) or ((whole != labels) | (whole < 0) | (whole >= MAX_CLASSES)).any():
        raise ValueError(f"{part}_labels are not one whole number from 0 to {MAX_CLASSES - 1} per image")
    return flat, whole


def _mnist(folder: pathlib.Path | None) -> Data:
    arrays = {name: _read_idx(folder, name) for name in ORIGINAL} if folder else _read_tfds()
    images = {part: _flat(arrays[f"{part}_images"].reshape(-1, 784), 255) for part in ("train", "test")}
    labels = {part: arrays[f"{part}_labels"].astype(np.int32) for part in images}
    parts = {
        "train": (images["train"][VALIDATION:], labels["train"][VALIDATION:]),
        "validation": (images["train"][:VALIDATION], labels["train"][:VALIDATION]),
        "test": (images["test"], labels["test"]),
    }
    return Data("mnist", parts, 10)


def _read_idx(folder: pathlib.Path, name: str) -> np.ndarray:
    """Read one of the four original files, without its header."""
    path, header = folder / ORIGINAL[name][0], 16 if name.endswith("images") else 8
    try:
        if files.special(path):
            raise ValueError("not a file")
        with gzip.open(path) as unzipped:
            content = unzipped.read(MAX_BYTES + 1)[header:]  # not more, whatever it holds
    except (OSError, EOFError, ValueError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"MNIST: cannot read {path}: {reason}; expected the four original files") from None
    if hashlib.sha256(content).hexdigest() != ORIGINAL[name][1]:
        raise InputError(f"MNIST: {path} is damaged or not the original; expected the four original files")
    return np.frombuffer(content, np.uint8)


def unpack(mnist: Data, folder: pathlib.Path) -> None:
    """Write MNIST's four files to a folder, not compressed: `load` reads them in a tenth of TFDS's time."""
    folder.mkdir()
    for split, parts in (("train", ("validation", "train")), ("test", ("test",))):
        images, labels = map(np.concatenate, zip(*(mnist.parts[part] for part in parts)))
        for kind, values, header in (("images", np.rint(255 * images), 16), ("labels", labels, 8)):
            with gzip.open(folder / ORIGINAL[f"{split}_{kind}"][0], "wb", compresslevel=0) as file:
                file.write(bytes(header) + values.astype(np.uint8).tobytes())


def _read_tfds() -> dict[str, np.ndarray]:
    """Read the arrays from TFDS's cache, or download them into it; in the order of the original files."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import hashing

    load_tensorflow()  # TFDS would import it with its noise on stderr

    root = pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    folder, arrays = root / "mnist" / TFDS_VERSION, {}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            builder = tfds.builder(f"mnist:{TFDS_VERSION}", data_dir=root)
            if not folder.exists():
                _download(builder)
            for split in ("test", "train"):  # the smaller one: where both are damaged, it is soon known
                stored = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
                # TFDS stores examples by the hash of their number in the file: undo that
                keys = hashing.Hasher(split)
                order = np.argsort(sorted(range(len(stored["label"])), key=keys.hash_key))
                arrays[f"{split}_images"] = stored["image"][order]
                arrays[f"{split}_labels"] = stored["label"][order].astype(np.uint8)
        if any(hashlib.sha256(arrays[name]).hexdigest() != digest for name, (_, digest) in ORIGINAL.items()):
            raise ValueError("other images or labels than the original ones")
    except _Unavailable:
        raise
    except Exception as error:  # TensorFlow and TFDS raise many kinds for damaged files
        raise InputError(
            f"MNIST: {folder} is damaged: {str(error)[:200]}; remove that folder to prepare it again"
        ) from None
    return arrays


def _download(builder: Any) -> None:
    import requests
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    try:
        # fails in seconds without a network, while TFDS would try again for minutes
        requests.head(next(iter(builder.url_infos)), timeout=10).raise_for_status()
        print("bsn: preparing MNIST with tensorflow_datasets, once (about 20 s) ...", file=sys.stderr)
        builder.download_and_prepare()
    except Exception as error:  # of the network, the disk or TFDS
        raise _Unavailable(
            f"MNIST is not in TFDS's cache and cannot be downloaded: {str(error)[:100]}; give a folder with "
            "the four original files (--mnist-dir or BSN_MNIST_DIR), or choose --dataset digits"
        ) from None
