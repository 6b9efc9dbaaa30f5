"""Bad and untrusted input: one line, exit status 2, and no file changed; what is read is never executed."""

import contextlib
import datetime
import fractions
import io
import json
import math
import os
import pickle
import subprocess
import sys
import zipfile

import filelock
import jsonschema
import nbformat
import numpy as np
import pytest
from conftest import ROOT, Armed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bookkit import data
from bookkit.bench import contest, reports
from bookkit.parameters import RULES, check, parse
from bookkit.publish import book, cli, executed
from bsn import InputError

DECLARED = {name: book.declared_parameters(path) for name, path in book.chapters().items()}
CHAPTER_OF = {key: name for name, keys in DECLARED.items() for key in keys if key != "dataset"}


SOURCES = os.pathsep.join([str(ROOT), str(ROOT / "book")])


class Accepted(Exception):
    """The input passed every check: something would start now."""


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch):
    def accept(*_, **__):
        raise Accepted

    monkeypatch.setattr(filelock, "FileLock", accept)
    monkeypatch.setattr(contest, "contestants", accept)


@pytest.fixture(autouse=True)
def nothing_changes(nothing_starts):
    before = snapshot()
    yield
    assert snapshot() == before


def snapshot():
    """Return every file of the checkout with its size and time, caches apart."""
    caches = {".git", "__pycache__", ".pytest_cache", ".hypothesis", ".venv", ".ruff_cache", ".mypy_cache"}
    states = {}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in caches]
        for name in [*names, *folders]:
            state = os.lstat(os.path.join(folder, name))
            states[os.path.join(folder, name)] = state.st_mtime_ns, state.st_size
    return states


@pytest.fixture
def read_once(monkeypatch):
    """The chapters' parameters as read above, so that a thousand command lines take seconds."""
    paths = book.chapters()
    monkeypatch.setattr(book, "chapters", lambda: paths)
    monkeypatch.setattr(book, "declared_parameters", lambda path: DECLARED[path.stem])


def run_command(arguments):
    """Run the command in this process: (exit status, standard output, standard error)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = cli.main(arguments)
        except SystemExit as stop:
            status = stop.code
    return status, out.getvalue(), err.getvalue()


def assert_refused(arguments, says=""):
    status, out, err = run_command(arguments)
    assert status == 2 and out == "", (status, out, err)
    assert err.startswith("bsn: ") and err.endswith("\n") and len(err.splitlines()) == 1, err
    assert len(err) < 3000 and "Traceback" not in err and says in err


# --- values of parameters

WILD = [
    None, -1, 0.5j, 10**400, -(10**400), math.nan, math.inf, -math.inf, "", "\0", "x" * 5000, b"x", [], {},
    [[]], [None], [math.nan], [1, [2]], ["\0"], [1] * 5000, list(range(5000)), {"a": 1}, {1}, object(), print,
    datetime.date(2020, 1, 1), fractions.Fraction(-1, 3), np.array([1.0, 2.0]), np.datetime64("2020-01-01"),
    slice(3), "../../etc/passwd\n" * 300, [True, False], [1j], range(3), Ellipsis,
]  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_wild_values_are_refused_by_every_rule(name):
    jsonschema.Draft4Validator.check_schema(RULES[name])
    for value in WILD[:1] + WILD[2:] if name == "logit" else WILD:  # a logit may be -1
        with pytest.raises(InputError) as raised:
            check(name, value)
        message = str(raised.value)
        assert message.isprintable() and len(message) < 2000 and "expected " in message


@pytest.mark.parametrize("profile", book.PROFILES)
def test_profiles_set_what_chapters_have(profile, read_once):
    """What one chapter's entry sets goes there alone, and -p counts more."""
    shared = {key: value for key, value in book.PROFILES[profile].items() if key != "chapters"}
    assert shared.keys() <= {key for keys in DECLARED.values() for key in keys} | {"dataset"}
    values = book._values(DECLARED, profile, [("epochs", "7")])
    for name, keys in DECLARED.items():
        own = book.PROFILES[profile].get("chapters", {}).get(name, {})
        assert own.keys() <= set(keys)
        expected = {**shared, **own, "epochs": 7, "dataset": None}
        assert values[name] == {key: expected[key] for key in keys if key in expected}
        assert all(check(key, value) == value for key, value in values[name].items() if value is not None)


