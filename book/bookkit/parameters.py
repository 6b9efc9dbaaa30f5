"""Which values a chapter's parameters and the command's options may take, and specs made from them."""

import math
import numbers

from bsn.errors import InputError, shown
from bsn.estimators.registry import ESTIMATORS as REGISTRY
from bsn.spec import MAX_LAYERS, MODES, RECORD_EVERY, Spec

# those that train here: the others need a second net that a spec does not describe, or 2^H evaluations
ESTIMATORS = [name for name, entry in REGISTRY.items() if not entry.caller and entry.evaluations != "2^H"]
SAMPLERS = [name for name in ESTIMATORS if REGISTRY[name].kind == "sampler"]
SCORED = [name for name in ESTIMATORS if name not in SAMPLERS and REGISTRY[name].evaluations == 1]
SEVERAL_PASSES = [name for name in ESTIMATORS if name not in SAMPLERS + SCORED]
VAE_ESTIMATORS = (  # those that the binary VAE trains with
    "concrete", "sigmoid-adjusted", "reinmax", "moving-average", "nvil", "leave-one-out", "muprop", "rebar",
    "relax", "arm", "disarm",
)  # fmt: skip
ARCHITECTURES = ("linear", "nonlinear")  # of the binary VAE
WIDEST = 10_000  # units of a layer
MOST = 1_000_000  # of what is counted; beyond it, numbers are mistakes
LONGEST = 1000  # entries of a list, characters of a name or path


def _integer(value, low, high=MOST):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and low <= value <= high


def _whole(low, high=MOST, more=""):
    """A rule: whole numbers of a range."""
    return lambda v: _integer(v, low, high), f"a whole number from {low} to {high}{more}"


def _positive(value):
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 < value <= MOST


def _text(value):
    return isinstance(value, str) and 0 < len(value) <= LONGEST and "\0" not in value


def _widths(value):
    listed = isinstance(value, (list, tuple)) and 1 <= len(value) <= MAX_LAYERS
    return listed and all(_integer(width, 1, WIDEST) for width in value)


# name -> (does a value pass?, what is allowed)
RULES = {
    "estimator": (lambda v: v in ESTIMATORS, "one of " + ", ".join(ESTIMATORS)),
    "learning_rate": (_positive, f"a number above 0, up to {MOST}"),
    "hidden": (_widths, f"a list of 1 to {MAX_LAYERS} layer widths, each a whole number from 1 to {WIDEST}"),
    "slope_rate": (_positive, f"a number above 0, up to {MOST} (1 keeps the slope constant)"),
    "slope_in_training": (lambda v: isinstance(v, bool), "true or false"),
    "slope_in_evaluation": (lambda v: isinstance(v, bool), "true or false"),
    "train_mode": (lambda v: v in MODES, "one of " + ", ".join(MODES)),
    "eval_mode": (lambda v: v in MODES, "one of " + ", ".join(MODES)),
    "stable_loss": (lambda v: isinstance(v, bool), "true or false"),
    "zero_biases": (lambda v: isinstance(v, bool), "true or false"),
    "dataset": (_text, "auto, mnist, digits or the path of an .npz file"),
    "train_on": (lambda v: v in ("train", "validation"), "train or validation"),
    "evaluate_on": (lambda v: v in ("validation", "test"), "validation or test"),
    "seed": _whole(0, 2**31 - 1),
    "epochs": _whole(1),
    "steps_per_epoch": _whole(RECORD_EVERY + 1, more=", so that an epoch records a point"),
}


def check(name, value, rule=None, where=""):
    """Raise `InputError` unless `value` passes the rule of that name."""
    passes, allowed = RULES[rule or name]
    try:
        good = passes(value)
    except (TypeError, ValueError, OverflowError):  # an unhashable or otherwise alien value
        good = False
    if not good:
        raise InputError(f"{where}{name} is {shown(value)}; expected {allowed}")
    return value


