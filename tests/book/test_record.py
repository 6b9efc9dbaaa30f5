"""The record: what it answers, what it refuses, and that nothing in it is ever half-written."""

import io
import json
import multiprocessing
import os
import pickle
import platform
import re

import golden
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Armed, run_bsn

from bookkit import confirmatory, data, experiments, paths, record, runs
from bookkit.settings import Settings
from bsn import InputError, Spec

DIGITS = data.load("digits")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "record"


def short(**fields):
    common = dict(estimator="sigmoid-adjusted", learning_rate=0.3, hidden=(5,), epochs=1, steps_per_epoch=101)
    return Spec(**{**common, **fields})


def run(folder, specs, **settings):
    return runs.run(specs, DIGITS, Settings(record=folder, threads=2, **settings), "compiled")


@pytest.mark.parametrize("engine", ["compiled", pytest.param("tensorflow", marks=pytest.mark.slow)])
def test_the_golden_nets_train_as_they_did(engine):
    """Fails when the same spec gives another result: then raise SEMANTICS and run tests/golden.py."""
    stored = json.loads(golden.PATH.read_text())
    assert stored["semantics"] == record.SEMANTICS
    assert not golden.differ(stored["curves"], golden.curves(engine))


@pytest.mark.parametrize("changed", [dict(seed=12), dict(hidden=(21,))])
def test_the_golden_test_can_fail(changed):
    assert golden.differ(json.loads(golden.PATH.read_text())["curves"], golden.curves(**changed))


def test_run_trains_only_what_the_record_lacks(folder, monkeypatch):
    first = run(folder, [short(seed=1), short(seed=2)])
    trained = []

    def counting(specs, *arguments):
        trained.extend(specs)
        return original(specs, *arguments)

    original = runs.train
    monkeypatch.setattr(runs, "train", counting)
    again = run(folder, [short(seed=2), short(seed=3), short(seed=1)])
    assert trained == [short(seed=3)]
    for net, old in ((0, 1), (2, 0)):
        same = again[again.net == net].drop(columns="net").reset_index(drop=True)
        assert same.equals(first[first.net == old].drop(columns="net").reset_index(drop=True))
    run(folder, [short(seed=1)], fresh=True)
    assert trained == [short(seed=3), short(seed=1)]


def test_what_determines_a_net_is_in_its_name(monkeypatch):
    spec = short()
    names = {record.key(spec, "data", "compiled"), record.key(spec, "other data", "compiled")}
    names |= {record.key(short(**f), "data", "compiled") for f in (dict(seed=2), dict(stable_loss=True))}
    names.add(record.key(spec, "data", "tensorflow"))
    with monkeypatch.context() as patch:
        patch.setattr(record, "SEMANTICS", record.SEMANTICS + 1)
        names.add(record.key(spec, "data", "compiled"))
    monkeypatch.setattr(record, "trainer_digest", lambda: "of another state of the sources")
    names.add(record.key(spec, "data", "tensorflow"))
    assert len(names) == 7 and record.key(spec, "data", "compiled") in names


def damages(path, trap):
    """What the refusal says -> ways to spoil a record's file."""
    whole, [row] = path.read_bytes(), record.read(path)

    def replaced(**fields):  # and signed again, unless the digest is among them
        changed = row | fields
        changed = changed if "digest" in fields else changed | {"digest": record.digest(changed)}
        return lambda: record.write(path, [changed])

    def newer_format():
        table = pq.read_table(path)
        pq.write_table(table.replace_schema_metadata({"bsn_format": "5"}), path)

    cut = [lambda end=end: path.write_bytes(whole[:end]) for end in (0, 9, len(whole) // 2, -9)]
    foreign = [lambda: path.write_text("nothing of the kind"), lambda: path.write_bytes(pickle.dumps(trap))]
    return {
        "is cut short or damaged": [*cut, *foreign],
        "was changed after it was written": [
            replaced(value=[0.5] * len(row["value"]), digest=row["digest"]), replaced(digest=None),
            replaced(**dict.fromkeys(row)), replaced(value=[], digest=row["digest"]),
        ],
        "is not a record of trained nets in format 1, 2, 3 or 4": [
            newer_format, lambda: pq.write_table(pa.table({"key": ["a"]}), path),
        ],
        "training semantics 2, newer than 1": [replaced(semantics=2)],
        "holds another net than its name says": [
            replaced(seed=2, key="0" * 32), lambda: pq.write_table(record.SCHEMA.empty_table(), path),
        ],
    }  # fmt: skip


@pytest.mark.parametrize("fresh", [False, True])
def test_a_damaged_record_is_refused_and_left_as_it_is(folder, fresh):
    run(folder, [short()])
    [path] = folder.iterdir()
    whole, trap = path.read_bytes(), folder / "trap"
    for says, ways in damages(path, Armed(trap)).items():
        for spoil in ways:
            path.write_bytes(whole)
            spoil()
            spoilt = path.read_bytes()
            with pytest.raises(InputError) as raised:
                run(folder, [short()], fresh=fresh)
            message = str(raised.value)
            assert says in message and str(path) in message and "move it away" in message
            assert path.read_bytes() == spoilt and list(folder.iterdir()) == [path]


def test_any_flipped_byte_of_a_record_is_refused_or_changes_nothing(folder):
    [net] = runs.train([short()], DIGITS, Settings(record=None), "compiled")
    record.write(folder / "{key}.parquet".format_map(net), [net])
    [path] = folder.iterdir()
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), 41):
        content = bytearray(whole)
        content[place] ^= 1 + place % 255
        path.write_bytes(content)
        try:
            assert record.look_up(folder, [net["key"]]) == {net["key"]: net}
        except InputError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    "format_, lacked",
    [
        ("1", ["zero_biases", "engine", "temperature"]),
        ("2", ["engine", "temperature"]),
        ("3", ["temperature"]),
    ],
)
def test_a_net_of_an_older_format_is_still_found(folder, format_, lacked):
    """It had no such fields; its key and digest are as they were."""
    spec = short()
    [row] = runs.train([spec], DIGITS, Settings(record=None), "compiled")
    key = record.key(spec, "data", "compiled")
    assert key == "603ba1a34d98857ac4bdb80434eaf6bc"
    assert record.key(short(zero_biases=True), "data", "compiled") != key
    record.write(folder / "{key}.parquet".format_map(row), [row])
    [path] = folder.iterdir()
    old = pq.read_table(path).drop_columns(lacked)
    pq.write_table(old.replace_schema_metadata({"bsn_format": format_}), path)
    assert record.look_up(folder, [row["key"]]) == {row["key"]: row}