@pytest.mark.parametrize("name, text, value", [("seeds", "[0, 1]", [0, 1]), ("targets", "[0.1]", [0.1])])
def test_a_list_is_read_from_its_json_text(name, text, value):
    """Papermill's -p hands it on as text."""
    assert check(name, text) == value
    for wrong in ("[0, 0]", "[0", "0", '["0"]', "[true]", "[" * 100_000, "{}", "null", '"[0]"'):
        with pytest.raises(InputError, match="expected a list"):
            check(name, wrong)


YAML = [
    "", "null", ".nan", ".inf", "[.inf]", "-1", "[-1]", "0x" + "f" * 5000, "9" * 5000, "[1, [2]]", "{a: 1}",
    "2020-01-01", "2020-99-99", "12:99:99x: 1", "!!binary aGk=", "!!set {a}", "&a [*a]", "*nowhere", "<<: 1",
    "!!python/object/apply:os.system [touch broken]", "!!python/name:os.system", "[" * 500, "'", "%", "@x",
    "a: b: c", "[1,", "- - - 1", "? 1", "=", "\ud800", "\x00", "[true, 1]", "[0.5, a]",
    "[&a [1, 1], &b [*a, *a], &c [*b, *b], &d [*c, *c], [*d, *d]]",
]  # fmt: skip


@pytest.mark.parametrize("name", ["epochs", "seeds", "stable_loss", "benchmark"])
def test_bad_values_on_the_command_line(name, read_once):
    """One parameter of each kind; every rule has met wild values above."""
    for text in YAML:
        assert_refused(["build", "--profile", "smoke", "--chapter", CHAPTER_OF[name], "-p", name, text])


# --- command lines

MISTAKES = [
    [""], ["\n"], ["--"], ["build", "build"], ["build", "--profile", "x\ny"], ["build", "--chapter", ""],
    ["build", "--chapter", "../book/experiment_0"], ["build", "--chapter", "\udcff"],
    ["build", "--chapter", "x" * 100_000], ["build", "-p", "", ""], ["build", "-p", "epochs\n", "1"],
    ["build", "-p", "x" * 10_000, "1"], ["build", "--chapter", "scorecard", "-p", "epochs", "1"],
    ["build", "-p", "epochs", "1", "-p", "epochs", "0"], ["build", "--dataset", ""],
    ["build", "--dataset", "no\nwhere\x1b[31m"], ["build", "--dataset", "x" * 100_000],
    ["build", "--dataset", "\udcff.npz"], ["build", "--dataset", "/dev/zero"],
    ["build", "--dataset", "book/record/vae.parquet"], ["build", "--dataset", "https://example.org/x.npz"],
    ["build", "--mnist-dir", ""], ["build", "--mnist-dir", "x" * 5000], ["bench", "--rounds", "9" * 5000],
    ["bench", "--rounds", "9" * 50], ["bench", "--dataset", "x\0"], ["record", "--csv", "--adopt"],
    ["record", "--confirm"], ["diff", "nowhere", "nowhere"], ["diff", "", ""], ["diff", "x" * 5000, "."],
    ["diff", "README.md", "README.md"], ["diff", "\0", "."], ["diff", "\udcff", "."], ["diff", "a\nb", "."],
]  # fmt: skip