def grid(settings, seeds, **common):
    """Specs of every setting at every seed.

    Args:
        settings: label -> the fields of `Spec` that set it apart.
        seeds: list of seeds.
        common: fields that all share.

    Returns:
        A list of (label, Spec), seeds running fastest.
    """
    check("seeds", seeds)
    return [
        (label, Spec(**{**common, **fields, "seed": seed}))
        for label, fields in settings.items()
        for seed in seeds
    ]


def _different(value):
    return isinstance(value, (list, tuple)) and 0 < len(value) <= LONGEST and len(set(value)) == len(value)


def _list_of(rule):
    passes = RULES[rule][0]
    return lambda v: _different(v) and all(map(passes, v))


def _depths(value):
    return _list_of("seed")(value) and all(1 <= depth <= MAX_LAYERS for depth in value)


# parameters of chapters and of the benchmark that are not fields of a Spec
RULES |= {
    "level": (lambda v: _positive(v) and v < 1, "a number between 0 and 1"),
    "depths": (_depths, f"a list of different numbers of layers from 1 to {MAX_LAYERS}"),
    "width": _whole(1, WIDEST),
    "mnist-dir": (_text, "a folder with MNIST's four original files"),
    "benchmark": (_text, "the path of a file from bsn bench --json"),
    "scaling": (_text, "the path of a file from bsn bench --workers --json"),
    "rounds": _whole(1),
    "steps": (
        lambda v: _integer(v, 2 * RECORD_EVERY) and v % RECORD_EVERY == 0,
        f"a multiple of {RECORD_EVERY} from {2 * RECORD_EVERY} to {MOST}",
    ),
    "seeds": (_list_of("seed"), "a list of at least one seed, all different, each " + RULES["seed"][1]),
    "estimators": (_list_of("estimator"), "a list of different ones of " + ", ".join(ESTIMATORS)),
    "tune": (lambda v: isinstance(v, bool), "true or false"),
    "tuning_seed": RULES["seed"],
    "learning_rates": (_list_of("learning_rate"), "a list of different numbers above 0"),
    "reinforce_learning_rates": (_list_of("learning_rate"), "a list of different numbers above 0"),
    "failing_learning_rate": RULES["learning_rate"],
    "failing_epochs": RULES["epochs"],
    "sigmoid_learning_rates": (_list_of("learning_rate"), "a list of different numbers above 0"),
    "samples": _whole(1),
    "slopes": (_list_of("slope_rate"), "a list of different numbers above 0"),
    "targets": (
        lambda v: RULES["learning_rates"][0](v) and all(t < 1 and t != 0.5 for t in v),
        "a list of different numbers between 0 and 1, none of them 0.5",
    ),
    "descent_steps": _whole(1),
    "points": _whole(2),
    "problems": _whole(2),
    "units": _whole(2, 6),
    "layer_width": _whole(1, 8),
    "net_seeds": (
        lambda v: _list_of("seed")(v) and len(v) > 1,
        "a list of at least two seeds, all different, each " + RULES["seed"][1],
    ),
    "checkpoints": (
        lambda v: _list_of("seed")(v) and list(v) == sorted(v),
        "a list of different numbers of steps from 0, in rising order",
    ),
    "draws": _whole(2),
    "noises": _whole(1),
    "temperature": RULES["learning_rate"],
    "tuning_steps": _whole(1),
    "vae_estimators": (
        lambda v: _different(v) and set(v) <= set(VAE_ESTIMATORS),
        "a list of different names out of " + ", ".join(VAE_ESTIMATORS),
    ),
    "architectures": (
        lambda v: _different(v) and set(v) <= set(ARCHITECTURES),
        "a list of different names out of " + ", ".join(ARCHITECTURES),
    ),
    "vae_steps": (
        lambda v: _integer(v, RECORD_EVERY) and v % RECORD_EVERY == 0,
        f"a multiple of {RECORD_EVERY} from {RECORD_EVERY} to {MOST}",
    ),
}
