"""The benchmark's figures."""

from __future__ import annotations

import statistics

import pandas as pd

from bookkit.bench.reports import Report
from bookkit.figures.style import INK, SERIES, Figure, name_rows, subplots


def rates(report: Report) -> Figure:
    """Draw net-steps per second of every contestant: its median round, and its slowest and fastest."""
    ranked = sorted(report["contestants"], key=lambda contestant: contestant["rate"])
    figure, axes = subplots(height=0.4 * len(ranked) + 1)
    ours, peers = SERIES[:2]
    for row, contestant in enumerate(ranked):
        colour = ours if contestant["name"].startswith("compiled") else peers
        axes.barh(row, contestant["rate"], color=colour, height=0.7)
        slowest, fastest = min(contestant["rates"]), max(contestant["rates"])
        axes.plot([slowest, fastest], [row, row], color=INK, linewidth=1.5)
    name_rows(axes, [contestant["name"].replace(": ", ":\n") for contestant in ranked])
    axes.set(xlabel="Net-steps per second (line: slowest to fastest)")
    axes.grid(axis="y", visible=False)
    text = f"Bars of net-steps per second; the fastest of {len(ranked)} is {ranked[-1]['name']}."
    data = pd.DataFrame(ranked[::-1])[["name", "rate", "accuracy", "memory"]]
    return Figure(figure, text, data)


def scaling(report: Report) -> Figure:
    """Draw the efficiency of workers of one thread, and of threads of one process, by their number."""
    frame = pd.DataFrame(report["runs"])
    frame["median"] = [statistics.median(seconds) for seconds in frame.seconds]
    figure, axes = subplots(height=2.8)
    for (kind, part), colour in zip(frame.groupby("on", sort=False), SERIES):
        axes.plot(part["count"], part.efficiency, "o-", color=colour, label=str(kind))
    axes.axvline(report["machine"]["cores"], color=INK, linestyle="--", linewidth=1.2)
    axes.set(xlabel="Threads or workers (dashed: the machine's cores)", ylabel="Efficiency", ylim=(0, 1.1))
    axes.set_xticks(sorted(frame["count"].unique()))
    axes.legend()
    text = "Lines of the efficiency of threads and of workers by their number."
    return Figure(figure, text, frame.drop(columns="seconds"))
