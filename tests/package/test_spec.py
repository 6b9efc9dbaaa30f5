"""Which settings are refused, each in one line that names the setting and what is expected."""

import numpy as np
import pytest

from bsn import InputError, Spec
from bsn.estimators import ESTIMATORS

GOOD = dict(estimator="sigmoid-adjusted", learning_rate=0.3)
REFUSED = {
    "estimator": ["straight-thru", None, ["sigmoid"]],
    "learning_rate": [-0.1, 0, float("nan"), float("inf"), "0.1", True],
    "hidden": [[], [0], 100, [100] * 9, "100"],
    "slope_rate": [0],
    "temperature": [0, -0.5, "warm", 0.7],  # the last with an estimator that has none
    "slope_in_training": ["yes"],
    "train_mode": ["random"],
    "eval_mode": [None],
    "stable_loss": [1],
    "train_on": ["test", "validation"],  # the second is what is evaluated
    "evaluate_on": ["train"],
    "seed": [-1, 2**31, 1.5],
    "epochs": [0, 2.0],
    "steps_per_epoch": [100],
}


@pytest.mark.parametrize("field, value", [(field, value) for field in REFUSED for value in REFUSED[field]])
def test_a_value_outside_what_is_expected(field, value):
    with pytest.raises(InputError) as raised:
        Spec(**{**GOOD, field: value})
    message = str(raised.value)
    assert field in message and "expected" in message and "\n" not in message


@pytest.mark.parametrize("name", ESTIMATORS)
def test_which_estimators_have_a_slope_and_a_deterministic_unit(name):
    """Samplers have both, but Gumbel-Rao, which needs its noise; the gradient estimators neither."""
    fields, sampler = {**GOOD, "estimator": name}, ESTIMATORS[name].kind == "sampler"
    for changed, expected in [
        (dict(slope_rate=1.1), sampler),
        (dict(train_mode="deterministic"), sampler and name != "gumbel-rao"),
        (dict(eval_mode="deterministic"), True),
        (dict(stable_loss=True), True),
    ]:
        if expected:
            assert Spec(**{**fields, **changed}).estimator == name
        else:
            with pytest.raises(InputError, match=f"{[*changed][0]} is .* with {name}; expected"):
                Spec(**{**fields, **changed})


def test_equal_settings_are_one_spec():
    spec = Spec(**GOOD, hidden=[100], slope_rate=1, seed=np.int64(3), epochs=np.int32(2))
    assert {spec} == {Spec(**GOOD, hidden=(100,), slope_rate=1.0, seed=3, epochs=2)}
    assert type(spec.seed) is int and type(spec.epochs) is int


def test_a_mistake_in_a_notebook_is_one_line():
    assert InputError("epochs is 0")._render_traceback_() == ["InputError: epochs is 0"]
