"""The confirmatory record: nets at fresh seeds, as `book/tables/preregistration.yml` says.

What it says was fixed before the first of them was trained, and each row carries its hash.
"""

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from bookkit import paths, record, runs
from bookkit.data import Data
from bookkit.experiments import EARLY, SETTINGS
from bookkit.record import CURVES, METRICS
from bookkit.settings import Settings
from bsn.curves import WAYS
from bsn.estimators import ESTIMATORS
from bsn.spec import BATCH_SIZE, RECORD_EVERY, Spec

REGISTERED = "659c392"  # the commit with the pre-registration, before the first judged net was trained

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("key", "data", "dataset", "preregistration", "net")]
    + [("semantics", pa.int64()), ("seed", pa.int64()), ("learning_rate", pa.float64())]
    + [("diverged_step", pa.int64()), ("seconds", pa.float64())]
    + [("evaluated", pa.int64()), ("trained", pa.int64())]  # numbers of images
    + [(name, pa.string()) for name in ("date", "machine", "versions")]
    + [(metric, pa.list_(pa.int64())) for metric in CURVES]  # how many predictions were right
    + [(metric, pa.int64()) for metric in METRICS.values()]
    + [("digest", pa.string())]
)


@functools.cache
def registered() -> dict[str, Any]:
    """Return the pre-registration; its `nets` include those of each depth, and all name their seeds."""
    content = paths.table(paths.PREREGISTRATION.stem)
    nets = {name: {"seeds": "shallow", **fields} for name, fields in content["nets"].items()}
    for (name, fields), (depth, hidden) in itertools.product(
        content["deep"].items(), content["depths"].items()
    ):
        nets[f"{name}, {depth}"] = {"seeds": "deep", **fields, "hidden": hidden}
    return {**content, "nets": nets}


def digest() -> str:
    """Return the SHA-256 of the pre-registration."""
    return hashlib.sha256(paths.PREREGISTRATION.read_bytes()).hexdigest()


def spec(net: str, learning_rate: float, seed: int) -> Spec:
    """Return the spec of a registered net."""
    fields = {name: value for name, value in registered()["nets"][net].items() if name != "seeds"}
    return Spec(**{**fields, "learning_rate": learning_rate, "seed": seed})


def train(source: Data, settings: Settings) -> list[record.Row]:
    """Train what this build's record lacks of the registered nets; return the rows of all, in order."""
    plan = registered()
    rates = {name: fields["learning_rate"] for name, fields in plan["nets"].items()}
    tried = [
        (name, spec(name, rate, seed))
        for name, several in rates.items()
        if isinstance(several, list)
        for rate in several
        for seed in plan["tuning_seeds"]
    ]
    tuned = _completed(tried, source, settings)
    rates |= best_rates(evaluations(tuned))
    judged = [
        (name, spec(name, rates[name], plan["first_seed"] + i))
        for name, fields in plan["nets"].items()
        for i in range(plan["seeds"][fields["seeds"]])
    ]
    return tuned + _completed(judged, source, settings)


def best_rates(tuned: pd.DataFrame) -> dict[str, float]:
    """Net -> the learning rate with the best mean accuracy over the tuning seeds, of equals the smallest."""
    own = tuned[tuned.own & tuned.seed.isin(registered()["tuning_seeds"])]
    means = own.groupby(["net", "learning_rate"]).final.mean()
    best = means.reset_index().sort_values(["final", "learning_rate"], ascending=[False, True])
    return dict(best.drop_duplicates("net").set_index("net").learning_rate)


def _completed(nets: Sequence[tuple[str, Spec]], source: Data, settings: Settings) -> list[record.Row]:
    def keys(net: tuple[str, Spec]) -> str:
        text = f"{net[0]} {record.key(net[1], source.checksum, 'compiled')} {digest()}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def trained(lacking: list[tuple[str, Spec]]) -> Iterator[record.Row]:
        names: dict[str, list[tuple[str, Spec]]] = {}
        for net in lacking:
            names.setdefault(record.key(net[1], source.checksum, "compiled"), []).append(net)
        distinct = list(dict.fromkeys(net for _, net in lacking))  # a tuned net may be another
        for row in runs.train(distinct, source, settings, "compiled", all_ways=True):
            for net in names[row["key"]]:
                yield counted(row, net[0], keys(net), source)

    folder = settings.record and settings.record / "confirmatory"
    return record.completed({net: keys(net) for net in nets}, folder, settings.fresh, trained, SCHEMA)[0]


def counted(row: Mapping[str, Any], net: str, key: str, source: Data) -> record.Row:
    """Return a row of `bookkit.record` as this record has it: how many predictions were right."""
    values = pd.Series(row["value"]).groupby(list(row["metric"])).agg(list)
    evaluated, trained = (len(source.parts[row[part]][1]) for part in ("evaluate_on", "train_on"))
    fields = {name: row[name] for name in SCHEMA.names if name in row}
    fields |= {"key": key, "net": net, "preregistration": digest()}
    fields |= {"evaluated": evaluated, "trained": min(evaluated, trained)}
    for metric in (*CURVES, *METRICS.values()):
        right = np.rint(np.array(values[metric]) * images(fields, metric)).astype(int)
        fields[metric] = right.tolist() if metric in CURVES else int(right[0])
    fields.pop("digest")
    return {**fields, "digest": record.digest(fields)}