NAMED = [  # in the message
    ("", "COMMAND"),
    ("bild", "bild"),
    ("build --profile slow", "slow"),
    ("build --fast", "--fast"),
    ("build --chapter experiment_9", "no chapter 'experiment_9'; expected introduction"),
    ("build -p epochs", "-p"),
    (
        "build --chapter experiment_2 -p epoch 2",
        "parameter 'epoch' for -p; expected engine, epochs, hidden",
    ),
    ("build --chapter experiment_2 -p epochs 0", "epochs is 0; expected a whole number from 1 to 1000"),
    ("build --chapter experiment_2 -p epochs [2", "-p epochs is '[2'; expected a whole number"),
    ("build --chapter experiment_2 -p seeds []", "seeds is []"),
    ("build --chapter experiment_2 -p learning_rates [-0.1]", "learning_rates is [-0.1]"),
    ("build --chapter experiment_2 -p learning_rates null", "learning_rates is None"),
    ("build --chapter experiment_1 -p hidden [0]", "hidden is [0]; expected a list of 1 to 8 values"),
    ("build -p dataset mnist", "use --dataset"),
    ("build --dataset nowhere.npz", "no file nowhere.npz"),
    ("build --mnist-dir /nonexistent", "/nonexistent"),
    ("bench --rounds 0", "--rounds is 0; expected a whole number from 1"),
    ("bench --steps 250", "--steps is 250; expected a multiple of 100 from 200"),
    ("bench --steps many", "invalid int value"),
    ("bench --mnist-dir /nonexistent --dataset mnist", "/nonexistent"),
    ("diff book book", "book has no executed/*.ipynb; expected the folder of a build"),
]


def test_command_lines_that_are_wrong(read_once):
    for arguments in MISTAKES:
        assert_refused(arguments)
    for line, says in NAMED:
        assert_refused(line.split(), says)


def test_help_imports_nothing_heavy():
    """TensorFlow, Numba, pandas or papermill alone would take longer than a reader waits."""
    code = "import sys\nfrom bookkit.publish import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n"
    code += "print({'tensorflow', 'numba', 'pandas', 'papermill', 'dask', 'sphinx'} & {*sys.modules})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "build" in ran.stdout and ran.stdout.endswith("\nset()\n") and not ran.stderr


WORDS = (
    "build bench --profile smoke --chapter experiment_0 -p epochs 1 --dataset digits --fresh --json".split()
)
WORDS += "--fresh --json --rounds --steps 200 --mnist-dir [1] - --".split()


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=7))
def test_any_command_line(read_once, words):
    with contextlib.suppress(Accepted):
        assert_refused([*(words[:1] or ["build"]), "--dataset", "digits", *words[1:]])


@pytest.mark.parametrize("value", ["", "0", "-1", "two", "1.5", "9" * 5000, "10000", "²", "1\n", "nan", " "])
def test_a_number_of_threads_that_is_none(value, monkeypatch):
    monkeypatch.setenv("BSN_THREADS", value)
    assert_refused(["build", "--profile", "smoke"])


def test_what_is_right_passes(tmp_path):
    """So that the tests here can fail: these command lines would start something."""
    np.savez(tmp_path / "mine.npz", **arrays())
    for arguments in (
        ["build", "--profile", "smoke", "--dataset", str(tmp_path / "mine.npz")],
        ["build", "--profile", "smoke"],
        "build --profile smoke --chapter experiment_0 -p seeds".split() + ["[1, 2]", "-p", "epochs", "3"],
        ["build", "--dataset", "digits", "--fresh"],
        ["bench", "--dataset", "digits", "--rounds", "1", "--steps", "200"],
    ):
        with pytest.raises(Accepted):
            run_command(arguments)


# --- files from elsewhere


def arrays(**replaced):
    made = {}
    for part in data.PARTS:
        made |= {f"{part}_images": np.zeros((60, 4), np.float32), f"{part}_labels": np.arange(60) % 3}
    return {**made, **replaced}


