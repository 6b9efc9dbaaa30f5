"""Same seed, different machine: how a rounding error of the initial weights grows while a net trains."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.io.formats.style import Styler
from scipy.special import expit

from bookkit import paths, record
from bookkit.data import Data
from bookkit.figures import style
from bookkit.figures.style import SERIES, Figure, styled
from bookkit.progress import training_progress
from bookkit.settings import Settings
from bsn import curves
from bsn.backend import tf
from bsn.estimators import ESTIMATORS
from bsn.spec import Spec

ROUNDING = 1e-7  # of each weight, up or down: float32 has 24 bits
DOUBLES = 4  # copies beside the net itself: machines that round differently
CLOSELY, BETWEEN = 200, 25  # the first steps, each of which is compared, and the stride after them
LEARNED = 0.5  # accuracy above which a net has learned
GROWS = 10.0  # factor in a hundred steps from which a distance grows
FITTED = 20  # least number of steps for a fit
RATES = {True: 0.3, False: 0.05}  # the experiments': where the loss's derivative is taken, and where not
FOLLOWED = [  # those that sample, and do not evaluate once per unit
    name for name, entry in ESTIMATORS.items() if entry.noise != 0 and "H" not in str(entry.evaluations)
]
NAMED = ["pass-through", "reinmax", "sigmoid-adjusted", "reinforce"]  # in the figure
DEPTHS, WIDTH, STEPS = (1, 4), 100, 5005  # of the book's record: five epochs

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("key", "data", "dataset", "estimator")]
    + [("depth", pa.int64()), ("learning_rate", pa.float64()), ("seed", pa.int64())]
    + [("step", pa.list_(pa.int64())), ("distance", pa.list_(pa.float64()))]
    + [("differing", pa.list_(pa.int64())), ("accuracy", pa.list_(pa.float64()))]  # the last: by net
    + [(name, pa.string()) for name in ("date", "machine", "versions", "digest")]
)


def follow(
    spec: Spec, source: Data, steps: int, rounding: float = ROUNDING
) -> tuple[pd.DataFrame, np.ndarray]:
    """Train a net alongside `DOUBLES` copies, whose initial weights are rounded differently, by TensorFlow.

    Returns:
        One row for each of the first `CLOSELY` steps, then per `BETWEEN`: `step`; `distance`, the greatest
        difference of a weight or bias from the net's before it; `differing`, how many samples of the units
        differ from the net's at it, over all copies, layers and examples of its mini-batch.
        Then the nets' accuracies after the last step, the net's own first, [1 + `DOUBLES`].
    """
    nets = curves.Nets([spec] * (1 + DOUBLES), source.parts, source.classes)
    rng = np.random.default_rng(spec.seed)

    def doubles(array: Any) -> Any:
        signs = rng.choice([-1, 1], array[1:].shape)
        return tf.concat([array[:1], array[1:] * (1 + rounding * signs).astype(np.float32)], axis=0)

    nets.layers = tf.nest.map_structure(doubles, nets.layers)
    images = source.parts[spec.train_on][0][:, nets.live]
    order = curves.shuffled_batches(spec.seed, len(images), steps + 1)
    entry = ESTIMATORS[spec.estimator]
    how = np.ones(1 + DOUBLES, np.float32), np.ones(1 + DOUBLES, bool)
    rows: list[tuple[int, float, int]] = []
    step = 0
    while True:
        count = 1 if step < CLOSELY else BETWEEN
        noise = curves.training_noise(spec, step, step + count)
        own = noise[0, 0] if entry.noise == "K" else noise[0]  # of two samples the first is the net's own
        layers = tf.nest.map_structure(lambda array: array.numpy(), nets.layers)
        distance = max(np.abs(array[1:] - array[0]).max() for pair in layers for array in pair)
        differing = _differing(layers, images[order[step]], own) if entry.noise else 0
        rows.append((step, distance, differing))
        count = min(count, steps - step)
        if not count:
            break
        nets.train(order[step : step + count], noise[:count], step, *how)
        step += count
    shape = [len(source.parts[spec.evaluate_on][1]), sum(spec.hidden)]
    accuracies = nets.evaluate(curves.uniform_noise(spec.seed, steps, curves.EPOCH, shape), *how)
    return pd.DataFrame(rows, columns=["step", "distance", "differing"]), accuracies


def follow_all(
    pairs: Sequence[tuple[str, int]], width: int, seed: int, source: Data, steps: int
) -> Iterator[record.Row]:
    """Follow pairs of an estimator and a number of layers, one after another.

    Yields:
        `estimator`, `depth`, `learning_rate`, `seed`; of `follow` the lists `step`, `distance`, `differing`
        and `accuracy`.
    """
    with training_progress((1 + DOUBLES) * steps * len(pairs)) as advance:
        for name, depth in pairs:
            rate = RATES[bool(ESTIMATORS[name].derivative)]
            fields: dict[str, Any] = {"estimator": name, "learning_rate": rate, "seed": seed}
            path, accuracies = follow(
                Spec(**fields, hidden=(width,) * depth, stable_loss=True), source, steps
            )
            advance((1 + DOUBLES) * steps)
            lists = {str(column): path[column].tolist() for column in path}
            yield {**fields, "depth": depth, **lists, "accuracy": accuracies.tolist()}


def train(source: Data, settings: Settings) -> list[record.Row]:
    """Follow what this build's record lacks of the book's; return a row for each estimator and depth."""
    pairs = itertools.product(FOLLOWED, DEPTHS)
    keys = {(name, depth): f"{name}-{depth}-{STEPS}-{source.checksum}" for name, depth in pairs}

    def trained(lacking: list[tuple[str, int]]) -> Iterator[record.Row]:
        for pair, row in zip(lacking, follow_all(lacking, WIDTH, 0, source, STEPS)):
            yield record.signed(keys[pair], source, row, record.COMPUTED_WITH)

    folder = settings.record and settings.record / "repeatability"
    return record.completed(keys, folder, settings.fresh, trained, SCHEMA)[0]


def book_paths() -> pd.DataFrame:
    """Return the book's record, as `follow_all` has it."""
    return pd.DataFrame(record.read(paths.REPEATABILITY, SCHEMA))


