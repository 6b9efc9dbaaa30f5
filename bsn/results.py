"""What a chapter does with its settings: train them, and hold the outcome against the post."""

import pandas as pd

from bsn import data, training
from bsn.paths import PUBLISHED
from bsn.spec import grid


def train(settings, seeds, dataset="auto", **common):
    """Train every setting at every seed.

    Args:
        settings: label -> the fields of `bsn.Spec` that set it apart.
        seeds: list of seeds.
        dataset: as for `bsn.data.load`.
        common: fields that all settings share.

    Returns:
        The curves of `bsn.run`, with a column `label`.
    """
    labels, specs = zip(*grid(settings, seeds, dataset=data.resolve(dataset), **common))
    curves = training.run(specs)
    return curves.assign(label=curves.net.map(dict(enumerate(labels))))


def published_numbers():
    """The post's final numbers, with the settings of each: `book/published.csv` as a DataFrame."""
    return pd.read_csv(PUBLISHED, dtype={"experiment": str, "hidden": str})


def against_published(curves, experiment):
    """The post's final numbers beside those measured, one row a label.

    Returns:
        A DataFrame indexed by label in the order trained: `published` (NaN where the post did not
        run these very settings), `measured` (mean over seeds), `lowest`, `highest`, `seeds`,
        `diverged` (how many seeds' losses stopped being finite).
    """
    finals = training.final_accuracies(curves)
    by_label = finals.groupby("label", sort=False)
    table = by_label.final.agg(measured="mean", lowest="min", highest="max", seeds="count")
    table["diverged"] = by_label.diverged_step.agg(lambda steps: int((steps >= 0).sum()))
    numbers = published_numbers()
    numbers = numbers[numbers.experiment.str.startswith(experiment)].drop(columns=["experiment", "label"])
    as_post = finals[~finals.stable_loss & ~finals.slope_in_training & (finals.steps_per_epoch == 1001)]
    settings = [name for name in numbers.columns if name != "published"]
    matched = as_post.merge(numbers, on=settings).drop_duplicates("label").set_index("label")
    table.insert(0, "published", matched.published.reindex(table.index))
    return table


def show(table):
    """The table for a page: accuracies with four digits, as the post prints them."""
    accuracy = {name: "{:.4f}".format for name in ("published", "measured", "lowest", "highest")}
    return table.rename_axis(None).style.format(accuracy, na_rep="–")
