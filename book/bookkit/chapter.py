"""What a chapter does with its settings: train them, and compare the outcome with the post and the record."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from bookkit import confirmatory, data, engines, experiments, record, runs, statistics
from bookkit.figures.style import intervals, styled
from bookkit.parameters import RULES, assignments, check
from bookkit.progress import tell_cost
from bookkit.settings import Settings
from bsn.errors import InputError
from bsn.spec import Spec

SHARED = ("hidden", "stable_loss", "seeds", "epochs", "steps_per_epoch", "dataset", "engine")


def checked(namespace: dict[str, Any]) -> dict[str, Any]:
    """Check a chapter's parameters, in its `globals()`; return those that all its nets share, for `train`.

    Raises:
        InputError: a value that its rule in `bookkit.parameters` does not allow, or one that papermill set
            for a parameter that the chapter does not have.
    """
    _refuse_unknown(namespace.get("In", []))
    for name in RULES:
        if name in namespace:
            namespace[name] = check(name, namespace[name])
    return {name: namespace[name] for name in SHARED if name in namespace}


def _refuse_unknown(cells: Sequence[str]) -> None:
    """Refuse names that papermill set in a cell of its own, but the parameters cell before it did not."""
    for declaring, setting in zip(cells, cells[1:]):
        if setting.startswith("# Parameters\n"):
            declared, given = assignments(declaring), assignments(setting)
            for name in given:
                if name not in declared:
                    expected = ", ".join(declared)
                    raise InputError(f"the chapter has no parameter {name}; expected one of {expected}")


def load(dataset: str = "auto") -> data.Data:
    """Load the data set of that name; see `bookkit.data.load`."""
    return data.load(dataset, Settings.from_environment().mnist_dir)


def train(
    settings: Mapping[str, dict[str, Any]],
    seeds: Sequence[int],
    dataset: str = "auto",
    engine: str = "tensorflow",
    **common: Any,
) -> pd.DataFrame:
    """Return the curves of every setting at every seed, as `bookkit.runs.run`, with a column `label`.

    A setting has a label and the fields of `bsn.Spec` in which it differs; `common` are those that all share.
    """
    specs = [
        (label, Spec(**{**common, **fields, "seed": seed}))
        for label, fields in settings.items()
        for seed in seeds
    ]
    source = load(dataset)
    distinct = list(dict.fromkeys(spec for _, spec in specs))  # two labels may mean the same net
    curves = runs.run(distinct, source, Settings.from_environment(), engine)
    seconds = curves.drop_duplicates("net").seconds
    keys = [record.key(spec, source.checksum, engines.of(spec, engine)) for spec in distinct]
    tell_cost(len(seconds), float(seconds.sum()), curves.attrs["trained"], keys)
    by_net = dict(tuple(curves.groupby("net")))
    copies = [
        by_net[distinct.index(spec)].assign(net=net, label=label) for net, (label, spec) in enumerate(specs)
    ]
    return pd.concat(copies, ignore_index=True)


def glue_results(results: Mapping[str, object]) -> None:
    """Hand a chapter's results on to its text, where {glue:text}`name` stands for each."""
    from myst_nb import glue

    for name, value in results.items():
        glue(name, value, display=False)


def claim_answers(*numbers: int) -> Markdown:
    """Return the answers to those claims of the post, by the book's record: a sentence or two each."""
    answers = statistics.answers(statistics.scorecard()[1])
    chosen = answers[answers.claim.isin(numbers)]
    rows = chosen[["claim", "says", "answer"]].itertuples(index=False, name=None)
    lines = [f"- **Claim {claim}.** *{says}.* {answer}" for claim, says, answer in rows]
    return Markdown("\n".join(lines))


def on_claims(*numbers: int) -> Styler:
    """Return the record's verdicts on those claims of the post, for a page: one row per reading."""
    claims = statistics.scorecard()[1]
    return styled(statistics.readings(claims[claims.claim.isin(numbers)]).drop(columns="claim"))


def record_effect(a: str, b: str) -> float:
    """Return the effect of the reading that compares those two, as the pre-registration names them."""
    claims = statistics.scorecard()[1].set_index(["a", "b"])
    return float(claims.effect[a, b])


