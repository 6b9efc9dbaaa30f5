"""The estimators' derivatives, and their gradients for one unit."""

import pandas as pd
import seaborn as sns

from bookkit.figures.style import INK, SERIES, Figure, panels, shared_legend, subplots


def gradient_comparison(frame: pd.DataFrame) -> Figure:
    """Draw the columns `mean`, `deviation` and `exact` of each estimator's gradient by the column `logit`."""
    figure, axes = panels(list(frame.estimator.unique()), 2, 1.75, 0.5)
    for axis, (_, part) in zip(axes, frame.groupby("estimator", sort=False)):
        low, high = part["mean"] - part.deviation, part["mean"] + part.deviation
        axis.fill_between(part.logit, low, high, alpha=0.25, linewidth=0)
        axis.plot(part.logit, part["mean"], label="mean and deviation")
        axis.plot(part.logit, part.exact, "--", color=INK, linewidth=1.3, label="exact gradient")
    figure.supxlabel("Logit a", fontsize=10)
    figure.supylabel("Gradient", fontsize=10)
    shared_legend(figure, loc="outside upper center", ncols=2)
    text = "Mean and standard deviation of each estimator's gradient by logit, beside the exact gradient."
    return Figure(figure, text, frame)


def surrogate_derivatives(frame: pd.DataFrame) -> Figure:
    """Draw the factors (logit, curve, value) that estimators put in place of the step's derivative."""
    figure, axes = subplots(height=3)
    colours = SERIES[: frame.curve.nunique()]
    sns.lineplot(frame, x="logit", y="value", hue="curve", style="curve", palette=colours, ax=axes)
    axes.set(xlabel="Logit a", ylabel="Factor on the gradient")
    axes.legend(title=None, loc="lower left", bbox_to_anchor=(0, 1))
    return Figure(figure, "Factor on the gradient by logit, one curve per straight-through estimator.", frame)