def images(row: Mapping[str, Any], metric: str) -> int:
    """Return of how many images a metric counts those that were predicted right."""
    if metric == "training":
        return RECORD_EVERY * BATCH_SIZE
    return row["trained" if metric.startswith("trained") else "evaluated"]


@functools.cache
def book_rows() -> list[record.Row]:
    """Return the confirmatory record; raise an `InputError` if it belongs to another pre-registration."""
    rows = record.read(paths.CONFIRMATORY, SCHEMA)
    if {row["preregistration"] for row in rows} != {digest()}:
        raise record.refused(paths.CONFIRMATORY, f"was not trained by {paths.PREREGISTRATION.name} as it is")
    return rows


def evaluations(rows: Iterable[record.Row]) -> pd.DataFrame:
    """Return what is compared of the rows' nets: one line per net and way to evaluate it.

    Returns:
        `net`, `way`, `own` (whether the curves were evaluated so), `experiments.SETTINGS` for that way,
        `seed`, `dataset`, `engine`, `seconds`, `diverged`, `failed`; `final`, `gap`, and of its own way
        `early` and `early training`, as the pre-registration has them; `training`, that of the last record.
    """
    lines, of_seed_0 = [], functools.cache(lambda net, rate: (spec(net, rate, 0), ways(spec(net, rate, 0))))
    for row in rows:
        first = EARLY * len(row["validation"]) // (len(row["epoch"]) - 1)  # points of the first epochs
        early, training = (np.mean(row[m][:first]) / images(row, m) for m in CURVES[:2])
        own, all_ways = of_seed_0(row["net"], row["learning_rate"])
        for name, net in all_ways.items():
            on, off = (row[METRICS[name, role]] / row[role] for role in ("evaluated", "trained"))
            line = {"net": row["net"], "way": name, "own": net == own, **vars(net), "seed": row["seed"]}
            line |= {"hidden": hidden(net), "final": on, "gap": off - on}
            line |= {"training": row["training"][-1] / images(row, "training")}
            if net == own:
                line |= {"early": early, "early training": training}
            diverged = row["diverged_step"] >= 0
            line |= {"diverged": diverged, "failed": diverged or on <= registered()["chance"]}
            lines.append(line | {name: row[name] for name in ("dataset", "seconds", "date", "machine")})
    return pd.DataFrame(lines).assign(engine="compiled")


def exploratory(measures: pd.DataFrame) -> pd.DataFrame:
    """Return `bookkit.experiments.measures` of other nets in the form of `evaluations`, by their settings.

    Their gap is left out: it does not compare like with like.
    """
    plan, lines = registered(), []
    for name, fields in plan["nets"].items():
        if isinstance(fields["learning_rate"], float):
            own = spec(name, fields["learning_rate"], 1)
            lines += [
                {"net": name, "way": way, "own": net == own, **vars(net), "hidden": hidden(net)}
                for way, net in ways(own).items()
            ]
    named = pd.DataFrame(lines)[["net", "way", "own", *SETTINGS]]
    frame = measures.drop_duplicates([*SETTINGS, "seed"]).merge(named, on=SETTINGS)
    return frame.assign(gap=np.nan, failed=frame.diverged | (frame.final <= plan["chance"]))


def curves(row: Mapping[str, Any]) -> record.Row:
    """Return a row in the form of `bookkit.record`, its learning curves as accuracies."""
    net = spec(row["net"], row["learning_rate"], row["seed"])
    steps, points = net.steps_per_epoch, len(row["validation"]) // net.epochs
    records = [
        (epoch, epoch * steps + RECORD_EVERY * (i + 1) + 1)
        for epoch in range(net.epochs)
        for i in range(points)
    ]
    places = {"validation": records, "training": records}
    places["epoch"] = [(epoch, epoch * steps) for epoch in range(net.epochs + 1)]
    listed = [
        (*place, metric, right / images(row, metric))
        for metric in CURVES
        for place, right in zip(places[metric], row[metric], strict=True)
    ]
    lists = dict(zip(("after_epoch", "step", "metric", "value"), map(list, zip(*listed))))
    return {**row, **dataclasses.asdict(net), "hidden": hidden(net), "engine": "compiled", **lists}


def learning_curves(wanted: Callable[[Mapping[str, Any]], bool]) -> list[record.Row]:
    """Return the record's nets whose settings are wanted, by `curves`, the tuning seeds left out."""

    @functools.cache
    def chosen(net: str, rate: float) -> bool:
        settings = spec(net, rate, seed=0)
        return wanted({**vars(settings), "hidden": hidden(settings)})

    others = [row for row in book_rows() if row["seed"] not in registered()["tuning_seeds"]]
    return [curves(row) for row in others if chosen(row["net"], row["learning_rate"])]


def ways(net: Spec) -> dict[str, Spec]:
    """Return those of `WAYS` that differ for a net, and the net evaluated so."""
    specs = {
        name: dataclasses.replace(net, eval_mode=mode, slope_in_evaluation=annealed)
        for name, (mode, annealed) in WAYS.items()
        if mode == "stochastic" or ESTIMATORS[net.estimator].noise != 0
    }
    return {name: specs[name] for i, name in enumerate(specs) if specs[name] not in list(specs.values())[:i]}


def hidden(net: Spec) -> str:
    """Return a net's widths as the records have them."""
    return "-".join(map(str, net.hidden))
