"""What comes from elsewhere, generated: it is used, or refused in one line; nothing else happens."""

import copy
import json

import nbformat
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bookkit import data, experiments, paths, record
from bookkit.bench import contest, reports, scaling
from bookkit.publish import executed
from bookkit.publish.diff import diff
from bsn import InputError

generated = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats() | st.sampled_from([0, 1, -1, 10**4000])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value):
    """Yield the way to each part of a value: a tuple of keys and positions."""
    yield ()
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from ((key, *rest) for rest in places(part))


def replaced(value, way, part):
    """Return a copy of a value with another part there; `...` removes it."""
    if not way:
        return part
    changed = copy.deepcopy(value)
    inner = changed
    for key in way[:-1]:
        inner = inner[key]
    if part is ...:
        inner.pop(way[-1])
    else:
        inner[way[-1]] = part
    return changed


def refused(function, *arguments):
    """Return whether a function refuses its arguments in one line; another error is raised."""
    try:
        function(*arguments)
    except InputError as error:
        assert str(error).isprintable()
        return True
    return False


# --- records

ROWS = experiments.book_rows()[:2]
FIELDS = {
    "int64": st.integers(-(2**63), 2**63 - 1), "double": st.floats(), "bool": st.booleans(),
    "string": st.text(),
    "list<element: int64>": st.lists(st.integers(-9, 9) | st.none(), max_size=4),
    "list<element: double>": st.lists(st.floats() | st.none(), max_size=4),
    "list<element: string>": st.lists(st.text(max_size=9), max_size=4),
}  # fmt: skip


@generated
@given(st.data())
def test_a_record_with_any_other_value(tmp_path, generator):
    """Its digest is right, as if another program had written it."""
    field = generator.draw(st.sampled_from([field for field in record.SCHEMA if field.name != "digest"]))
    kind = str(field.type).replace("item:", "element:")
    row = ROWS[0] | {field.name: generator.draw(FIELDS[kind] | st.none())}
    try:
        record.write(tmp_path / "one.parquet", [row | {"digest": record.digest(row)}])
    except UnicodeEncodeError:  # half a character: no file can have it
        return
    if not refused(record.read, tmp_path / "one.parquet"):
        [read] = record.read(tmp_path / "one.parquet")
        text = experiments.summary("one", [read], experiments.measures([read]))
        assert text.replace("\n", "").isprintable()


# --- reports

OWN = {name: json.loads((paths.RECORDS / own).read_text()) for name, (_, own) in reports.REPORTS.items()}
WAYS = {name: list(places(report)) for name, report in OWN.items()}


@pytest.mark.parametrize("name", OWN)
@generated
@given(st.data())
def test_a_report_with_any_other_part(tmp_path, name, generator):
    way = generator.draw(st.sampled_from(WAYS[name]))
    part = generator.draw(VALUES | st.just(...)) if way else generator.draw(VALUES)
    text = json.dumps(replaced(OWN[name], way, part))
    (tmp_path / "one.json").write_text(text, encoding="utf-8")
    if not refused(reports.read, str(tmp_path / "one.json"), name):
        table = {"benchmark": contest.table, "scaling": scaling.table}[name]
        assert table(reports.read(str(tmp_path / "one.json"), name)).replace("\n", "").isprintable()


@pytest.mark.parametrize("number", ["9" * 5000, "1e5000", "NaN", "-Infinity"])
def test_a_number_that_is_none(tmp_path, number):
    whole = json.dumps(OWN["benchmark"])
    text = whole.replace(f'"rounds": {OWN["benchmark"]["rounds"]}', f'"rounds": {number}')
    assert number in text
    (tmp_path / "one.json").write_text(text, encoding="utf-8")
    assert refused(reports.read, str(tmp_path / "one.json"))


# --- data sets

SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
ANY = arrays.arrays(arrays.scalar_dtypes(), SHAPES) | arrays.arrays(
    np.float64, (4, 3), elements=st.floats(0, 1)
)


@generated
@given(st.dictionaries(st.sampled_from(["train_images", "train_labels", "test_labels"]), ANY, min_size=1))
def test_a_data_set_with_any_other_arrays(tmp_path, others):
    good = {}
    for part in data.PARTS:
        good |= {f"{part}_images": np.full((4, 3), 0.5), f"{part}_labels": np.arange(4) % 2}
    np.savez(tmp_path / "mine.npz", **good | others)
    data.load.cache_clear()
    if not refused(data.load, str(tmp_path / "mine.npz")):
        for images, labels in data.load(str(tmp_path / "mine.npz")).parts.values():
            assert images.dtype == np.float32 and images.min() >= 0 and images.max() <= 1
            assert len(labels) == len(images) > 0 and labels.dtype == np.int32 and labels.min() >= 0


# --- executed notebooks


def chapter():
    output = {
        "output_type": "display_data",
        "data": {"text/html": "<table><tr><th>a</th></tr><tr><td>1</td></tr></table>", "text/csv": "a\n1\n"},
        "metadata": {"figure": {"name": "fig-one", "caption": "One"}},
    }
    glued = {
        "output_type": "display_data",
        "data": {"application/papermill.record/text/plain": "'1'"},
        "metadata": {"scrapbook": {"name": "one"}},
    }
    code = nbformat.v4.new_code_cell("x = 1", outputs=[output, glued], metadata={"tags": ["parameters"]})
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# One"), code])
    book.metadata.papermill = {"parameters": {"x": 2}, "duration": 1.0}
    return nbformat.from_dict(book)


@generated
@given(st.data())
def test_an_executed_notebook_with_any_other_part(tmp_path, generator):
    """`bsn diff` compares it or refuses it; a build does not use it, and runs the chapter again."""
    folder = tmp_path / "executed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executed, "EXECUTED", folder)
        patch.setattr(executed, "BUILD", tmp_path)
        executed.write("one", chapter(), {"fingerprint": {}, "files": {}})
        written = executed.read("one")
        whole = json.loads(executed.path("one").read_bytes())
        way = generator.draw(st.sampled_from(list(places(whole))))
        changed = replaced(whole, way, generator.draw((VALUES | st.just(...)) if way else VALUES))
        executed.path("one").write_text(json.dumps(changed), encoding="utf-8")
        assert executed.read("one") in (None, written)
    if not refused(diff, str(tmp_path), str(tmp_path)):
        assert diff(str(tmp_path), str(tmp_path)) == []
