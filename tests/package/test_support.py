"""What the Keras layer supports: measured, and shown on the package's page from a table in `book/tables/`.

`python tests/package/test_support.py` writes the table anew.
"""

import csv
import pathlib

import numpy as np
import pytest

from bsn import BinaryStochastic
from bsn.backend import keras, tf

TABLE = pathlib.Path(__file__).parents[2] / "book" / "tables" / "layer_support.csv"
PRECISIONS = ["float32", "float64", "mixed_float16", "mixed_bfloat16", "float16", "bfloat16"]
IMAGES, LABELS = np.random.default_rng(0).normal(size=(16, 4)), np.arange(16) % 2


def model(precision, **options):
    keras.config.set_dtype_policy(precision)
    try:
        layers = [keras.layers.Dense(8), BinaryStochastic(seed=1), keras.layers.Dense(2, dtype="float32")]
        net = keras.Sequential([keras.Input([4]), *layers])
    finally:
        keras.config.set_dtype_policy("float32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.SGD(0.1), loss, **options)
    return net


def fit(precision, folder, jit=False):
    net = model(precision, jit_compile=jit)
    before = net.layers[0].kernel.numpy()
    history = net.fit(IMAGES, LABELS, batch_size=8, epochs=2, verbose=0).history
    return np.isfinite(history["loss"]).all() and (net.layers[0].kernel.numpy() != before).any()


def fit_under_xla(precision, folder):
    return fit(precision, folder, jit=True)


def same_outputs(net, other):
    """Whether both sample from the same seed on: the state of the noise is saved, too."""
    return np.array_equal(net(IMAGES, training=False), other(IMAGES, training=False))


def saved_and_loaded(precision, folder):
    net = model(precision)
    net.save(folder / "net.keras")
    return same_outputs(net, keras.models.load_model(folder / "net.keras"))


def weights_saved_and_loaded(precision, folder):
    net, other = model(precision), model(precision)
    net.save_weights(folder / "net.weights.h5")
    other.load_weights(folder / "net.weights.h5")
    return same_outputs(net, other)


def exported(precision, folder):
    net = model(precision)
    net.export(folder / "saved_model", verbose=False)
    loaded = tf.saved_model.load(str(folder / "saved_model"))
    served = loaded.serve(tf.constant(IMAGES, "float32"))
    return served.shape == (16, 2) and np.isfinite(served).all()


def cloned(precision, folder):
    net = model(precision)
    copy = keras.models.clone_model(net)
    copy.set_weights(net.get_weights())
    return same_outputs(net, copy)


def in_a_dataset(precision, folder):
    units = BinaryStochastic(seed=1, dtype=precision)
    data = tf.data.Dataset.from_tensor_slices(IMAGES.astype("float32")).batch(8).map(units)
    batches = [batch.astype("float32") for batch in data.as_numpy_iterator()]
    return set(np.unique(np.concatenate(batches))) <= {0, 1}


def masks(precision, folder):
    keras.config.set_dtype_policy(precision)
    try:
        masked = keras.Sequential([keras.Input([5, 4]), keras.layers.Masking(), BinaryStochastic(seed=1)])
    finally:
        keras.config.set_dtype_policy("float32")
    steps = np.zeros([2, 5, 4])
    steps[:, :3] = 1
    mask = masked(steps)._keras_mask
    return np.array_equal(mask, steps.any(-1))


FEATURES = {
    "`fit`": fit,
    "`fit` under XLA": fit_under_xla,
    "`save` and `load_model`": saved_and_loaded,
    "`save_weights`, `load_weights`": weights_saved_and_loaded,
    "`export` (SavedModel)": exported,
    "`clone_model`": cloned,
    "in a `tf.data` map": in_a_dataset,
    "masks pass": masks,
}


def supported(feature, precision, folder):
    try:
        return "yes" if FEATURES[feature](precision, folder) else "no"
    except Exception:  # of any kind: then it is not supported
        return "no"


@pytest.mark.slow
@pytest.mark.parametrize("feature", FEATURES)
def test_the_page_says_what_is_supported(feature, tmp_path):
    with open(TABLE, newline="", encoding="utf-8") as file:
        rows = {row[""]: row for row in csv.DictReader(file)}
    assert list(rows) == list(FEATURES)
    for precision in PRECISIONS:
        (tmp_path / precision).mkdir()
        assert rows[feature][precision] == supported(feature, precision, tmp_path / precision), precision


if __name__ == "__main__":
    import tempfile

    with open(TABLE, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["", *PRECISIONS])
        for feature in FEATURES:
            with tempfile.TemporaryDirectory() as folder:
                paths = [pathlib.Path(folder) / precision for precision in PRECISIONS]
                for path in paths:
                    path.mkdir()
                writer.writerow([feature, *(supported(feature, path.name, path) for path in paths)])
