"""A Sphinx extension: equations as MathML, which browsers draw themselves, without scripts or a network."""

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util.math import get_node_equation_number


def _mathml(tex, **display):
    """As latex2mathml has it, but with space around function names, and bars that do not grow."""
    made = convert(tex, **display)
    made = re.sub(
        r"(<mi>(?:log|logit|Var)</mi>)", r'<mspace width="0.17em" />\1<mspace width="0.17em" />', made
    )
    return re.sub(
        "<mo>(&#x0007C;|&#x02016;)</mo>", r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>', made
    )


def _inline(writer, node):
    writer.body.append(f'<span class="math">{_mathml(node.astext())}</span>')
    raise nodes.SkipNode


def _block(writer, node):
    writer.body.append(writer.starttag(node, "div", CLASS="math bsn-equation", tabindex="0"))
    writer.body.append(_mathml(node.astext(), display="block"))
    if node["number"]:
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})</span>')
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
