"""Whether TensorFlow and the compiled engine train the same nets: step by step, and in the end."""

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from bookkit import data, engines, experiments, record, statistics
from bookkit.compiled import kernels
from bookkit.compiled.nets import Nets
from bookkit.figures.style import intervals, styled
from bookkit.paths import TENSORFLOW
from bsn import curves
from bsn.estimators import ESTIMATORS
from bsn.spec import BATCH_SIZE, Spec

ROUNDING = 1e-4  # of a weight; a sample that flips moves some by more
MARGIN = 0.002  # accuracies this near are equivalent
SPREAD = 0.0015  # standard deviation of their differences up to which ten seeds can tell
VERDICTS = ("equivalent", "not shown", "differ", "no difference seen")


def step_by_step(spec: Spec, source: data.Data, steps: int) -> pd.DataFrame:
    """Train a net of one hidden layer by both engines, a mini-batch at a time.

    Returns:
        One row per step: `difference`, the greatest of any weight after it, and `nearest`, how near a unit's
        uniform came to its probability, where rounding can flip the sample.
    """
    tensorflow, compiled = curves.Nets([spec], source.parts, source.classes), Nets([spec], source)
    images = source.parts[spec.train_on][0]
    rows = curves.shuffled_batches(spec.seed, len(images), steps)
    noise = curves.uniform_noise(spec.seed, 0, curves.TRAINING, [steps, BATCH_SIZE, *spec.hidden])
    how = np.ones(1, np.float32), np.ones(1, bool)
    table = []
    for t in range(steps):
        weights, biases = engines.layers_of(tensorflow, 0)[0]
        p = 1 / (1 + np.exp(-(images[rows[t]] @ weights + biases)))
        for nets in (tensorflow, compiled):
            nets.train(rows[t : t + 1], noise[t : t + 1], t, *how)
        (first, *others), (own, *others_own) = engines.layers_of(tensorflow, 0), kernels.net(compiled.nets, 0)
        # of pixels that are black in all examples, TensorFlow has no weights
        pairs = [(first[0], own[0] * tensorflow.live[:, None]), (first[1], own[1])]
        pairs += [pair for layers in zip(others, others_own) for pair in zip(*layers)]
        table.append((max(np.abs(a - b).max() for a, b in pairs), np.abs(noise[t] - p).min()))
    return pd.DataFrame(table, columns=["difference", "nearest"])


def first_flips(names: list[str], source: data.Data, steps: int) -> pd.DataFrame:
    """Say for how many steps the two engines agree to `ROUNDING`, one row per estimator.

    Its columns: `estimator`; `steps`, those that agree; `difference`, the greatest until then; `nearest`, of
    the step that ended it, else NaN.
    """
    table = []
    for name in names:
        rate = 0.1 if ESTIMATORS[name].kind == "sampler" else 0.003
        path = step_by_step(Spec(estimator=name, learning_rate=rate, stable_loss=True), source, steps)
        agreed = int(np.argmax([*(path.difference > ROUNDING), True]))
        nearest = path.nearest.get(agreed, np.nan)
        table.append((name, agreed, path.difference[:agreed].max(), nearest))
    return pd.DataFrame(table, columns=["estimator", "steps", "difference", "nearest"])


def finals() -> pd.DataFrame:
    """Compare final accuracies of the nets of the post's numbers, paired by seed: one row per number.

    Its columns: `experiment`, `label`, `compiled`, `tensorflow` (means), `effect` (TensorFlow minus
    compiled), `low`, `high` (its interval: of 90 % where the differences' deviation is at most `SPREAD`, for
    an equivalence test, else of a joint coverage of 95 %), `verdict`, `seeds`, `diverged`.
    """
    columns = ["experiment", "label", "seed", "final", "diverged"]
    rows = experiments.book_rows(), record.read(TENSORFLOW)
    sides = [experiments.labelled(experiments.measures(some)) for some in rows]
    compiled, tensorflow = (side.loc[side.published.notna(), columns] for side in sides)
    both = compiled.merge(tensorflow, on=columns[:3], suffixes=("_c", "_t"))
    both["effect"] = both.final_t - both.final_c
    groups = both.groupby(columns[:2], sort=False)
    table = (
        groups[["final_c", "final_t", "effect"]].mean().set_axis(["compiled", "tensorflow", "effect"], axis=1)
    )
    close = groups.effect.std() <= SPREAD
    joint = 1 - (1 - statistics.LEVEL) / max(1, int((~close).sum()))
    ends = [
        statistics.mean_interval(part, 0.9 if narrow else joint)
        for (_, part), narrow in zip(groups.effect, close)
    ]
    table["low"], table["high"] = np.transpose(ends)
    equivalent = (-MARGIN < table.low) & (table.high < MARGIN)
    apart = (table.low > 0) | (table.high < 0)
    table["verdict"] = np.select([close & equivalent, close, apart], VERDICTS[:3], VERDICTS[3])
    table["seeds"] = groups.size()
    counts = groups[["diverged_c", "diverged_t"]].sum().astype(int)
    table["diverged"] = [f"{c}, {t}" for c, t in counts.itertuples(index=False)]
    return table.reset_index()


def show(table: pd.DataFrame) -> Styler:
    """Format `finals` for a page."""
    names = {"tensorflow": "TensorFlow", "effect": "difference"}
    page = table.assign(number=table.experiment + ": " + table.label).rename(columns=names)
    page["interval"] = intervals(table.low, table.high, "+.4f")
    page = page[["number", "compiled", "TensorFlow", "difference", "interval", "verdict", "diverged"]]
    return styled(page, {"compiled": "{:.4f}", "TensorFlow": "{:.4f}", "difference": "{:+.4f}"})
