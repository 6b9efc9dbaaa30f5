"""Nothing of a user's own settings reaches a build's figures, or breaks it."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from conftest import abridge, environment

PAGES = ["neuron", "straight_through", "scorecard"]


def build(copy, cwd, **more):
    """Build through the installed command, from another folder."""
    sources = os.pathsep.join(filter(None, [more.pop("PYTHONPATH", ""), str(copy), str(copy / "book")]))
    command = [pathlib.Path(sys.executable).with_name("bsn"), "build", "--profile", "smoke", "--fresh"]
    command += ["--chapter", *PAGES]
    return subprocess.run(
        command, cwd=cwd, env=environment(PYTHONPATH=sources) | more, capture_output=True,
        encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture(scope="module")
def built(checkout, tmp_path_factory):
    """A book of three chapters, built in ordinary surroundings: its folder, pages and executed cells."""
    copy = tmp_path_factory.mktemp("surroundings") / "copy"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns("_build"))
    abridge(copy, *PAGES)
    ran = build(copy, copy)
    assert ran.returncode == 0, ran.stderr
    return copy, pages(copy), executed(copy)


def pages(copy):
    html = copy / "_build" / "html"
    return {path.name: path.read_text(encoding="utf-8") for path in html.glob("*.html")}


def without_times(text):
    """All of a page but the line that says how long it took."""
    return "".join(line for line in text.splitlines(True) if "bsn-provenance" not in line)


SKETCH = "path.sketch: 2, 100, 2\ntext.usetex: True\nfont.size: 30\nsavefig.dpi: 20\n"
STRICT = "c.InteractiveShellApp.exec_lines = ['import warnings; warnings.simplefilter(\"error\")', '1 / 0']\n"
WARNS = 'import sys\nprint("shadowed", file=sys.stderr)\nraise ImportError("not the library")\n'


def test_the_same_to_the_byte_in_hostile_surroundings(built, tmp_path):
    """But for the time that the pages took: what varies from build to build of itself would show, too."""
    copy, before, cells = built
    for name, text in (
        ("matplotlibrc", SKETCH),
        ("config/matplotlib/matplotlibrc", SKETCH),
        ("ipython/profile_default/ipython_config.py", STRICT),
        ("keras/keras.json", '{"floatx": "float64", "backend": "jax"}'),
        ("modules/seaborn.py", WARNS),
        ("seaborn.py", WARNS),
        ("pandas.py", WARNS),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    ran = build(
        copy, tmp_path, PYTHONPATH=str(tmp_path / "modules"), PYTHONWARNINGS="error",
        IPYTHONDIR=str(tmp_path / "ipython"), MATPLOTLIBRC=str(tmp_path / "matplotlibrc"),
        XDG_CONFIG_HOME=str(tmp_path / "config"), MPLCONFIGDIR=str(tmp_path / "config" / "matplotlib"),
        KERAS_BACKEND="jax", KERAS_HOME=str(tmp_path / "keras"), MPLBACKEND="TkAgg", TF_CPP_MIN_LOG_LEVEL="0",
        HOME="/proc/nowhere", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0",
    )  # fmt: skip
    assert ran.returncode == 0 and "Traceback" not in ran.stderr, ran.stderr
    after = pages(copy)
    assert before.keys() == after.keys()
    for name, text in before.items():
        assert without_times(text) == without_times(after[name]), name
    assert executed(copy) == cells


def executed(copy):
    """Return the cells of the notebooks that the site offers, without the times of papermill."""
    notebooks = {}
    for path in sorted((copy / "_build" / "html" / "_sources").glob("*.ipynb")):
        notebooks[path.name] = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in notebooks[path.name]:
            cell["metadata"].pop("papermill", None)
            cell["metadata"].pop("execution", None)
    return notebooks