def _differing(layers: Any, x: np.ndarray, noise: np.ndarray) -> int:
    """Return how many samples of nets side by side differ from the first's."""
    differing, at = 0, 0
    for weights, biases in layers[:-1]:
        end = at + weights.shape[-1]
        x = (noise[:, at:end] < expit(x @ weights + biases)).astype(np.float32)
        differing, at = differing + int((x[1:] != x[0]).sum()), end
    return differing


def summary(paths: pd.DataFrame) -> pd.DataFrame:
    """Summarise `follow_all`: one row for each estimator and depth.

    Returns:
        `growth`, the factor by which the distance grows in a hundred steps until a sample flips, a fit of its
        logarithm, NaN of fewer than `FITTED`; `first`, the first compared step at which one has flipped, NaN
        if none; `last`, the distance at the end; `apart`, the greatest difference of two nets' accuracies
        there; `best`, the greatest of these accuracies; `diverged`, whether the distance became NaN or
        infinite.
    """
    rows = []
    for row in paths.to_dict("records"):
        step, distance, differing = (np.array(row[name]) for name in ("step", "distance", "differing"))
        first = step[differing > 0].min() if differing.any() else np.nan
        before = ~(step > first)
        slope = (
            np.polyfit(step[before], np.log10(distance[before]), 1)[0] if before.sum() >= FITTED else np.nan
        )
        summed = {name: row[name] for name in ("estimator", "depth", "learning_rate")}
        summed |= {"growth": 10 ** (100 * slope), "first": first, "last": distance[-1]}
        summed |= {"apart": float(np.ptp(row["accuracy"])), "best": max(row["accuracy"])}
        rows.append(summed | {"diverged": not np.isfinite(distance).all()})
    return pd.DataFrame(rows)


