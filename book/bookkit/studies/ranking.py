"""Which estimator trains the post's classifier best: each one tuned, then judged at fresh seeds.

An estimator at a depth has a learning rate and, if it is relaxed, a temperature, chosen by successive
halving over the tuning seeds on validation accuracies. Where no net of it begins to train, it is listed and
not ranked. The others are judged on the test images at seeds of their own.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats

from bookkit import record, runs
from bookkit.data import Data
from bookkit.paths import COSTS, RANKING
from bookkit.progress import training_progress
from bookkit.settings import Settings
from bsn import curves
from bsn.errors import InputError
from bsn.estimators import ESTIMATORS, Estimator
from bsn.spec import Spec

RANKED = (  # in the book's record
    "sigmoid pass-through sigmoid-adjusted fires-only reinmax concrete st-gumbel gumbel-rao reinforce "
    "variance-adjusted moving-average leave-one-out muprop rebar arm disarm local-expectation"
).split()
SHARED: dict[str, Any] = dict(stable_loss=True, epochs=10)  # of the record's nets
LEARNING_RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
TEMPERATURES = (0.5, 1.0)  # of relaxed estimators
DEPTHS, WIDTH = (1, 2, 4), 100
DEEPEST = {"local-expectation": 1, "gumbel-rao": 1}  # trained; deeper, a step takes too long
TUNING_SEEDS, SEEDS = (901, 902, 903), range(1, 11)
NEAR = 0.002  # accuracies this near to the best are as good
BEGUN = 0.2  # accuracy above which a net has begun to train: twice what guessing one of ten classes does
SETTING = ["depth", "estimator", "learning_rate", "temperature"]
TIMED_STEPS, ROUNDS = 303, 5
LOSSES: dict[str, Callable[[Estimator], bool]] = {  # which estimators can be used
    "differentiable": lambda entry: True,
    "black box": lambda entry: not entry.derivative,
    "black box, two evaluations": lambda entry: not entry.derivative and entry.evaluations in (1, 2, "K"),
}

COSTS_SCHEMA = pa.schema(
    [("key", pa.string()), ("data", pa.string()), ("dataset", pa.string()), ("estimator", pa.string())]
    + [("depth", pa.int64()), ("width", pa.int64()), ("milliseconds", pa.list_(pa.float64()))]
    + [(name, pa.string()) for name in ("date", "machine", "versions", "digest")]
)


def grid(
    estimators: Sequence[str],
    depths: Sequence[int],
    learning_rates: Sequence[float] = LEARNING_RATES,
    temperatures: Sequence[float] = TEMPERATURES,
) -> pd.DataFrame:
    """Return every setting that is tried: the columns of `SETTING`."""
    return pd.DataFrame(
        [
            (depth, name, rate, temperature)
            for depth, name, rate in itertools.product(depths, estimators, learning_rates)
            if depth <= DEEPEST.get(name, depth)
            for temperature in (temperatures if "temperature" in ESTIMATORS[name].options else (0.5,))
        ],
        columns=SETTING,
    )


def fields(settings: pd.DataFrame, width: int, **common: Any) -> dict[str, dict[str, Any]]:
    """Label -> fields of `bsn.Spec`, for each row of settings."""
    return {
        f"{name}, {layers(depth)}, {rate:g}, {temperature:g}": dict(
            estimator=name, hidden=[width] * depth, learning_rate=rate, temperature=temperature, **common
        )
        for depth, name, rate, temperature in settings[SETTING].itertuples(index=False, name=None)
    }


def layers(depth: int) -> str:
    """Write a depth in words."""
    return f"{depth} layer{'s' * bool(depth > 1)}"


def finals(curves: pd.DataFrame) -> pd.DataFrame:
    """Return `runs.final_accuracies` with the column `depth`, the number of hidden layers."""
    accuracies = runs.final_accuracies(curves)
    return accuracies.assign(depth=accuracies.hidden.str.count("-") + 1)


def tune(
    tried: pd.DataFrame, seeds: Sequence[int], train: Callable[[pd.DataFrame, int], pd.DataFrame]
) -> pd.DataFrame:
    """Try settings by successive halving: all at the first seed, the better half at the next, and so on.

    Args:
        tried: settings, as from `grid`.
        train: (settings, seed) -> `finals` of their nets.

    Returns:
        `finals` of all that were trained.

    Reference: Jamieson, Talwalkar 2016, arXiv:1502.07943.
    """
    tuned = pd.DataFrame()
    for seed in seeds:
        tuned = pd.concat([tuned, train(tried, seed)], ignore_index=True)
        surviving = standings(tuned).merge(tried)
        place = surviving.groupby(["depth", "estimator"]).cumcount()
        count = surviving.groupby(["depth", "estimator"]).estimator.transform("count")
        tried = surviving[place < np.ceil(count / 2)][SETTING]
    return tuned


def standings(tuned: pd.DataFrame) -> pd.DataFrame:
    """Order the settings of each estimator and depth, the best first.

    One that was tried at more seeds comes first, then one with the better mean accuracy `final`, of equals
    that with the smaller rate.
    """
    table = tuned.groupby(SETTING).final.agg(["mean", "count"]).reset_index()
    table = table.rename(columns={"mean": "final", "count": "seeds"})
    by = ["depth", "estimator", "seeds", "final", "learning_rate", "temperature"]
    return table.sort_values(by, ascending=[True, True, False, False, True, True], ignore_index=True)


def best_settings(tuned: pd.DataFrame) -> pd.DataFrame:
    """Choose each estimator's setting at each depth, from `finals` of the nets of `tune`.

    Returns:
        The columns of `SETTING`; `final`, the mean accuracy over the tuning seeds; `begins`, whether any net
        of the estimator began to train at that depth; `edge`, whether the rate is the least or greatest.
    """
    best = standings(tuned).drop_duplicates(["depth", "estimator"], ignore_index=True)
    highest = tuned.groupby(["depth", "estimator"]).final.max()
    begins = [highest[depth, name] > BEGUN for depth, name in zip(best.depth, best.estimator)]
    edge = best.learning_rate.isin([tuned.learning_rate.min(), tuned.learning_rate.max()])
    return best[[*SETTING, "final"]].assign(begins=begins, edge=edge)


def ranks(accuracies: pd.DataFrame) -> pd.DataFrame:
    """Summarise the estimators at each depth, from `finals` of judged nets.

    Returns:
        One row per depth and estimator, the best accuracy first: numbers of nets `seeds`, `begun` and
        `diverged`; of those that began to train the interquartile mean `accuracy`, and its 95 % bootstrap
        interval `low` to `high`. NaN if fewer than two began.

    Reference: Agarwal et al. 2021, arXiv:2108.13264.
    """
    rows = []
    for (depth, name), nets in accuracies.groupby(["depth", "estimator"]):
        begun = nets.final[nets.final > BEGUN].to_numpy()
        row = {"depth": depth, "estimator": name, "seeds": len(nets), "begun": len(begun)}
        row |= {"diverged": int((nets.diverged_step >= 0).sum())}
        row |= dict.fromkeys(("accuracy", "low", "high"), np.nan)
        if len(begun) > 1:
            ends = stats.bootstrap(
                [begun], _interquartile_mean, method="percentile", rng=np.random.default_rng(0)
            ).confidence_interval
            row |= {"accuracy": _interquartile_mean(begun), "low": ends.low, "high": ends.high}
        rows.append(row)
    return pd.DataFrame(rows).sort_values(["depth", "accuracy"], ascending=[True, False], ignore_index=True)


def _interquartile_mean(values: np.ndarray, axis: int = -1) -> Any:
    return stats.trim_mean(values, 0.25, axis=axis)


def leaders(ranked: pd.DataFrame) -> list[str]:
    """Return the estimators within `NEAR` of the best, of those that began to train at the most seeds.

    The best comes first; `ranked` are `ranks` of one depth.
    """
    sure = ranked[(ranked.begun == ranked.begun.max()) & (ranked.begun > 1)]
    return list(sure[sure.accuracy >= sure.accuracy.max() - NEAR].estimator)


def short_answer(ranked: pd.DataFrame, milliseconds: pd.DataFrame) -> pd.DataFrame:
    """Recommend the cheapest of the `leaders`, by the time of a training step.

    Args:
        ranked: from `ranks`, of binary estimators.
        milliseconds: of a training step, a row per estimator and a column per depth.

    Returns:
        One row per `loss`, a key of `LOSSES`, and `depth`: the estimator to `use` with its `accuracy`,
        `begun` and `seeds`, and the `best` one with its accuracy `highest`; "none" if none began to train.
    """
    rows = []
    for (loss, usable), depth in itertools.product(LOSSES.items(), sorted(ranked.depth.unique())):
        allowed = [name for name in ranked.estimator.unique() if usable(ESTIMATORS[name])]
        part = ranked[(ranked.depth == depth) & ranked.estimator.isin(allowed)].set_index("estimator")
        row = {"loss": loss, "depth": depth, "use": "none"}
        near = leaders(part.reset_index())
        if near:
            use = milliseconds.loc[near, depth].idxmin()
            row |= {"use": use, **part.loc[use, ["accuracy", "begun", "seeds"]]}
            row |= {"best": near[0], "highest": part.accuracy[near[0]]}
        rows.append(row)
    return pd.DataFrame(rows)


def book_settings(estimators: Sequence[str], depths: Sequence[int]) -> pd.DataFrame:
    """Return `best_settings` of the book's record; raise an `InputError` if it did not tune one of these."""
    best = best_settings(book_finals()[0])
    for name, depth in itertools.product(estimators, depths):
        if not ((best.estimator == name) & (best.depth == depth)).any():
            known = ", ".join(map(str, best.depth[best.estimator == name])) or "none"
            raise InputError(
                f"ranking: the record has no learning rate of {name} with {layers(depth)}; expected "
                f"depths {known}, or tune true"
            )
    return best[best.estimator.isin(estimators) & best.depth.isin(depths)]