def _run_some(folder, seeds):
    run(folder, [short(seed=seed) for seed in seeds])


@pytest.mark.slow
def test_two_processes_at_once_lose_nothing(folder):
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_run_some, args=(folder, seeds)) for seeds in (range(0, 6), range(3, 9))]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert sorted(row["seed"] for row in record.read_all(folder)) == list(range(9))
    assert all(path.suffix == ".parquet" for path in folder.iterdir())


def test_a_write_that_fails_leaves_nothing_and_says_so(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="record: cannot"):
        run(tmp_path / "file" / "record", [short()])
    assert (tmp_path / "file").read_text() == ""

    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(InputError, match="cannot write .*: No space left on device"):
        run(folder, [short()])
    assert list(folder.iterdir()) == []


def test_the_record_keeps_how_a_net_was_made(folder):
    run(folder, [short()])
    [row] = record.read_all(folder)
    assert row["seed"] == 1 and row["seconds"] > 0 and row["dataset"] == "digits"
    assert json.loads(row["versions"])["python"] == platform.python_version() and row["machine"]
    assert len(row["date"]) == 10 and len(row["data"]) == 32


def test_the_exploratory_record_is_whole():
    """Ten seeds of every setting on MNIST, no failed net hidden, and small."""
    table = experiments.nets(experiments.measures(experiments.book_rows()))
    settings = experiments.table().query("exploratory")
    assert (table.dataset == "mnist").all() and list(table.columns) == experiments.CSV
    counts = table.groupby(["experiment", "label"]).seed.nunique()
    own = settings.assign(experiment=settings.experiment.str[0])[["experiment", "label"]]
    assert set(own.itertuples(index=False, name=None)) <= set(counts.index) and (counts == 10).all()
    assert {made["semantics"] for made in experiments.book_rows()} == {record.SEMANTICS}
    assert table[table.label == "Pass-through, 1.0"].diverged.eq("true").any()
    assert table[table.label == "REINFORCE, 0.3, 4 layers"].diverged.eq("true").all()
    assert paths.RECORD.stat().st_size < 4 * 2**20


@pytest.mark.slow
def test_record_on_the_command_line(folder):
    run(folder, [short()])
    environment = {"BSN_RECORD": str(folder)}
    listed = run_bsn("record", "--csv")
    assert listed.returncode == 0 and listed.stdout.startswith(",".join(experiments.CSV) + "\n")
    table = pd.read_csv(io.StringIO(listed.stdout), dtype={"hidden": str})
    evaluations = table.drop_duplicates(experiments.CSV[2:])
    distinct = confirmatory.evaluations(confirmatory.book_rows())
    distinct = distinct.drop_duplicates([*experiments.SETTINGS, "seed"])
    assert len(evaluations.query("seed > 900")) == len(distinct)
    assert set(table.experiment.dropna()) == set(range(9)) and table.label.notna().all()
    assert ",false,mnist,1,20," in listed.stdout and ",true," in listed.stdout and "True" not in listed.stdout
    told = run_bsn("record", "--build", **environment)
    assert told.returncode == 0 and "this build's record: nets trained: 1; " in told.stdout
    [path] = folder.iterdir()
    path.write_bytes(b"")
    spoilt = run_bsn("record", "--build", "--csv", **environment)
    assert spoilt.returncode == 2 and spoilt.stderr.count("\n") == 1 and str(path) in spoilt.stderr


BROKEN = {
    "a null": dict(seed=None),
    "a null in a curve": dict(value=[None]),
    "an empty curve": dict(value=[], step=[], metric=[], after_epoch=[]),
    "a ragged curve": dict(step=[1]),
}


@pytest.mark.parametrize("changes", BROKEN.values(), ids=BROKEN)
def test_a_record_of_ours_with_a_hole_is_refused(folder, changes):
    """Its digest is right: another program may have written it."""
    run(folder, [short(seed=1)])
    (path,) = folder.glob("*.parquet")
    (row,) = record.read(path)
    changes = {name: value * len(row[name]) if value == [None] else value for name, value in changes.items()}
    row |= changes
    record.write(path, [row | {"digest": record.digest(row)}])
    with pytest.raises(InputError, match=f"record: {re.escape(str(path))} (lacks a value|has an empty or)"):
        record.read(path)


def test_a_pipe_in_the_record_is_not_waited_for(folder):
    folder.mkdir(exist_ok=True)
    os.mkfifo(folder / "pipe.parquet")
    with pytest.raises(InputError, match="is not a file"):
        record.read_all(folder)
