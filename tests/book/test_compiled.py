"""What was compiled is found again by another process, and sources that differ do not share it."""

import os
import subprocess
import sys

from bookkit import environment
from bookkit.compiled import jit

TRAIN = """
import numpy as np
from bookkit.compiled import jit
@jit.compiled
def doubled(x):
    return 2 * x
print(doubled(np.arange(3.0)).sum(), sum(doubled.stats.cache_hits.values()))
"""


def test_what_was_compiled_is_found_by_another_process(tmp_path):
    (tmp_path / "doubled.py").write_text(TRAIN)
    variables = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for hits in ("0", "1"):
        command = [sys.executable, tmp_path / "doubled.py"]
        ran = subprocess.run(command, env=variables, capture_output=True, text=True)
        assert (ran.returncode, ran.stdout.split(), ran.stderr) == (0, ["6.0", hits], "")
    [folder] = (tmp_path / "cache").iterdir()
    assert folder.name == jit.FOLDER.name


def test_the_folder_tells_sources_and_codes_apart():
    digest = environment.source_digest
    assert jit.FOLDER.name == digest(jit.SOURCES)
    assert jit.FOLDER.name not in (digest(jit.SOURCES[1:]), digest(jit.SOURCES[:-1]))