def book_finals() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `finals` of the book's record: of the nets that tuned, and of those judged."""
    accuracies = finals(record.curves(record.read(RANKING)))
    return accuracies[accuracies.evaluate_on == "validation"], accuracies[accuracies.evaluate_on == "test"]


def train(source: Data, settings: Settings) -> list[record.Row]:
    """Train what this build's record lacks of the book's nets; return the rows of all, as they are tuned."""
    tuning: list[record.Row] = []

    def nets(tried: pd.DataFrame, seeds: Sequence[int], **common: Any) -> list[record.Row]:
        each = fields(tried, WIDTH, **common, **SHARED).values()
        specs = [Spec(**net, seed=seed) for net in each for seed in seeds]
        return runs.rows(specs, source, settings, "compiled")[0]

    def round_of(tried: pd.DataFrame, seed: int) -> pd.DataFrame:
        rows = nets(tried, [seed])
        tuning.extend(rows)
        return finals(record.curves(rows))

    best = best_settings(tune(grid(RANKED, DEPTHS, LEARNING_RATES, TEMPERATURES), TUNING_SEEDS, round_of))
    return tuning + nets(best[best.begins], SEEDS, evaluate_on="test")


def time_steps(source: Data, settings: Settings) -> list[record.Row]:
    """Time what this build's record lacks of the estimators' training steps; see `step_milliseconds`."""
    pairs = itertools.product(RANKED, DEPTHS)
    keys = {(name, depth): f"{name}-{depth}-{WIDTH}-{source.checksum}" for name, depth in pairs}

    def timed(lacking: list[tuple[str, int]]) -> Iterator[record.Row]:
        with training_progress(len(lacking) * (ROUNDS + 1) * TIMED_STEPS) as advance:
            for name, depth in lacking:
                row = {"estimator": name, "depth": depth, "width": WIDTH}
                row |= {"milliseconds": step_milliseconds(name, depth, WIDTH, source)}
                advance((ROUNDS + 1) * TIMED_STEPS)
                yield record.signed(keys[name, depth], source, row, record.COMPUTED_WITH)

    folder = settings.record and settings.record / "costs"
    return record.completed(keys, folder, settings.fresh, timed, COSTS_SCHEMA)[0]


def step_milliseconds(estimator: str, depth: int, width: int, source: Data) -> list[float]:
    """Return the milliseconds of a training step of one net in TensorFlow, in each of `ROUNDS`."""
    spec = Spec(estimator=estimator, learning_rate=0.01, hidden=(width,) * depth, **SHARED)
    nets = curves.Nets([spec], source.parts, source.classes)
    at_once = curves.RECORD_EVERY + 1
    order = curves.shuffled_batches(0, len(source.parts["train"][1]), at_once)
    noise = curves.training_noise(spec, 0, at_once)
    milliseconds = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        for _ in range(TIMED_STEPS // at_once):
            nets.train(order, noise, 0, np.ones(1, np.float32), np.ones(1, bool))
        milliseconds.append(1000 * (time.perf_counter() - started) / TIMED_STEPS)
    return milliseconds[1:]  # the first compiles


def book_milliseconds() -> pd.DataFrame:
    """Return the book's median milliseconds of a training step: a row per estimator, a column per depth."""
    frame = pd.DataFrame(record.read(COSTS, COSTS_SCHEMA))
    frame["milliseconds"] = frame.milliseconds.map(np.median)
    return frame.pivot(index="estimator", columns="depth", values="milliseconds")
