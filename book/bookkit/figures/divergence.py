"""How far apart the class logits of a net lie while it trains, and where its loss becomes NaN."""

import pandas as pd

from bookkit.figures.style import INK, SERIES, Figure, note, panels


def logit_gaps(frame: pd.DataFrame, limit: float) -> Figure:
    """Draw the gap of each net by training step, a panel per loss; a cross ends a net whose loss is NaN.

    Args:
        frame: columns `loss`, `net`, `step`, `gap` and `finite`, whether the step's loss is.
        limit: gap at which a probability underflows.
    """
    names = list(frame.loss.unique())
    figure, axes = panels(names, 1, 1.75, 0.5)
    for axis, name in zip(axes, names):
        for colour, (_, net) in zip(SERIES * len(frame), frame[frame.loss == name].groupby("net")):
            axis.plot(net.step, net.gap, color=colour, linewidth=1.2)
            ends = net[~net.finite]
            axis.scatter(ends.step, ends.gap, color=colour, marker="X", s=60, zorder=4)
        axis.axhline(limit, color=INK, linestyle="--", linewidth=1.2)
        axis.set_yscale("log")
        axis.set_yticks([3, 10, 30, 100, 300, 1000], ["3", "10", "30", "100", "300", "1,000"])
        axis.set_yticks([], minor=True)
        axis.set_ylim(2, max(300, 1.3 * frame.gap.max()))
    note(axes[0], "underflow", (1, limit), (0, 3), xycoords=("axes fraction", "data"), ha="right")
    axes[-1].set_xlabel("Training step")
    figure.supylabel("Largest gap between class logits", fontsize=10)
    text = (
        "Largest gap between the class logits of a mini-batch by training step, a line per net and a panel "
        "per loss; crosses mark losses that are not a number."
    )
    return Figure(figure, text, frame)
