"""The wheel, where neither the checkout nor the book's package can be imported."""

import pathlib
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:]  # the wheel before the dependencies; -S leaves out editable installations
import importlib.metadata, importlib.util
requirements = importlib.metadata.requires("binary-stochastic-neurons")
assert sorted(line for line in requirements if "extra ==" not in line) == ["keras>=3", "numpy", "tensorflow"]
assert importlib.util.find_spec("bookkit") is None
import bsn
from bsn.estimators import ESTIMATORS, gradient
assert bsn.__file__.startswith(sys.argv[1]) and "tensorflow" not in sys.modules

from bsn.backend import keras, tf
for name, entry in ESTIMATORS.items():
    options = {"baseline": tf.zeros([5]), "surrogate": lambda z: tf.reduce_sum(tf.tanh(z), -1)}
    noise = tf.random.uniform([5, 3] if entry.noise in (0, 1) else [2, 5, 3])
    given = {option: options[option] for option in entry.options if option in options}
    g, _ = gradient(name, lambda b: tf.reduce_sum(b**2, -1), tf.zeros([5, 3]), noise, **given)
    assert g.shape == [5, 3] and tf.reduce_all(tf.math.is_finite(g)), name

unit = bsn.BinaryStochastic(eval_mode="deterministic", seed=0)
model = keras.Sequential([keras.layers.Input([4]), keras.layers.Dense(8), unit, keras.layers.Dense(1)])
model.compile("sgd", "mse")
x = tf.random.uniform([16, 4])
model.fit(x, x[:, :1], epochs=1, verbose=0)
model.save("model.keras")
loaded = keras.saving.load_model("model.keras")
assert (loaded.predict(x, verbose=0) == model.predict(x, verbose=0)).all()
"""


@pytest.mark.slow
def test_the_wheel_alone(tmp_path):
    source = tmp_path / "source"  # setuptools would leave its build folder in the checkout
    shutil.copytree(ROOT / "bsn", source / "bsn")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    assert (tmp_path / "installed/bsn/py.typed").exists()
    names = {path.name.split("-")[0] for path in (tmp_path / "installed").iterdir()}
    assert names == {"bsn", "binary_stochastic_neurons"}
    paths = [tmp_path / "installed", sysconfig.get_path("purelib")]
    program = [sys.executable, "-I", "-S", "-c", PROGRAM, *map(str, paths)]
    finished = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
