"""The picture that other sites show with a link to the book."""

import base64
import io
import pathlib

import matplotlib.image
import matplotlib.pyplot as plt

from bookkit.figures.style import INK, MUTED

SIZE = (1200, 630)  # pixels, as OpenGraph recommends


def draw(title: str, subtitle: str, png: str, path: pathlib.Path) -> None:
    """Write the card: a title above one of the book's figures, which is a PNG in base64."""
    figure = plt.figure(figsize=(SIZE[0] / 100, SIZE[1] / 100), dpi=100, facecolor="white")
    figure.text(0.05, 0.89, title, fontsize=38, weight="bold", color=INK, va="center")
    figure.text(0.05, 0.79, subtitle, fontsize=21, color=MUTED, va="center")
    axis = figure.add_axes((0.05, 0.05, 0.9, 0.66))
    axis.imshow(matplotlib.image.imread(io.BytesIO(base64.b64decode(png))), interpolation="antialiased")
    axis.set_axis_off()
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
