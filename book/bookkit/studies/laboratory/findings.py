"""What follows from the measurements: errors at a budget, a ranking, and verdicts on published orderings."""

import numpy as np
import pandas as pd

from bookkit import statistics
from bookkit.studies.laboratory.rules import moments, rule
from bsn.backend import tf
from bsn.estimators import ESTIMATORS, relax, tied

LEVEL = 0.95
ROUNDING = 1e-9
# what is said, by whom (a key of book/references.bib), of what, of which estimator against which other
ORDERINGS = [
    ("DisARM ≤ ARM", "dong2020", "deviation", "disarm", "arm"),
    ("DisARM < leave-one-out", "dong2020", "deviation", "disarm", "leave-one-out"),
    ("Gumbel-Rao ≤ ST-Gumbel", "paulus2021", "deviation", "gumbel-rao", "st-gumbel"),
    (
        "local expectation ≤ NVIL",
        "titsias2015",
        "deviation",
        "local-expectation",
        "nvil",
    ),
    ("REBAR < REINFORCE", "tucker2017", "deviation", "rebar", "reinforce"),
    ("REBAR < MuProp", "tucker2017", "deviation", "rebar", "muprop"),
    ("RELAX < REINFORCE", "grathwohl2018", "deviation", "relax", "reinforce"),
    ("RELAX < REBAR", "grathwohl2018", "deviation", "relax", "rebar"),
    ("ReinMax < sigmoid-adjusted, bias", "liu2023", "bias", "reinmax", "sigmoid-adjusted"),
]


def catalogue():
    """The table of `bsn.estimators`, a row an estimator."""
    columns = ["kind", "bias", "evaluations", "derivative", "noise", "state", "reference"]
    rows = {name: [getattr(entry, column) for column in columns] for name, entry in ESTIMATORS.items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).replace("", "–")
    names = {"evaluations": "evaluations of f", "derivative": "derivative at", "noise": "uniforms"}
    names["state"] = "kept between steps"
    return table.rename(columns=names)


def bias(frame):
    """The relative bias; of the unbiased 0, of those measured by draws without what the draws add to it."""
    squared = frame.bias**2 - frame.bias_error**2
    known = frame.estimator.map(lambda name: ESTIMATORS[name].bias == "unbiased")
    return np.sqrt(squared.clip(lower=0)).mask(known, 0.0)


def error(frame, budget=1):
    """Relative mean squared error of the mean of so many estimates as a budget of evaluations of f pays for.

    With fewer than one estimate's evaluations the same formula is carried on.
    """
    return bias(frame) ** 2 + frame.deviation**2 * frame.evaluations / budget


def _typical(values, repeats, together):
    """Geometric mean over each repeat's points, then over repeats, with Student's interval: three numbers.

    So many such intervals hold `together` with the probability `LEVEL` (Bonferroni).
    """
    if (values <= ROUNDING**2).all():
        return 0.0, 0.0, 0.0
    logs = np.log(values).groupby(repeats).mean()
    return tuple(np.exp([logs.mean(), *statistics.mean_interval(logs, 1 - (1 - LEVEL) / together)]))


def ranking(frame, repeat, budget=1):
    """A row an estimator, the best first: error at the budget, and what it is made of.

    The errors' intervals, `low` to `high`, hold together.
    """
    rows, together = {}, frame.estimator.nunique()
    for name, part in frame.groupby("estimator", sort=False):
        value, low, high = _typical(error(part, budget), part[repeat], together)
        rows[name] = {"error": value, "low": low, "high": high, "bias": bias(part).mean()}
        rows[name] |= part[["deviation", "cosine", "evaluations", "microseconds"]].mean().to_dict()
    return pd.DataFrame.from_dict(rows, orient="index").sort_values("error", kind="stable")


