"""What a chapter does with its settings: train them, and hold the outcome against the post and the record."""

import pandas as pd

from bookkit import data, experiments, record, runs, statistics
from bookkit.parameters import RULES, check, grid
from bookkit.progress import tell_cost
from bookkit.settings import Settings

SHARED = ("hidden", "stable_loss", "seeds", "epochs", "steps_per_epoch", "dataset")


def checked(namespace):
    """Check a chapter's parameters, and return those that all its nets share, for `train`.

    Args:
        namespace: the chapter's `globals()`, right after its parameters cell.

    Raises:
        InputError: a value that its rule in `bsn.spec` does not allow.
    """
    for name in RULES:
        if name in namespace:
            namespace[name] = check(name, namespace[name])
    return {name: namespace[name] for name in SHARED if name in namespace}


def load(dataset="auto"):
    """The data set of that name; see `bookkit.data.load`."""
    return data.load(dataset, Settings.from_environment().mnist_dir)


def train(settings, seeds, dataset="auto", **common):
    """The curves of every setting at every seed, trained unless this build's record has them.

    Args:
        settings: label -> the fields of `bsn.Spec` that set it apart.
        seeds: list of seeds.
        dataset: as for `bookkit.data.load`.
        common: fields that all settings share.

    Returns:
        The curves of `bookkit.runs.run`, with a column `label`.
    """
    environment = Settings.from_environment()
    source = data.load(dataset, environment.mnist_dir)
    labels, specs = zip(*grid(settings, seeds, **common))
    different = list(dict.fromkeys(specs))  # two labels may come to the same net
    curves = runs.run(different, source, environment)
    by_net = dict(tuple(curves.groupby("net")))
    seconds = curves.drop_duplicates("net").seconds
    keys = [record.key(spec, source.checksum) for spec in different]
    tell_cost(len(seconds), float(seconds.sum()), curves.attrs["trained"], keys)
    curves = [
        by_net[different.index(spec)].assign(net=net, label=label)
        for net, (label, spec) in enumerate(zip(labels, specs))
    ]
    return pd.concat(curves, ignore_index=True)


def on_claims(*wanted):
    """The record's verdicts on those claims of the post, for a page: a row a reading."""
    claims = statistics.scorecard()[1]
    shown = claims[claims.claim.isin(wanted)].rename(columns={"second": "second seeds"})
    shown["interval"] = [f"{low:+.4f} to {high:+.4f}" for low, high in zip(shown.low, shown.high)]
    shown = shown[["claim", "reading", "effect", "interval", "record", "second seeds", "verdict"]]
    styled = shown.style.hide(axis="index").set_properties(["interval"], **{"white-space": "nowrap"})
    styled = styled.set_properties(["reading"], **{"min-width": "11em"})
    return styled.format({"effect": "{:+.4f}"})


def published_numbers():
    """The post's final numbers, with the settings of each: those rows of `book/experiments.csv`."""
    table = experiments.table()
    return table[table.published.notna()].reset_index(drop=True)


def recorded(curves):
    """The book's record of the settings in `curves`: their curves at all its seeds, with the same labels."""
    settings = [*experiments.SETTINGS, "steps_per_epoch"]
    labels = curves.drop_duplicates("label")[[*settings, "label"]]
    wanted = set(labels[settings].itertuples(index=False, name=None))
    kept = [made for made in experiments.book_rows() if tuple(made[name] for name in settings) in wanted]
    return record.curves(kept).merge(labels, on=settings) if kept else curves.iloc[:0]


def against_published(curves, experiment):
    """The post's final numbers beside the book's record and those just measured, one row a label.

    Returns:
        A DataFrame indexed by label in the order trained: `published` (NaN where the post did not
        run these very settings); of the book's record `recorded` (its mean), `low` and `high` (95 %
        prediction interval for one more run) and the `verdict` on the published number; `measured`
        (mean over this run's seeds), `seeds`, `diverged` (how many seeds' losses stopped being finite), and
        `inside`: how many of this run's seeds lie in the record's interval.
    """
    finals = runs.final_accuracies(curves)
    by_label = finals.groupby("label", sort=False)
    measured = by_label.final.agg(measured="mean", seeds="count")
    measured["diverged"] = by_label.diverged_step.agg(lambda steps: int((steps >= 0).sum()))
    numbers = published_numbers()
    numbers = numbers[numbers.experiment.str.startswith(experiment)]
    numbers = numbers.rename(columns={"experiment": "number_of", "label": "number"})
    as_post = finals[finals.steps_per_epoch == experiments.STEPS_PER_EPOCH]
    matched = as_post.merge(numbers, on=experiments.SETTINGS).drop_duplicates("label").set_index("label")
    matched = matched.reindex(measured.index)
    published = matched.published
    kept = recorded(curves)
    rows = {}
    if len(kept):
        comparable = (finals.dataset == "mnist").all()
        for label, nets in runs.final_accuracies(kept).groupby("label"):
            low, high = statistics.prediction_interval(nets.final)
            own = finals.final[finals.label == label]
            number = published[label]
            flips = (matched.number_of[label], matched.number[label]) in statistics.flipped_numbers()
            verdict = statistics.UNDECIDED if flips else statistics.number_verdict(number, nets.final)
            rows[label] = {
                "recorded": nets.final.mean(), "low": low, "high": high,
                "verdict": verdict if number == number else None,
                "inside": int(own.between(low - 1e-9, high + 1e-9).sum()) if comparable else None,
            }  # fmt: skip
    columns = ["recorded", "low", "high", "verdict", "inside"]
    kept = pd.DataFrame.from_dict(rows, orient="index", columns=columns).reindex(measured.index)
    kept.insert(0, "published", published)
    return kept.drop(columns="inside").join(measured).join(kept.inside)


def show(table):
    """The table for a page: accuracies with four digits, as the post prints them."""
    shown = pd.DataFrame(index=table.index)
    accuracy = "{:.4f}".format
    shown["published"] = table.published.map(accuracy, na_action="ignore")
    shown["recorded mean"] = table.recorded.map(accuracy, na_action="ignore")
    shown["95 % for one run"] = [
        f"{low:.4f} to {high:.4f}" if low == low else None for low, high in zip(table.low, table.high)
    ]
    shown["published number"] = table.verdict
    shown["this build"] = table.measured.map(accuracy)
    shown["inside"] = [
        f"{inside:.0f} of {seeds}" if inside == inside and inside is not None else None
        for inside, seeds in zip(table.inside, table.seeds)
    ]
    shown["diverged"] = [f"{diverged} of {seeds}" for diverged, seeds in zip(table.diverged, table.seeds)]
    nowrap = ["95 % for one run", "inside", "diverged"]
    return shown.rename_axis(None).fillna("–").style.set_properties(nowrap, **{"white-space": "nowrap"})