def show(table: pd.DataFrame) -> Styler:
    """Format `summary` for a page: one row per net, with its copies."""
    names = {
        "estimator": "estimator",
        "depth": "layers",
        "first": "first flip",
        "last": "difference at the end",
        "apart": "accuracy gap",
    }
    page = table[list(names)].assign(estimator=table.estimator.map(_title), apart=_apart(table))
    page = page.rename(columns=names)
    formats = {"first flip": "{:.0f}", "difference at the end": "{:.0e}"}
    return _right_aligned(styled(page, formats), [4])


def show_depths(table: pd.DataFrame) -> Styler:
    """Format `summary` of two depths for a page: one row per estimator."""
    parts = []
    for depth, part in table.assign(apart=_apart(table)).groupby("depth"):
        layers = _layers(depth)
        names = {"first": f"first flip, {layers}", "apart": f"accuracy gap, {layers}"}
        parts.append(part.set_index("estimator")[list(names)].rename(columns=names))
    page = pd.concat(parts, axis=1).reset_index()
    page = page.assign(estimator=page.estimator.map(_title))
    page = page[["estimator", *sorted(page.columns[1:], key=lambda name: not name.startswith("first"))]]
    formats = {name: "{:.0f}" for name in page.columns[1:] if "first" in name}
    return _right_aligned(styled(page, formats), range(1 + len(formats), len(page.columns)))


def _apart(table: pd.DataFrame) -> list[str]:
    """Return how far the accuracies of each row of `summary` are apart, if its nets learned."""
    return [
        "diverged" if diverged else "untrained" if best <= LEARNED else f"{apart:.4f}"
        for diverged, best, apart in zip(table.diverged, table.best, table.apart)
    ]


def _right_aligned(page: Styler, columns: Iterable[int]) -> Styler:
    cells = ", ".join(f"td.col{i}, th.col_heading.col{i}" for i in columns)
    return page.set_table_styles([{"selector": cells, "props": "text-align: right"}], overwrite=False)


def _layers(depth: Any) -> str:
    return f"{depth} layers" if depth > 1 else "1 layer"


def _title(name: str) -> str:
    return ESTIMATORS[name].title


def figure(paths: pd.DataFrame) -> Figure:
    """Draw the distance by step: one panel for each of `NAMED`, one line per depth.

    A dot marks the step at which the first sample differs.
    """
    drawn, axes = style.panels([_title(name) for name in NAMED], 2, 1.75, 0.4)
    depths = list(paths.depth.unique())
    chosen = paths[paths.estimator.isin(NAMED)]
    first = summary(chosen).set_index(["estimator", "depth"])["first"]
    for axis, name in zip(axes, NAMED):
        for depth, colour, line in zip(depths, SERIES, style.LINES):
            path = chosen[(chosen.estimator == name) & (chosen.depth == depth)].iloc[0]
            step, distance = np.add(path.step, 1), np.array(path.distance)
            axis.plot(step, distance, line, color=colour, linewidth=1.8)
            if np.isfinite(at := first[name, depth]):
                axis.plot(at + 1, distance[list(path.step).index(at)], "o", color=colour, markersize=6)
        axis.set(xscale="log", yscale="log", ylim=(1e-8, 100))
        axis.set_yticks([1e-8, 1e-4, 1], ["10⁻⁸", "10⁻⁴", "1"])
        axis.xaxis.set_major_formatter("{x:,.0f}")
    for place, (depth, colour, line) in enumerate(zip(depths, SERIES, style.LINES)):
        word = f"{_layers(depth)}, {'dashed' if line == '--' else 'solid'}"
        offset = (6, -8 - 15 * place)
        style.note(axes[1], word, (0, 1), offset, xycoords="axes fraction", color=colour, va="top")
    drawn.supxlabel("Training step", fontsize=10)
    drawn.supylabel("Largest difference in any weight", fontsize=10)
    text = "How far nets that begin one rounding error apart drift apart, by step, estimator and depth."
    columns = ["step", "distance", "differing"]
    return Figure(drawn, text, chosen[["estimator", "depth", *columns]].explode(columns))