def archives(path, trap):
    """name -> how to write a malformed data set of one's own."""

    def saved(**replaced):
        return lambda: np.savez(path, **arrays(**replaced))

    def cut():
        np.savez(path, **arrays())
        path.write_bytes(path.read_bytes()[:-200])

    def huge():
        with zipfile.ZipFile(path, "w") as archive:
            for name in arrays():
                with archive.open(f"{name}.npy", "w") as file:
                    header = {"descr": "<f4", "fortran_order": False, "shape": (10**13, 10)}
                    np.lib.format.write_array_header_1_0(file, header)

    def armed():
        np.savez(path, **arrays(test_labels=np.array([Armed(trap)] * 60, object)))

    return {
        "empty": lambda: path.write_bytes(b""),
        "text": lambda: path.write_text("nothing of the kind\n" * 10),
        "pickle": lambda: path.write_bytes(pickle.dumps(Armed(trap))),
        "an object array": armed,
        "cut short": cut,
        "no arrays": lambda: np.savez(path, one=np.zeros(3)),
        "one array": lambda: np.save(path.open("wb"), np.zeros(3)),
        "huge": huge,
        "a folder": path.mkdir,
        "a pipe": lambda: os.mkfifo(path),
        "texts": saved(train_images=np.full((60, 4), "a")),
        "complex images": saved(train_images=np.zeros((60, 4, 4), complex)),
        "images beyond a float": saved(train_images=np.full((60, 4, 4), 1e300)),
        "no examples": saved(train_images=np.zeros((0, 4)), train_labels=np.zeros(0, int)),
        "a number": saved(train_images=np.float32(1)),
        "labels in two axes": saved(train_labels=np.zeros((60, 2), int)),
        "a huge label": saved(train_labels=np.full(60, 2**31 - 1)),
        "a label beyond 32 bits": saved(train_labels=np.full(60, 2**40)),
        "a negative label": saved(train_labels=np.full(60, -1)),
        "half a label": saved(train_labels=np.full(60, 0.5)),
        "no label": saved(train_labels=np.full(60, np.nan)),
        "bright": saved(train_images=np.full((60, 4), 255.0)),
        "just above 1": saved(train_images=np.full((60, 4), 1 + 1e-9)),
        "just below 0": saved(train_images=np.full((60, 4), -5e-324)),
        "dark": saved(train_images=np.full((60, 4), -0.1)),
        "not a number": saved(train_images=np.full((60, 4), np.nan)),
        "another size": saved(test_images=np.zeros((60, 5))),
    }


@pytest.mark.parametrize("how", archives(ROOT, ROOT))
def test_a_malformed_data_set(how, tmp_path, recwarn):
    path, trap = tmp_path / "mine.npz", tmp_path / "trap"
    archives(path, trap)[how]()
    assert_refused(["build", "--profile", "smoke", "--dataset", str(path)])
    assert not trap.exists()
    # a warning would be a line of its own; of an unclosed file Python says nothing by default
    assert not [one for one in recwarn if one.category is not ResourceWarning]


def notebooks(path, trap):
    """name -> how to write a malformed notebook."""
    good = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x")])

    def with_output(**mimes):
        def write():
            output = {"output_type": "display_data", "data": mimes, "metadata": {}}
            path.write_text(json.dumps(good | {"cells": [dict(good.cells[0], outputs=[output])]}))

        return write

    return {
        "empty": lambda: path.write_bytes(b""),
        "text": lambda: path.write_text("nothing of the kind"),
        "pickle": lambda: path.write_bytes(pickle.dumps(Armed(trap))),
        "bytes": lambda: path.write_bytes(bytes(range(256))),
        "a list": lambda: path.write_text("[]"),
        "null": lambda: path.write_text("null"),
        "deep": lambda: path.write_text("[" * 100_000),
        "no cells": lambda: path.write_text('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}'),
        "another format": lambda: path.write_text('{"nbformat": 99, "metadata": {}, "cells": []}'),
        "cells of text": lambda: path.write_text(json.dumps(good | {"cells": "none"})),
        "cut short": lambda: path.write_text(nbformat.writes(good)[:-20]),
        "a figure without rows": with_output(**{"text/csv": ""}),
        "a table without rows": with_output(**{"text/html": "<table></table>"}),
        "a number without a name": with_output(**{"application/papermill.record/text/plain": "1"}),
        "a folder": path.mkdir,
    }


@pytest.mark.parametrize("how", notebooks(ROOT, ROOT))
def test_a_malformed_notebook(how, tmp_path, monkeypatch, capsys):
    folder, trap = tmp_path / "executed", tmp_path / "trap"
    folder.mkdir()
    notebooks(folder / "one.ipynb", trap)[how]()
    assert_refused(["diff", str(tmp_path), str(tmp_path)])
    monkeypatch.setattr(executed, "EXECUTED", folder)
    monkeypatch.setattr(executed, "BUILD", tmp_path)
    assert executed.read("one") is None and "is damaged" in capsys.readouterr().err
    monkeypatch.setattr(book, "chapters", lambda: {"one": folder / "one.ipynb"})
    if " without " not in how:  # those are chapters, wrong in their outputs alone
        assert_refused(["build", "--profile", "smoke"])
    assert not trap.exists()


