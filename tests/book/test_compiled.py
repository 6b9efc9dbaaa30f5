"""What was compiled is found again by another process, and never used where it is damaged."""

import subprocess
import sys

import pytest
from conftest import ROOT

from bookkit.compiled import jit

TRAIN = """
import numpy as np
from bsn import compiled
jit.check()
@jit.compiled
def doubled(x):
    return 2 * x
print(doubled(np.arange(3.0)).sum(), sum(doubled.stats.cache_hits.values()))
"""


@pytest.fixture
def train(tmp_path):
    (tmp_path / "one.py").write_text(TRAIN)
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT), "PATH": ""}

    def run():
        ran = subprocess.run(
            [sys.executable, tmp_path / "one.py"], env=environment, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.split(), ran.stderr

    return run


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "unreadable"])
def test_what_is_damaged_is_named_and_compiled_anew(train, tmp_path, damage):
    assert train() == (["6.0", "0"], "")
    assert train() == (["6.0", "1"], "")
    [path] = (tmp_path / "cache").rglob("*.nbc")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "unreadable":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes({"flipped": content, "cut": content[:-1], "empty": b""}[damage])
    said, error = train()
    assert said == ["6.0", "0"]
    named = f"bsn: {path} is damaged: the training is compiled anew\n"
    assert error == ("" if damage == "unreadable" else named)
    assert train() == (["6.0", "0" if damage == "unreadable" else "1"], "")


def test_a_cache_that_cannot_be_written_is_only_slower(train, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert train() == (["6.0", "0"], "")


def test_the_folder_tells_the_sources_apart():
    assert jit.FOLDER.name == jit.source_digest(jit.SOURCES)
