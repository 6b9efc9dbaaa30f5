"""The data, the estimators' derivatives, and their gradients for one unit."""

import numpy as np
import seaborn as sns

from bookkit.data import dataset_title
from bookkit.figures.style import INK, SERIES, Figure, subplots


def examples(data, rows=2, columns=10):
    """The first images of the validation part, in order, with their labels."""
    images, labels = data.parts["validation"]
    shown = rows * columns
    side = int(np.sqrt(images.shape[1]))
    figure, axes = subplots(rows, columns, height=1.6)
    for axis, image, label in zip(axes.flat, images, labels):
        axis.imshow(image[: side * side].reshape(side, side), cmap="gray_r")
        axis.set_axis_off()
        axis.set_title(int(label), fontsize=9.5)
    figure.suptitle(f"The first validation images ({dataset_title(data.name)})")
    digits = ", ".join(str(int(label)) for label in labels[:shown])
    table = {"position": range(len(labels[:shown])), "label": labels[:shown]}
    return Figure(figure, f"The first {shown} validation images show the classes {digits}.", table)


def gradient_comparison(frame):
    """Each estimator's expected gradient, and its spread over samples, against the logit.

    Args:
        frame: columns `logit`, `estimator`, `mean`, `deviation`, `exact`.
    """
    names = list(frame.estimator.unique())
    rows = -(-len(names) // 2)
    figure, axes = subplots(rows, 2, height=1.75 * rows + 0.5, sharex=True, sharey=True)
    for name, place in zip(names, axes.flat):
        part = frame[frame.estimator == name]
        low, high = part["mean"] - part.deviation, part["mean"] + part.deviation
        place.fill_between(part.logit, low, high, alpha=0.25, linewidth=0)
        place.plot(part.logit, part["mean"], label="mean and deviation")
        place.plot(part.logit, part.exact, "--", color=INK, linewidth=1.3, label="exact gradient")
        place.set_title(name)
    for place in axes.flat[len(names) :]:
        place.set_axis_off()
    figure.supxlabel("Logit a", fontsize=10)
    figure.supylabel("Gradient", fontsize=10)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    at = frame.loc[frame.logit.abs().groupby(frame.estimator).idxmin()]
    said = "; ".join(f"{row.estimator} {row['mean']:.3f} ± {row.deviation:.3f}" for _, row in at.iterrows())
    text = (
        f"Mean gradient by logit, with its deviation. At the logit 0 (exact: {at.exact.iloc[0]:.3f}): {said}."
    )
    return Figure(figure, text, frame)


def surrogate_derivatives(frame):
    """The factor each straight-through estimator puts in place of the step's derivative.

    Args:
        frame: columns `logit`, `curve`, `value`.
    """
    figure, axes = subplots(height=3)
    sns.lineplot(
        frame,
        x="logit",
        y="value",
        hue="curve",
        style="curve",
        palette=SERIES[: frame.curve.nunique()],
        ax=axes,
    )
    axes.set(xlabel="Logit a", ylabel="Factor on the gradient")
    axes.legend(title=None, loc="lower left", bbox_to_anchor=(0, 1))
    highest = "; ".join(f"{name} up to {part.value.max():.2f}" for name, part in frame.groupby("curve"))
    return Figure(figure, f"Factor on the gradient by logit: {highest}.", frame)
