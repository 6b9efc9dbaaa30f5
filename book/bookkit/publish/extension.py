"""A Sphinx extension: equations as MathML, which needs no script; figures that the page's theme colours;
samplers described with a picture of their forward and backward pass; pages without unused scripts."""

import inspect
import pathlib
import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from myst_nb.core.render import MimeData, MimeRenderPlugin, NbElementRenderer, create_figure_context
from pybtex.plugin import find_plugin, register_plugin
from sphinx.application import Sphinx
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

from bookkit.figures import theme
from bsn.estimators import ESTIMATORS

UNUSED = ("thebe", "sphinx-design", "design-tabs")  # live code from another host, cards, tabs
STYLE_SHEET = "figures.css"  # the variables of both themes
NOISE = 0.3
CAPTION = f"Forward and backward pass by logit, at noise u = {NOISE}."


def mathml(tex: str, display: str = "inline") -> str:
    """Convert TeX as latex2mathml does, but with space around function names, and bars that do not grow.

    A prime is high by itself: as a superscript it would float off. A minus after another operator is a sign.
    """
    markup = convert(tex, display=display)
    space = '<mspace width="0.17em" />'
    # neither is an operator: browsers would put space around it
    markup = re.sub("<mo>(&#x0221E;|logit)</mo>", r"<mi>\1</mi>", markup)
    markup = markup.replace("<mo>&#x0002E;</mo>", '<mo lspace="0" rspace="0">.</mo>')
    names = r"<mi>(?:log|ln|logit|Var)</mi>"
    markup = re.sub(rf"(?<!<mrow>)({names})", rf"{space}\1", markup)
    markup = re.sub(rf"({names})(?!<mo[^>]*>(?:\(|&#x00028;))", rf"\1{space}", markup)
    markup = re.sub(
        r"((?:\(|&#x00028;|=|&#x0003D;)</mo>)<mo>(−|&#x02212;)</mo>", r'\1<mo form="prefix">\2</mo>', markup
    )
    markup = re.sub(
        r"<msup>(<mi>\w</mi>)<mi>&#x02032;</mi></msup>", r'\1<mo lspace="0" rspace="0">′</mo>', markup
    )
    bar = r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>'
    return re.sub("<mo>(&#x0007C;|&#x02016;)</mo>", bar, markup)


def _inline(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(f'<span class="math">{mathml(node.astext())}</span>')
    raise nodes.SkipNode


def _block(writer: HTML5Translator, node: nodes.math_block) -> None:
    writer.body.append(writer.starttag(node, "div", CLASS="math bsn-equation", tabindex="0"))
    writer.body.append(mathml(node.astext(), display="block"))
    if node["number"]:
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})</span>')
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def _lighten(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    for files in (context["script_files"], context["css_files"]):
        files[:] = [file for file in files if not any(name in f"{vars(file)}".lower() for name in UNUSED)]
    # docutils calls references a list whose items it doesn't call items: screen readers stumble
    context["body"] = context.get("body", "").replace('role="list" class="citation-list"', "")


def _illustrate(
    app: Sphinx, kind: str, name: str, described: object, options: object, lines: list[str]
) -> None:
    """Write primes as such, and append to a sampler's description the picture of its passes."""
    lines[:] = [re.sub(r"(?<=\b[fb])'(?!\w)", "′", line) for line in lines]
    for sampler in ESTIMATORS.values():
        if sampler.function is described and sampler.kind == "sampler":
            from bookkit.figures import estimators as figures  # which loads TensorFlow

            figure = figures.passes([sampler.name], NOISE)
            drawing = theme.inline(figure.svg, figure.text)
            caption = f"<figcaption><span class='caption-text'>{CAPTION}</span></figcaption>"
            markup = f"<figure>{drawing}{caption}</figure>"
            lines += ["", ".. raw:: html", "", *(f"  {line}" for line in markup.splitlines())]


class Figures(MimeRenderPlugin):
    """The outputs of `bookkit.figures.style.Figure` as numbered figures: an entry point of MyST-NB."""

    @staticmethod
    def handle_mime(renderer: NbElementRenderer, data: MimeData, inline: bool) -> list[nodes.Element] | None:
        """Return the figure's nodes, or None if the output is none of ours."""
        figure = data.output_metadata.get("figure")
        if data.mime_type != "image/svg+xml" or not figure:
            return None
        page, markup = renderer.renderer, theme.inline(data.string, figure["text"], figure.get("data", ""))
        container = nodes.Element()
        with page.current_node_context(container), create_figure_context(page, figure, data.line or 0):
            page.current_node.append(nodes.raw("", markup, format="html"))
        return container.children


def _sign(
    app: Sphinx, kind: str, name: str, described: object, options: object, signature: str, returns: str
) -> tuple[str, str] | None:
    """Return a class's own arguments: Keras hides those of its layers."""
    if kind != "class" or signature != "(*args, **kwargs)":
        return None
    _, *parameters = inspect.signature(described.__init__).parameters.values()  # type: ignore[misc]
    return str(inspect.Signature(parameters)), ""


def _write_style_sheet(app: Sphinx) -> None:
    folder = pathlib.Path(app.outdir) / "_static"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STYLE_SHEET).write_text(theme.css(), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    app.connect("builder-inited", _write_style_sheet)
    app.add_css_file(STYLE_SHEET)
    app.connect("autodoc-process-signature", _sign)
    app.connect("autodoc-process-docstring", _illustrate, priority=900)  # after napoleon
    # it does not say so, and acts after all pages have been read
    app.extensions["sphinx_multitoc_numbering"].parallel_read_safe = True
    app.connect("html-page-context", _lighten, priority=900)  # after the theme has added its own
    # else each citation looks for it among all packages installed
    register_plugin("pybtex.backends", "plaintext", find_plugin("pybtex.backends", "plaintext"), force=True)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
