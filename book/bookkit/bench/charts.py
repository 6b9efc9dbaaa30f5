"""The benchmark's figures."""

import statistics

import pandas as pd

from bookkit.figures.style import INK, SERIES, Figure, name_rows, subplots


def rates(report):
    """Net-steps a second of every contestant: its median round, and its slowest and fastest."""
    ranked = sorted(report["contestants"], key=lambda one: one["rate"])
    figure, axes = subplots(height=0.4 * len(ranked) + 1)
    ours, peers = SERIES[:2]
    for row, one in enumerate(ranked):
        colour = ours if one["name"].startswith("compiled") else peers
        axes.barh(row, one["rate"], color=colour, height=0.7)
        axes.plot([min(one["rates"]), max(one["rates"])], [row, row], color=INK, linewidth=1.5)
    name_rows(axes, [one["name"].replace(": ", ":\n") for one in ranked])
    axes.set(xlabel="Net-steps a second (line: slowest to fastest)")
    axes.grid(axis="y", visible=False)
    said = "; ".join(f"{one['name']} {one['rate']:,.0f}" for one in ranked[::-1])
    text = f"Net-steps a second: {said}."
    data = pd.DataFrame(ranked[::-1])[["name", "rate", "accuracy", "memory"]]
    return Figure(figure, text, data)


def scaling(report):
    """Efficiency of workers of one thread, and of threads of one process, by their number."""
    frame = pd.DataFrame(report["runs"])
    frame["median"] = [statistics.median(seconds) for seconds in frame.seconds]
    figure, axes = subplots(height=2.8)
    for (where, part), colour in zip(frame.groupby("on", sort=False), SERIES):
        axes.plot(part["count"], part.efficiency, "o-", color=colour, label=where)
    axes.axvline(report["machine"]["cores"], color=INK, linestyle="--", linewidth=1.2)
    axes.set(xlabel="Threads or workers (dashed: the machine's cores)", ylabel="Efficiency", ylim=(0, 1.1))
    axes.set_xticks(sorted(frame["count"].unique()))
    axes.legend()
    said = "; ".join(
        f"{run['count']} {run['on']} {run['median']:.1f} s, {run['efficiency']:.2f}"
        for run in frame.to_dict("records")
    )
    return Figure(
        figure, f"Seconds for the same nets, and efficiency: {said}.", frame.drop(columns="seconds")
    )
