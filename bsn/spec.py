"""What identifies one trained net, and which values its settings may take."""

import dataclasses
import math
import numbers

from bsn.errors import InputError, shown

# What the training knows of the table in bsn.estimators; a test holds the names together. They are
# repeated so that a spec can be checked without importing TensorFlow. Training tells the kinds apart:
SAMPLERS = (  # the loss's gradient comes back through the units, with a slope
    "sigmoid",
    "pass-through",
    "sigmoid-adjusted",
    "fires-only",
    "reinmax",
    "concrete",
    "st-gumbel",
    "gumbel-rao",
)
SCORED = ("reinforce", "variance-adjusted", "moving-average")  # one pass, no derivative
SEVERAL_PASSES = ("leave-one-out", "muprop", "rebar", "arm", "disarm", "local-expectation")
ESTIMATORS = SAMPLERS + SCORED + SEVERAL_PASSES
UNTRAINED = {
    "nvil": "its baseline is a second net, whose shape and learning rate a spec does not have",
    "relax": "its surrogate is a second net, learned on the variance, and a spec has no settings for it",
    "exact": "it sums over all 2^H states of a layer's H units, too many for a net; it is there to test with",
}
VAE_ESTIMATORS = (  # those that the binary VAE trains with
    "concrete", "sigmoid-adjusted", "reinmax", "moving-average", "nvil", "leave-one-out", "muprop", "rebar",
    "relax", "arm", "disarm",
)  # fmt: skip
ARCHITECTURES = ("linear", "nonlinear")  # of the binary VAE
MODES = ("stochastic", "deterministic")
BATCH = 50  # examples a mini-batch (the post)
RECORD_EVERY = 100  # steps between two points of a learning curve (the post)
MAX_LAYERS = 8
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
        raise InputError(f"{where}{name} is {shown(value)}; allowed: {allowed}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """The settings that determine one trained net.

    Attributes:
        estimator: a name in `ESTIMATORS`; of those of `bsn.estimators`, the ones in `UNTRAINED` are
            refused with a reason. Options are the functions' own: a temperature of 1/2, eta 1; Gumbel-Rao
            averages 10 evenly spaced draws. Only samplers have a slope or train rounded.
        learning_rate: as the post writes it; gradients are summed over the batch and the loss is
            a tenth of the cross-entropy, so the usual convention's rate is 5 times this.
        hidden: widths of the hidden layers.
        slope_rate: factor on the slope after each epoch; 1 keeps it constant.
        slope_in_training: whether training uses the annealed slope too. The post's code anneals
            the evaluation alone.
        slope_in_evaluation: whether the evaluation uses the annealed slope.
        train_mode, eval_mode: "stochastic" samples, "deterministic" rounds.
        stable_loss: log-softmax in one step; False takes the log of the softmax, as the post.
        zero_biases: whether biases start at 0; False draws them Glorot-uniform, as the post.
        dataset: "mnist", "digits" or the path of an .npz file; see `bsn.data.load`.
        train_on, evaluate_on: which parts of the data.
        seed: of the initial weights, the shuffling and the sampling.
        epochs, steps_per_epoch: length of the training, in epochs and mini-batches an epoch.

    Raises:
        InputError: a value outside what is allowed, or a combination that is not defined.
    """

    estimator: str
    learning_rate: float
    hidden: tuple = (100,)
    slope_rate: float = 1.0
    slope_in_training: bool = False
    slope_in_evaluation: bool = True
    train_mode: str = "stochastic"
    eval_mode: str = "stochastic"
    stable_loss: bool = False
    zero_biases: bool = False
    dataset: str = "mnist"
    train_on: str = "train"
    evaluate_on: str = "validation"
    seed: int = 1
    epochs: int = 20
    steps_per_epoch: int = 1001

    def __post_init__(self):
        if isinstance(self.estimator, str) and self.estimator in UNTRAINED:
            raise InputError(
                f"spec: estimator {self.estimator!r} is not trained by run(specs): "
                f"{UNTRAINED[self.estimator]}; allowed: {RULES['estimator'][1]}"
            )
        for field in dataclasses.fields(self):
            check(field.name, getattr(self, field.name), where="spec: ")
        if self.train_on == self.evaluate_on:
            raise InputError(f"spec: train_on and evaluate_on are both {self.train_on!r}; allowed: two parts")
        if self.estimator not in SAMPLERS and self.slope_rate != 1:
            raise InputError(f"spec: slope_rate is {self.slope_rate} with {self.estimator}; allowed: 1")
        # Gumbel-Rao's average is over noise that fits the sample, of which a rounded unit has none
        drawn = self.estimator not in SAMPLERS or self.estimator == "gumbel-rao"
        if drawn and self.train_mode == "deterministic":
            raise InputError(
                f"spec: train_mode is 'deterministic' with {self.estimator}; allowed: stochastic"
            )
        # one spelling of equal specs
        if self.slope_rate == 1:
            object.__setattr__(self, "slope_in_training", False)
            object.__setattr__(self, "slope_in_evaluation", True)
        object.__setattr__(self, "hidden", tuple(int(width) for width in self.hidden))
        for name in ("seed", "epochs", "steps_per_epoch"):  # NumPy's too
            object.__setattr__(self, name, int(getattr(self, name)))
        object.__setattr__(self, "learning_rate", float(self.learning_rate))
        object.__setattr__(self, "slope_rate", float(self.slope_rate))


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