def test_a_result_that_is_no_text_is_not_used(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(executed, "EXECUTED", tmp_path)
    monkeypatch.setattr(executed, "BUILD", tmp_path)
    executed.write("one", nbformat.v4.new_notebook(), {"fingerprint": {}})
    assert executed.read("one").metadata.bsn.fingerprint == {}
    executed.path("one").write_bytes(b"\xff" + executed.path("one").read_bytes()[1:])
    assert executed.read("one") is None and "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["epochs = ", "epochs = print()", "epochs = open('x', 'w')", "\0"])
def test_parameters_are_not_executed(source, tmp_path, monkeypatch):
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "one.ipynb")
    monkeypatch.setattr(book, "chapters", lambda: {"one": tmp_path / "one.ipynb"})
    monkeypatch.chdir(tmp_path)
    assert_refused(["build", "--profile", "smoke"])
    assert not (tmp_path / "x").exists()


TEXTS = ["", "[", "[]", "{}", "null", "1", "root: 1", "parts: []", "a: b: c", "\x00", "[" * 100_000]
TEXTS += ['{"machine": {}}', "!!python/name:os.system"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_malformed_benchmark_or_table_of_contents(text, tmp_path, monkeypatch):
    path = tmp_path / "one"
    path.write_text(text)
    assert_refused(["build", "--profile", "smoke", "-p", "benchmark", str(path)])
    assert reports.read("book")["contestants"]
    monkeypatch.setattr(book, "TOC", path)
    assert_refused(["build", "--profile", "smoke"])


@pytest.mark.parametrize(
    "text, value",
    [
        ("20", 20), ("1e-3", 1e-3), ("-0.5", -0.5), ("true", True), ("mnist", "mnist"), ("[1, 2]", [1, 2]),
        ("[reinmax, 'arm']", ["reinmax", "arm"]), ("010", "010"), ("0x10", "0x10"), ("1:30", "1:30"),
        ("[1:5]", ["1:5"]), ("yes", "yes"), ("2026-11-29", "2026-11-29"), (".inf", ".inf"), ("'20'", "20"),
        ("1_000", "1_000"), ("null", None), ("📷 photos/a.npz", "📷 photos/a.npz"),
    ],
)  # fmt: skip
def test_a_value_is_what_was_written(text, value):
    assert parse(text) == value and type(parse(text)) is type(value)


BOMB = "[&a [1,1,1,1,1,1,1,1,1], &b [*a,*a,*a,*a,*a,*a,*a,*a,*a], [*b,*b,*b,*b,*b,*b,*b,*b,*b]]"


@pytest.mark.parametrize(
    "text",
    ["!!timestamp x", "!!python/name:os.system", "&a 1", BOMB, "{a: 1}", "<<: *a", "[" * 3000, "", "a: b"],
)
def test_what_is_no_plain_value_is_refused(text):
    with pytest.raises(ValueError):
        parse(text)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_value_or_refused(text):
    with contextlib.suppress(ValueError):
        json.dumps(parse(text))


@pytest.mark.parametrize("command", [["record", "--csv"], ["record"], ["diff", "A", "A"]], ids=" ".join)
def test_output_that_cannot_be_written(tmp_path, command):
    """A full disk is one line; a reader that has gone is none. Both are failures."""
    (tmp_path / "A" / "executed").mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "A" / "executed" / "one.ipynb")
    whole = [sys.executable, "-m", "bookkit.publish.cli", *command]
    options = dict(cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": SOURCES})
    with open("/dev/full", "w", encoding="utf-8") as full:
        ran = subprocess.run(whole, stdout=full, **options)
    assert ran.returncode == 1
    assert ran.stderr == "bsn: cannot write the output: No space left on device\n"
    process = subprocess.Popen(whole, stdout=subprocess.PIPE, **options)
    process.stdout.close()
    assert process.wait() == 1 and process.stderr.read() == ""
    process.stderr.close()