def show_ranking(table):
    """A `ranking` for a page."""
    shown = pd.DataFrame(index=table.index)
    shown["error an evaluation"] = table.error.map("{:.3g}".format)
    shown["95 % interval"] = [f"{low:.3g} to {high:.3g}" for low, high in zip(table.low, table.high)]
    shown["bias"] = table.bias.map("{:.3f}".format)
    shown["deviation"] = table.deviation.map("{:.3f}".format)
    shown["cosine"] = table.cosine.map("{:.3f}".format)
    shown["evaluations of f"] = table.evaluations.map("{:.0f}".format)
    shown["time, µs"] = table.microseconds.map("{:.0f}".format)
    return shown.style


def compare(frame, where, repeat=None):
    """Every ordering in one setting: the ratio of the variances, or of the biases, and a verdict.

    Args:
        frame: from `measure_all`; where: the setting's name.
        repeat: column of independent repetitions. The verdict then rests on the geometric mean of the ratio
            and its interval, all of which hold together; without it on the median, the least and the
            greatest ratio of all points, and where they differ it says at how many the ordering holds.
    """
    rows = []
    at = [column for column in ("target", "step", "problem", "net") if column in frame]
    for claim, source, what, first, second in ORDERINGS:
        parts = [frame[frame.estimator == name].set_index(at) for name in (first, second)]
        one, other = (bias(part) if what == "bias" else part.deviation**2 for part in parts)
        ratio = (one.mask(one < ROUNDING, 0.0) / other).dropna()
        if repeat:
            typical, low, high = _typical(ratio, ratio.index.get_level_values(repeat), len(ORDERINGS))
        else:
            typical, low, high = ratio.median(), ratio.min(), ratio.max()
        if (low, high) != (0, 0) and low <= 1 + ROUNDING < high:
            count = f"at {(ratio <= 1 + ROUNDING).sum()} of {len(ratio)} points"
            verdict = statistics.UNDECIDED if repeat else count
        else:
            verdict = statistics.FAILS if low > 1 + ROUNDING else statistics.HOLDS
        rows.append((claim, source, where, typical, low, high, verdict))
    return pd.DataFrame(rows, columns=["claim", "source", "where", "ratio", "low", "high", "verdict"])


def show_orderings(table):
    """Rows of `compare` for a page: a row a claim and setting."""
    shown = table[["claim", "where"]].copy()
    shown["ratio"] = table.ratio.map("{:.4g}".format)
    shown["interval"] = [f"{low:.4g} to {high:.4g}" for low, high in zip(table.low, table.high)]
    shown["verdict"] = table.verdict
    order = list(dict.fromkeys(table.claim))
    shown = shown.sort_values("claim", key=lambda claims: claims.map(order.index), kind="stable")
    return shown.style.hide(axis="index")


def least_rebar(setting, temperatures=(0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)):
    """REBAR's least variance over REINFORCE's, at the best of some temperatures and the best scale for each.

    Of one unit, without drawing: the variance is a parabola in the scale, known by three of its points. Once
    with the relaxation sigmoid(z / t) and once with the one of the paper's experiments,
    sigmoid(z / t + a t / (t + 1)).

    Returns:
        The setting's points with two columns of ratios, `plain` and `tempered`.
    """
    nodes, weights = rule("st-gumbel", setting)
    u = tf.constant(nodes[0])
    logits = tf.zeros_like(u) + setting.logits
    noise = tf.stack([u, tied(logits, u)])

    def variance(scale, temperature, shift):
        def surrogate(z):
            return scale * setting.loss(tf.sigmoid(z / temperature + shift * logits))

        return moments(relax(setting.loss, logits, noise, surrogate).numpy(), weights, 0)[1][:, 0]

    least = {"plain": 1.0, "tempered": 1.0}
    for t in temperatures:
        for name, shift in (("plain", 0.0), ("tempered", t / (t + 1))):
            zero, half, one = (variance(scale, t, shift) for scale in (0.0, 0.5, 1.0))
            curve = 2 * (zero + one - 2 * half)
            least[name] = np.minimum(least[name], 1 - (one - zero - curve) ** 2 / (4 * curve) / zero)
    return setting.points.assign(**least)
