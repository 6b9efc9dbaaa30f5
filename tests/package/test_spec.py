"""Which settings are refused, each in one line that names the setting and what is expected."""

import numpy as np
import pytest

from bookkit.parameters import ESTIMATORS, SAMPLERS, grid
from bsn import InputError, Spec

GOOD = dict(estimator="sigmoid-adjusted", learning_rate=0.3)


@pytest.mark.parametrize(
    "field, value",
    [
        ("estimator", "straight-thru"),
        ("estimator", None),
        ("estimator", ["sigmoid"]),
        ("learning_rate", -0.1),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("learning_rate", "0.1"),
        ("learning_rate", True),
        ("hidden", []),
        ("hidden", [0]),
        ("hidden", 100),
        ("hidden", [100] * 9),
        ("hidden", "100"),
        ("slope_rate", 0),
        ("slope_in_training", "yes"),
        ("train_mode", "random"),
        ("eval_mode", None),
        ("stable_loss", 1),
        ("train_on", "test"),
        ("evaluate_on", "train"),
        ("seed", -1),
        ("seed", 2**31),
        ("seed", 1.5),
        ("epochs", 0),
        ("epochs", 2.0),
        ("steps_per_epoch", 100),
    ],
)
def test_a_value_outside_what_is_expected(field, value):
    with pytest.raises(InputError) as raised:
        Spec(**{**GOOD, field: value})
    message = str(raised.value)
    assert field in message and "expected" in message and "\n" not in message


def test_combinations_that_are_not_defined():
    with pytest.raises(InputError, match="train_mode"):
        Spec(estimator="reinforce", learning_rate=0.1, train_mode="deterministic")
    with pytest.raises(InputError, match="slope_rate"):
        Spec(estimator="reinforce", learning_rate=0.1, slope_rate=1.1)
    with pytest.raises(InputError, match="two parts"):
        Spec(**GOOD, train_on="validation")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_which_estimators_have_a_slope_and_a_deterministic_unit(name):
    """Samplers have both, but Gumbel-Rao, which needs its noise; the gradient estimators neither."""
    fields = {**GOOD, "estimator": name, "hidden": (5, 5)}
    for changed, expected in [
        (dict(slope_rate=1.1), name in SAMPLERS),
        (dict(train_mode="deterministic"), name in SAMPLERS and name != "gumbel-rao"),
        (dict(eval_mode="deterministic"), True),
        (dict(stable_loss=True), True),
    ]:
        if expected:
            assert Spec(**{**fields, **changed}).estimator == name
        else:
            with pytest.raises(InputError, match=f"{[*changed][0]} is .* with {name}; expected"):
                Spec(**{**fields, **changed})


def test_a_learning_rate_is_needed():
    with pytest.raises(TypeError, match="learning_rate"):
        Spec(estimator="sigmoid")


def test_equal_settings_are_one_spec():
    assert Spec(**GOOD, hidden=[100], slope_rate=1) == Spec(**GOOD, hidden=(100,), slope_rate=1.0)
    assert len({Spec(**GOOD, hidden=[100]), Spec(**GOOD)}) == 1


@pytest.mark.parametrize("seeds", [[], [1, 1], [-1], ["1"], 3, None])
def test_seeds(seeds):
    with pytest.raises(InputError, match="seeds"):
        grid({"one": GOOD}, seeds)


def test_a_mistake_in_a_notebook_is_one_line():
    assert InputError("epochs is 0")._render_traceback_() == ["InputError: epochs is 0"]


def test_numpy_integers_are_python_integers_in_a_spec():
    spec = Spec(estimator="sigmoid", learning_rate=1, seed=np.int64(3), epochs=np.int32(2))
    assert type(spec.seed) is int and type(spec.epochs) is int
    assert spec == Spec(estimator="sigmoid", learning_rate=1, seed=3, epochs=2)
