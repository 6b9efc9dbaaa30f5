"""MNIST in the split of the post, scikit-learn's digits, or arrays of the user's own.

MNIST comes from a folder with the four original files (`BSN_MNIST_DIR`), else from TFDS's own
cache, else from its download; `tensorflow_datasets` checks and decodes it in each case.
"""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import io
import os
import pathlib
import shutil
import sys
import tempfile
import uuid

import numpy as np

from bookkit import files
from bookkit.parameters import check
from bsn.errors import InputError

VALIDATION = 5_000  # of MNIST's 60,000 training images, the first in file order
PARTS = ("train", "validation", "test")
TFDS_VERSION = "3.0.1"
COUNTS = {"train": 60_000, "test": 10_000}  # of the original files
SHAPES = {
    f"{split}_{what}": (count, *shape)
    for split, count in COUNTS.items()
    for what, shape in (("images", (28, 28, 1)), ("labels", ()))
}
MOST_CLASSES = 1000  # of a user's own data: beyond it, labels are mistakes


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """A data set: part -> (images [N, D] float32 in [0, 1], labels [N] int32 from 0)."""

    name: str
    parts: dict
    classes: int

    @functools.cached_property
    def checksum(self):
        """Of the arrays: equal data have equal checksums, wherever they come from."""
        digest = hashlib.sha256()
        for part in PARTS:
            for array in self.parts[part]:
                digest.update(f"{array.shape} {array.dtype}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:32]


def dataset_title(name):
    """A data set's name for pages and figures."""
    return {"mnist": "MNIST", "digits": "scikit-learn's digits"}.get(name, name)


def resolve(dataset, mnist_dir=None):
    """Turn "auto" into "mnist" or "digits", saying in one line on stderr when it is digits."""
    check("dataset", dataset)
    if dataset != "auto":
        return dataset
    try:
        if not _decoded_mnist_path(mnist_dir).exists():
            _mnist_builder(mnist_dir)
    except _Unavailable as reason:
        print(f"bsn: {reason}; using scikit-learn's digits instead of MNIST", file=sys.stderr)
        return "digits"
    return "mnist"


@functools.lru_cache(maxsize=2)
def load(dataset, mnist_dir=None):
    """Load a data set: "auto", "mnist", "digits", or the path of an .npz file.

    An .npz file holds `train_images`, `train_labels` and likewise for validation and test: images
    [N, ...] of numbers in [0, 1], labels [N] of whole numbers from 0.

    Raises:
        InputError: the data cannot be had, or a file of it is wrong; the message names it.
    """
    dataset = resolve(dataset, mnist_dir)
    if dataset == "digits":
        return _digits()
    if dataset == "mnist":
        return _mnist(mnist_dir)
    return _arrays(dataset)


def _flat(images, scale):
    return np.reshape(images, [len(images), -1]).astype(np.float32) / np.float32(scale)


def _digits():
    """scikit-learn's 1,797 digits of 8 x 8: 1,250 to train, 250 to validate, 297 to test."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images, labels = _flat(images, 16), labels.astype(np.int32)
    cuts = {"validation": slice(0, 250), "train": slice(250, 1500), "test": slice(1500, None)}
    return Data("digits", {part: (images[cut], labels[cut]) for part, cut in cuts.items()}, 10)


def _arrays(path):
    """A user's own arrays; nothing in the file is executed."""
    parts = {}
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise ValueError("not a file")
        with np.load(path, allow_pickle=False) as file:
            for part in PARTS:
                images, labels = file[f"{part}_images"], file[f"{part}_labels"]
                if not {images.dtype.kind, labels.dtype.kind} <= {*"biuf"}:
                    raise ValueError(f"{part}: images and labels must be real numbers")
                with np.errstate(over="ignore", invalid="ignore"):  # what the cast changes is refused below
                    images, whole = images.astype(np.float32), labels.astype(np.int32)
                parts[part] = _flat(images, 1), whole
                if (
                    labels.ndim != 1
                    or not len(labels)
                    or len(labels) != len(images)
                    or (whole != labels).any()
                ):
                    raise ValueError(f"{part}_labels are not one whole number an image")
                if not parts[part][0].shape[1]:
                    raise ValueError(f"{part}: images without pixels")
                if not ((images >= 0) & (images <= 1)).all():
                    raise ValueError(f"{part}: images must lie in [0, 1]")
                if labels.min() < 0 or labels.max() >= MOST_CLASSES:
                    raise ValueError(f"{part}: labels must lie between 0 and {MOST_CLASSES - 1}")
    except FileNotFoundError:
        raise InputError(
            f"dataset: no file {path}; expected auto, mnist, digits or the path of an .npz file"
        ) from None
    except Exception as error:  # NumPy raises many kinds for a malformed file
        raise InputError(
            f"dataset: {path} is not usable: {str(error)[:200]}; see bookkit.data.load for what it holds"
        ) from None
    if len({images.shape[1] for images, _ in parts.values()}) > 1:
        raise InputError(f"dataset: {path}: the parts' images differ in size; expected one size")
    return Data(os.path.basename(path), parts, 1 + max(int(labels.max()) for _, labels in parts.values()))


class _Unavailable(Exception):
    """MNIST is not on this machine and cannot be downloaded."""


def _mnist(mnist_dir):
    path = _decoded_mnist_path(mnist_dir)
    try:
        with np.load(path, allow_pickle=False) as file:  # whose checksums tell damage
            decoded = {name: file[name] for name in SHAPES}
        if {name: array.shape for name, array in decoded.items()} != SHAPES:
            raise ValueError
    except Exception as error:  # NumPy raises many kinds for a damaged file
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            print(f"bsn: {path} is damaged: MNIST is decoded anew", file=sys.stderr)
        decoded = _decode_mnist(mnist_dir)
        _save(path, decoded)
    images, labels = _flat(decoded["train_images"], 255), decoded["train_labels"].astype(np.int32)
    parts = {
        "train": (images[VALIDATION:], labels[VALIDATION:]),
        "validation": (images[:VALIDATION], labels[:VALIDATION]),
        "test": (_flat(decoded["test_images"], 255), decoded["test_labels"].astype(np.int32)),
    }
    return Data("mnist", parts, 10)


def _decoded_mnist_path(folder):
    """Where the decoded arrays are kept: reading them is ten times faster than asking TFDS again.

    The name tells which MNIST they come from: the content of the folder given, or TFDS's own cache.
    """
    import platformdirs

    if folder:
        digest = hashlib.sha256()
        try:
            for path in sorted(filter(pathlib.Path.is_file, pathlib.Path(folder).glob("*-ubyte.gz"))):
                digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise InputError(f"MNIST: cannot read {error.filename or folder}: {error.strerror}") from None
    else:
        prepared = _tfds_root() / "mnist" / TFDS_VERSION
        digest = hashlib.sha256(str(prepared.resolve() if prepared.exists() else uuid.uuid4()).encode())
    return platformdirs.user_cache_path("bsn") / f"mnist-{digest.hexdigest()[:16]}.npz"


def _save(path, arrays):
    """Write whole or not at all; a cache that cannot be written is only slower."""
    with contextlib.suppress(OSError), files.replaced(path) as file:
        np.savez(file, **arrays)


def _tfds_root():
    return pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def _decode_mnist(mnist_dir):
    """The 60,000 and 10,000 images [N, 28, 28, 1] and their labels, in the order of the original files."""
    try:
        builder = _mnist_builder(mnist_dir)
    except _Unavailable as reason:
        raise InputError(
            f"{reason}; give a folder with the four original files (--mnist-dir or BSN_MNIST_DIR), "
            "or choose --dataset digits"
        ) from None
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import hashing

    arrays = {}
    for split in COUNTS:
        try:
            whole = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
        except Exception as error:  # TensorFlow's or TFDS's
            raise _damaged(builder.data_path, error) from None
        # TFDS stores examples by the hash of their number in the file: undo that
        hasher = hashing.Hasher(split)
        stored = sorted(range(len(whole["label"])), key=hasher.hash_key)
        original = np.argsort(stored)
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = (
            whole["image"][original],
            whole["label"][original],
        )
    return arrays


def _mnist_builder(folder):
    """A prepared TFDS builder of MNIST, from the folder given, TFDS's cache or its download."""
    with _quiet_tfds() as tfds:
        if folder:
            # of its own cache, so that a later build without a folder does not find it by chance
            import platformdirs

            _check_files(tfds, pathlib.Path(folder))
            root, manual = platformdirs.user_cache_path("bsn") / "tfds", folder
        else:
            root, manual = _tfds_root(), None
        try:
            builder = tfds.builder(f"mnist:{TFDS_VERSION}", data_dir=root)
        except Exception as error:  # its descriptions of the data
            raise _damaged(root / "mnist" / TFDS_VERSION, error) from None
        if not pathlib.Path(builder.data_path).exists():
            if not manual:
                _check_reachable(builder)
            _prepare(tfds, root, manual)
            builder = tfds.builder(f"mnist:{TFDS_VERSION}", data_dir=root)
    return builder


def _damaged(folder, error):
    reason = str(error)[:200]
    return InputError(f"MNIST: {folder} is damaged: {reason}; remove that folder, and it is prepared anew")


@contextlib.contextmanager
def _quiet_tfds():
    """TFDS without its bars and prints: preparing MNIST is announced in one line of ours."""
    import tensorflow_datasets as tfds

    from bsn import backend  # noqa: F401  TFDS imports TensorFlow

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        yield tfds


def _check_files(tfds, folder):
    """Compare the folder's files with the sums that TFDS has registered, before it opens any."""
    for info in tfds.builder(f"mnist:{TFDS_VERSION}", data_dir="/nonexistent").url_infos.values():
        path = folder / info.filename
        try:
            if path.exists() and not path.is_file():
                raise OSError(errno.EINVAL, "not a file")
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise InputError(
                f"MNIST: cannot read {path}: {error.strerror}; expected the four original files"
            ) from None
        if found != info.checksum:
            raise InputError(
                f"MNIST: {path} is damaged or not the original ({path.stat().st_size} bytes, expected "
                f"{int(info.size)}; SHA-256 {found[:12]}..., expected {info.checksum[:12]}...)"
            )


def _check_reachable(builder):
    """Fail in seconds without a network, where TFDS would try again for minutes."""
    import requests

    try:
        requests.head(next(iter(builder.url_infos)), timeout=10).raise_for_status()
    except requests.RequestException:
        raise _Unavailable("MNIST is not in TFDS's cache and cannot be downloaded") from None


def _prepare(tfds, root, manual):
    """Prepare in a folder of its own and move it into place whole, so that none is left half done."""
    print("bsn: preparing MNIST with tensorflow_datasets, once (about 20 s) ...", file=sys.stderr)
    target = root / "mnist" / TFDS_VERSION
    download = tfds.download
    wrong_sum = download.download_manager.NonMatchingChecksumError
    failures = (OSError, download.DownloadError, wrong_sum, download.extractor.ExtractError)
    temporary = None
    try:
        with files.workplace(root):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = tempfile.mkdtemp(prefix=files.PREFIX, dir=root)
            config = download.DownloadConfig(manual_dir=manual)
            builder = tfds.builder(f"mnist:{TFDS_VERSION}", data_dir=temporary)
            builder.download_and_prepare(download_config=config)
            if not target.exists():  # or another process was first
                os.rename(pathlib.Path(temporary) / "mnist" / TFDS_VERSION, target)
    except failures as error:
        if target.exists():
            return
        reason = " ".join(f"MNIST: preparing it under {root} failed: {error}".split())
        raise (InputError if manual else _Unavailable)(reason) from None
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
