"""The benchmark's figures."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from bsn.figures import use_style

AXES = {
    "nets": "Nets trained in one call",
    "steps": "Steps",
    "width": "Width of the hidden layer",
    "depth": "Hidden layers of 200 units",
    "threads": "Threads",
}


def rates(report):
    """Net-steps a second of every contestant: its median round, and its slowest and fastest."""
    use_style()
    ranked = sorted(report["contestants"], key=lambda one: one["rate"])
    figure, axes = plt.subplots(figsize=(7.2, 0.42 * len(ranked) + 1.2), layout="constrained")
    ours, peers = sns.color_palette("colorblind", 2)
    for row, one in enumerate(ranked):
        colour = ours if one["name"].startswith("bsn") else peers
        axes.barh(row, one["rate"], color=colour, height=0.7)
        axes.plot([min(one["rates"]), max(one["rates"])], [row, row], color="black", linewidth=1.5)
    limit = report["product_limit"]["net_steps_per_second"]
    axes.axvline(limit, color="black", linestyle="--", linewidth=1.2)
    axes.text(limit, -0.9, "dense products alone ", ha="right", va="top", fontsize="small")
    axes.set_yticks(
        range(len(ranked)), [one["name"].replace(": ", ":\n") for one in ranked], fontsize="small"
    )
    axes.set(xlabel="Net-steps a second: bar median, line slowest to fastest round", ylim=(-1.6, len(ranked)))
    axes.grid(axis="y", visible=False)
    return figure


def growth(report):
    """Seconds of a call as one thing grows, with a line of proportional growth, and the memory."""
    use_style()
    frame = pd.DataFrame(report["growth"])
    figure, axes = plt.subplots(3, 2, figsize=(7.2, 8.4), layout="constrained")
    for place, name in zip(axes.flat, AXES):
        part = frame[frame.grows == name]
        sns.lineplot(part, x="value", y="seconds", marker="o", ax=place)
        last = part.iloc[-1]
        shape = part.value / last.value
        place.plot(part.value, last.seconds * (1 / shape if name == "threads" else shape), "k--", linewidth=1)
        place.set(xscale="log", yscale="log", ylabel="Seconds a call")
    nets = frame[frame.grows == "nets"]
    sns.lineplot(nets, x="value", y="memory", marker="o", ax=axes.flat[-1])
    axes.flat[-1].set(xscale="log", ylim=(0, None), ylabel="Peak memory, MiB")
    for place, name in zip(axes.flat, [*AXES, "nets"]):
        values = frame.value[frame.grows == name]
        place.set_xticks(values, values.astype(str))
        place.set_xlabel(AXES[name])
        place.minorticks_off()
    figure.suptitle("Dashed: in proportion, through the last point")
    return figure


def profile(report):
    """Microseconds of a core that a net-step costs, by what they are spent on."""
    use_style()
    parts = sorted(report["profile"].items(), key=lambda item: item[1])
    figure, axes = plt.subplots(figsize=(7.2, 3.4), layout="constrained")
    axes.barh(
        [name for name, _ in parts], [value for _, value in parts], color=sns.color_palette("colorblind")[0]
    )
    axes.set(xlabel="Microseconds of a core per net-step, three nets together")
    axes.grid(axis="y", visible=False)
    return figure
