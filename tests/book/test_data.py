"""The split, the original order, and what is said of wrong files."""

import gzip
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from bookkit import data
from bsn import InputError


def idx(path, header):
    return np.frombuffer(gzip.open(path).read(), np.uint8, offset=header)


def load_in_a_process(dataset, cache, tmp_path, **environment):
    """Load data in a fresh process with its own caches; returns the finished process."""
    code = (
        "from bsn import data, InputError\n"
        f"try: print(data.load({dataset!r}).name)\n"
        "except InputError as error: raise SystemExit(f'bsn: {error}')"
    )
    env = {k: v for k, v in os.environ.items() if k != "BSN_MNIST_DIR"}
    env |= {"XDG_CACHE_HOME": str(cache), "TFDS_DATA_DIR": str(tmp_path / "tfds"), "PYTHONPATH": str(ROOT)}
    # a proxy that refuses at once stands for a machine without a network
    env |= {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
    return subprocess.run([sys.executable, "-c", code], env=env | environment, capture_output=True, text=True)


def test_mnist_in_the_posts_split(mnist_dir):
    mnist = data.load("mnist")
    images = idx(mnist_dir / "train-images-idx3-ubyte.gz", 16).reshape(60000, 784)
    labels = idx(mnist_dir / "train-labels-idx1-ubyte.gz", 8)
    np.testing.assert_array_equal(mnist.parts["validation"][1], labels[:5000])
    np.testing.assert_array_equal(mnist.parts["train"][1], labels[5000:])
    np.testing.assert_array_equal(np.round(mnist.parts["validation"][0] * 255), images[:5000])
    np.testing.assert_array_equal(np.round(mnist.parts["train"][0][::50] * 255), images[5000::50])
    test = idx(mnist_dir / "t10k-images-idx3-ubyte.gz", 16).reshape(10000, 784)
    np.testing.assert_array_equal(np.round(mnist.parts["test"][0] * 255), test)
    assert (mnist.parts["validation"][1] == 0).sum() == 479
    assert mnist.parts["train"][0].dtype == np.float32 and mnist.parts["train"][0].max() == 1


def test_digits_are_split_without_overlap():
    digits = data.load("digits")
    assert [len(digits.parts[part][1]) for part in data.PARTS] == [1250, 250, 297]
    assert all(0 <= images.min() and images.max() <= 1 for images, _ in digits.parts.values())


@pytest.mark.parametrize("damage", ["cut", "edited", "missing"])
def test_a_wrong_file_is_named_and_no_cache_is_left(mnist_dir, tmp_path, damage):
    folder, cache = tmp_path / "mnist", tmp_path / "cache"
    shutil.copytree(mnist_dir, folder)
    victim = folder / "train-images-idx3-ubyte.gz"
    os.chmod(folder, 0o755)
    content = bytearray(victim.read_bytes())
    victim.unlink()
    if damage == "cut":
        victim.write_bytes(content[:1000])
    elif damage == "edited":
        content[5000] ^= 1
        victim.write_bytes(content)
    dataset = "auto" if damage == "cut" else "mnist"  # a folder that is given is never passed over
    ran = load_in_a_process(dataset, cache, tmp_path, BSN_MNIST_DIR=str(folder))
    assert ran.returncode and not ran.stdout
    assert ran.stderr.startswith("bsn: MNIST: ") and str(victim) in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert not (cache / "bsn").exists() and not (tmp_path / "tfds").exists()


def test_prepared_once_in_a_cache_without_leftovers(mnist_dir, tmp_path):
    cache = tmp_path / "cache"
    first = load_in_a_process("mnist", cache, tmp_path, BSN_MNIST_DIR=str(mnist_dir))
    assert first.returncode == 0 and first.stdout.strip() == "mnist" and "preparing" in first.stderr
    assert [path.name for path in (cache / "bsn" / "tfds").iterdir()] == ["mnist"]
    second = load_in_a_process("mnist", cache, tmp_path, BSN_MNIST_DIR=str(mnist_dir))
    assert second.returncode == 0 and second.stderr == ""
    [decoded] = (cache / "bsn").glob("mnist-*.npz")
    damaged = bytearray(decoded.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    decoded.write_bytes(damaged)
    third = load_in_a_process("mnist", cache, tmp_path, BSN_MNIST_DIR=str(mnist_dir))
    assert third.returncode == 0
    assert third.stderr == f"bsn: {decoded} is damaged: MNIST is decoded anew\n"
    assert decoded.read_bytes() != damaged and len(list((cache / "bsn").glob("mnist-*"))) == 1
    # the cache belongs to the folder: without one it is not found by chance
    without = load_in_a_process("mnist", cache, tmp_path)
    assert without.returncode and "--mnist-dir" in without.stderr


def test_without_mnist_auto_falls_back_in_one_line_and_mnist_fails(tmp_path):
    auto = load_in_a_process("auto", tmp_path / "cache", tmp_path)
    assert auto.returncode == 0 and auto.stdout.strip() == "digits"
    assert auto.stderr.count("\n") == 1 and "digits instead of MNIST" in auto.stderr
    mnist = load_in_a_process("mnist", tmp_path / "cache", tmp_path)
    assert mnist.returncode and mnist.stderr.count("\n") == 1 and "BSN_MNIST_DIR" in mnist.stderr


def own_arrays(**replaced):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 80), ("validation", 20), ("test", 20)):
        arrays |= {f"{part}_images": rng.random((count, 3, 3)), f"{part}_labels": rng.integers(0, 4, count)}
    return {**arrays, **replaced}


def test_own_arrays(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, **own_arrays(test_labels=np.full(20, 3)))
    mine = data.load(str(path))
    assert mine.name == "mine.npz" and mine.classes == 4 and mine.parts["train"][0].shape == (80, 9)


@pytest.mark.parametrize(
    "replaced, says",
    [
        (dict(train_labels=np.zeros(3)), "train_labels"),
        (dict(train_labels=np.full(80, 0.5)), "train_labels"),
        (dict(test_images=np.full((20, 9), 7.0)), "test"),
        (dict(test_images=np.full((20, 9), np.nan)), "test"),
        (dict(test_images=np.zeros((20, 4))), "size"),
        (dict(test_labels=np.array([{}] * 20, object)), "test|pickle|Object"),
        (dict(validation_labels=np.full(20, -1)), "validation"),
    ],
)
def test_own_arrays_that_are_wrong(tmp_path, replaced, says):
    path = tmp_path / "wrong.npz"
    np.savez(path, **own_arrays(**replaced))
    with pytest.raises(InputError, match=says) as raised:
        data.load(str(path))
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"not an archive"])
def test_no_archive(tmp_path, content):
    path = tmp_path / "none.npz"
    with pytest.raises(InputError, match="no file"):
        data.load(str(path))
    path.write_bytes(content)
    with pytest.raises(InputError, match="not usable"):
        data.load(str(path))


def test_a_cache_that_cannot_be_written_is_one_line(mnist_dir, tmp_path):
    cache = tmp_path / "cache"
    cache.write_text("a file where the folder should be")
    for dataset in ("mnist", "auto"):
        ran = load_in_a_process(dataset, cache, tmp_path, BSN_MNIST_DIR=str(mnist_dir))
        assert ran.returncode and not ran.stdout and "Traceback" not in ran.stderr
        assert ran.stderr.strip().splitlines()[-1].startswith("bsn: MNIST: preparing it under")
