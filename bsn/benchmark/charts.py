"""The benchmark's figures."""

import statistics
import textwrap

import pandas as pd
import seaborn as sns

from bsn.figures.style import INK, SERIES, Figure, name_rows, subplots

AXES = {
    "nets": "Nets trained in one call",
    "steps": "Steps",
    "width": "Width of the hidden layer",
    "depth": "Hidden layers of 200 units",
    "threads": "Threads",
}


def rates(report):
    """Net-steps a second of every contestant: its median round, and its slowest and fastest."""
    ranked = sorted(report["contestants"], key=lambda one: one["rate"])
    figure, axes = subplots(height=0.4 * len(ranked) + 1)
    ours, peers = SERIES[:2]
    for row, one in enumerate(ranked):
        colour = ours if one["name"].startswith("bsn") else peers
        axes.barh(row, one["rate"], color=colour, height=0.7)
        axes.plot([min(one["rates"]), max(one["rates"])], [row, row], color=INK, linewidth=1.5)
    limit = report["product_limit"]["net_steps_per_second"]
    axes.axvline(limit, color=INK, linestyle="--", linewidth=1.2)
    axes.text(limit, -0.9, "dense products alone ", ha="right", va="top")
    name_rows(axes, [one["name"].replace(": ", ":\n") for one in ranked])
    axes.set(xlabel="Net-steps a second (line: slowest to fastest)", ylim=(-1.6, len(ranked)))
    axes.grid(axis="y", visible=False)
    said = "; ".join(f"{one['name']} {one['rate']:,.0f}" for one in ranked[::-1])
    text = f"Net-steps a second: {said}. Dense products alone would allow {limit:,.0f}."
    data = pd.DataFrame(ranked[::-1])[["name", "rate", "accuracy", "memory"]]
    return Figure(figure, text, data)


def growth(report):
    """Seconds of a call as one thing grows, with a line of proportional growth, and the memory."""
    frame = pd.DataFrame(report["growth"])
    figure, axes = subplots(3, 2, height=6.6)
    for place, name in zip(axes.flat, AXES):
        part = frame[frame.grows == name]
        sns.lineplot(part, x="value", y="seconds", marker="o", ax=place)
        last = part.iloc[-1]
        shape = part.value / last.value
        place.plot(
            part.value,
            last.seconds * (1 / shape if name == "threads" else shape),
            "--",
            color=INK,
            linewidth=1,
        )
        place.set(xscale="log", yscale="log", ylabel="Seconds a call")
        ends = part.seconds.iloc[[0, -1]].round(1)
        place.set_yticks(ends, ends.astype(str))
    nets = frame[frame.grows == "nets"]
    sns.lineplot(nets, x="value", y="memory", marker="o", ax=axes.flat[-1])
    axes.flat[-1].set(xscale="log", ylim=(0, 1.1 * nets.memory.max()), ylabel="Peak memory, MiB")
    for place, name in zip(axes.flat, [*AXES, "nets"]):
        values = frame.value[frame.grows == name]
        place.set_xticks(values, values.astype(str))
        place.set_xlabel(AXES[name])
        place.minorticks_off()
    figure.suptitle("Dashed: in proportion, through the last point")
    said = []
    for name, part in frame.groupby("grows", sort=False):
        first, last = part.iloc[0], part.iloc[-1]
        said.append(f"{name} {first.value} to {last.value}: {first.seconds:.1f} s to {last.seconds:.1f} s")
    return Figure(figure, "Seconds of a call as one thing grows. " + "; ".join(said) + ".", frame)


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


def profile(report):
    """Microseconds of a core that a net-step costs, by what they are spent on."""
    parts = sorted(report["profile"].items(), key=lambda item: item[1])
    figure, axes = subplots(height=2.8)
    names = [textwrap.fill(name, 26) for name, _ in parts]
    axes.barh(range(len(parts)), [value for _, value in parts], color=SERIES[0])
    name_rows(axes, names)
    axes.set(xlabel="Microseconds of a core per net-step")
    axes.grid(axis="y", visible=False)
    said = "; ".join(f"{name} {value:.1f}" for name, value in parts[::-1])
    text = f"Microseconds of a core per net-step: {said}."
    return Figure(figure, text, pd.DataFrame(parts[::-1], columns=["part", "microseconds"]))
