"""The split, the original order, and messages about wrong files."""

import gzip
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from bookkit import data
from bookkit.paths import BOOK
from bookkit.publish import kernels, runner
from bookkit.settings import Settings
from bsn import InputError

MNIST_CHECKSUM = "a709ade1eb729fc049f6d6cccb1aa643"  # part of the keys of the book's record


def test_mnist_in_the_posts_split(mnist_dir):
    """The checksum is of all arrays, in their order, with their types."""
    mnist = data.load("mnist", mnist_dir)
    assert mnist.checksum == MNIST_CHECKSUM
    file = gzip.decompress((mnist_dir / data.ORIGINAL["train_labels"][0]).read_bytes())
    labels = np.concatenate([mnist.parts[part][1] for part in ("validation", "train")])
    np.testing.assert_array_equal(labels, np.frombuffer(file, np.uint8, offset=8))


def test_the_kernels_of_a_build_read_mnist_unpacked_and_it_is_the_same(mnist_dir, tmp_path, monkeypatch):
    """TFDS would decode it again for each."""
    read = []
    monkeypatch.setattr(
        runner, "_run_one", lambda *arguments: read.append(data.load("mnist", arguments[-1]["BSN_MNIST_DIR"]))
    )
    monkeypatch.setattr(kernels, "expect_kernels", lambda: None)
    chapters, facts = {"neuron": BOOK / "neuron.ipynb"}, {"dataset": "mnist", "profile": "quick"}
    source = data.load("mnist", mnist_dir)
    assert runner.run(chapters, {"neuron": {}}, facts, source, Settings(fresh=True), tmp_path) == {}
    assert [unpacked.checksum for unpacked in read] == [MNIST_CHECKSUM]


def test_digits_are_split_without_overlap():
    digits = data.load("digits")
    assert [len(digits.parts[part][1]) for part in data.PARTS] == [1250, 250, 297]
    assert all(0 <= images.min() and images.max() <= 1 for images, _ in digits.parts.values())


@pytest.mark.parametrize("damage", ["cut", "edited", "other", "longer", "missing", "a folder", "a pipe"])
@pytest.mark.parametrize("name", data.ORIGINAL)
def test_a_wrong_file_is_named(mnist_dir, tmp_path, name, damage):
    victim = tmp_path / data.ORIGINAL[name][0]
    for file, _ in data.ORIGINAL.values():
        (tmp_path / file).symlink_to(mnist_dir / file)
    content = victim.read_bytes()
    victim.unlink()
    written = {
        "cut": lambda: content[:1000],
        "edited": lambda: content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
        "other": lambda: gzip.compress(bytes(1000), 1),
        "longer": lambda: gzip.compress(gzip.decompress(content) + b"x", 1),
    }
    if damage in written:
        victim.write_bytes(written[damage]())
    elif damage == "a folder":
        victim.mkdir()
    elif damage == "a pipe":
        os.mkfifo(victim)
    for dataset in ("mnist", "auto"):  # a folder that is given is never passed over
        with pytest.raises(InputError) as raised:
            data.load(dataset, tmp_path)
        assert str(raised.value).startswith("MNIST: ") and str(victim) in str(raised.value)
        assert str(raised.value).endswith("; expected the four original files")


@pytest.mark.slow
def test_mnist_from_tfds_is_the_same(mnist_dir, tmp_path, monkeypatch):
    """TFDS stores it in another order."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(f"mnist:{data.TFDS_VERSION}", data_dir=tmp_path)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=str(mnist_dir)))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    code = "from bookkit import data; loaded = data.load('auto'); print(loaded.name, loaded.checksum)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout == f"mnist {MNIST_CHECKSUM}\n" and not ran.stderr, ran.stderr
    [stored] = (tmp_path / "mnist" / data.TFDS_VERSION).glob("mnist-test.tfrecord*")
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(content)
    with pytest.raises(InputError, match=f"MNIST: {stored.parent} is damaged"):
        data.resolve("auto")


@pytest.mark.slow
def test_without_mnist_auto_falls_back_in_one_line_and_mnist_fails(tmp_path, monkeypatch, capfd):
    """A proxy that refuses at once stands for a machine without a network."""
    offline = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
    for name, value in {"TFDS_DATA_DIR": str(tmp_path), "no_proxy": "", **offline}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="cannot be downloaded.*BSN_MNIST_DIR"):
        data.load("mnist")
    capfd.readouterr()  # of what a first import of TensorFlow may print
    assert data.resolve("auto") == "digits"
    out, err = capfd.readouterr()
    assert not out and err.count("\n") == 1 and "digits instead of MNIST" in err


def test_own_arrays(tmp_path):
    rng, arrays = np.random.default_rng(0), {}
    for part, count in (("train", 80), ("validation", 20), ("test", 20)):
        arrays |= {f"{part}_images": rng.random((count, 3, 3)), f"{part}_labels": rng.integers(0, 4, count)}
    np.savez(tmp_path / "mine.npz", **arrays | {"test_labels": np.full(20, 3)})
    mine = data.load(str(tmp_path / "mine.npz"))  # wrong ones: tests/chapters/test_input.py
    assert mine.name == "mine.npz" and mine.classes == 4 and mine.parts["train"][0].shape == (80, 9)
    (tmp_path / "mine.npz").rename(tmp_path / "mnist")
    with pytest.raises(InputError, match="mnist is not an .npz file; expected"):
        data.load(str(tmp_path / "mnist"))