def record_nets(net: str) -> pd.DataFrame:
    """Return the judged runs of a net of the pre-registration, evaluated in its own way: a row per seed."""
    runs = statistics.book_runs()
    return runs[runs.own & (runs.net == net)].reset_index(drop=True)


def published_numbers() -> pd.DataFrame:
    """Return the post's final numbers with their settings: those rows of `book/tables/experiments.csv`."""
    table = experiments.table()
    return table[table.published.notna()].reset_index(drop=True)


def recorded(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the book's record of the settings in `curves`: curves at all its seeds, with the same labels.

    Where the confirmatory record has no curve that was evaluated so, it is that of the exploratory seeds.
    """
    settings = [*experiments.SETTINGS, "steps_per_epoch"]
    labels = curves.drop_duplicates("label")[[*settings, "label"]]
    wanted = set(labels[settings].itertuples(index=False, name=None))

    def of(net: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(net[name] for name in settings)

    rows = confirmatory.learning_curves(lambda net: of(net) in wanted)
    exploratory = experiments.exploratory(labels)[settings].itertuples(index=False, name=None)
    others = {*exploratory} - {of(row) for row in rows}
    rows += [row for row in experiments.book_rows() if of(row) in others] if others else []
    return record.curves(rows).merge(labels, on=settings) if rows else curves.iloc[:0]


def against_published(curves: pd.DataFrame, experiment: str) -> pd.DataFrame:
    """Compare the nets of `curves` with the post's final numbers and with the book's record.

    Returns:
        One row per label, in the order trained: `published` (NaN where the post did not run these very
        settings); of the book's record `recorded` (its mean), `low` and `high` (95 % prediction interval for
        one more run) and the `verdict` on the published number; of these nets `measured` (mean over seeds),
        `seeds`, `diverged` (how many), and `inside`: how many lie in the record's interval.
    """
    finals = runs.final_accuracies(curves)
    table = finals.groupby("label", sort=False).final.agg(measured="mean", seeds="count")
    table["diverged"] = (finals.diverged_step >= 0).groupby(finals.label).sum()
    numbers = statistics.scorecard()[0][["experiment", "label", "verdict"]]
    numbers = published_numbers().merge(numbers).drop(columns="label")
    numbers = numbers[numbers.experiment.str.startswith(experiment)]
    as_post = finals[finals.steps_per_epoch == experiments.STEPS_PER_EPOCH]
    labels = as_post.drop_duplicates("label")[[*experiments.SETTINGS, "label"]]
    table = table.join(
        labels.merge(numbers, on=experiments.SETTINGS).set_index("label")[["published", "verdict"]]
    )
    of_record = statistics.book_finals(labels).groupby("label").final
    table["recorded"] = of_record.mean()
    ends = {label: statistics.prediction_interval(own) for label, own in of_record}
    table = table.join(pd.DataFrame.from_dict(ends, orient="index", columns=["low", "high"]))
    inside = finals.final.between(finals.label.map(table.low) - 1e-9, finals.label.map(table.high) + 1e-9)
    comparable = table.low.notna() & (finals.dataset == "mnist").all()
    table["inside"] = inside.groupby(finals.label).sum().where(comparable)
    return table


def show(table: pd.DataFrame) -> Styler:
    """Format a table of `against_published` for a page: four digits, as the post prints them."""

    def of_seeds(counts: pd.Series) -> list[str | None]:
        return [None if pd.isna(n) else f"{n:.0f} of {seeds}" for n, seeds in zip(counts, table.seeds)]

    columns = {
        "published": table.published,
        "recorded mean": table.recorded,
        "95 % for one run": intervals(table.low, table.high),
        "published number": table.verdict,
        "this build": table.measured,
        "inside": of_seeds(table.inside),
        "diverged": of_seeds(table.diverged),
    }
    accuracies = dict.fromkeys(("published", "recorded mean", "this build"), "{:.4f}")
    page = styled(pd.DataFrame(columns, index=table.index), accuracies, hide_index=False)
    compared = table[table.inside.notna()]
    if len(compared):
        count, nets = int(compared.inside.sum()), int(compared.seeds.sum())
        page.set_caption(
            f"Nets of this build inside the record's interval: {count} of {nets}; about 95 % are expected."
        )
    return page
