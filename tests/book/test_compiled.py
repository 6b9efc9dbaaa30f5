"""What was compiled is found again by another process, and sources that differ do not share it."""

import dataclasses
import os
import runpy
import subprocess
import sys

from bookkit import data, environment
from bookkit.compiled import jit, kernels, nets
from bsn import Spec, curves

TRAIN = """
import pathlib
import numpy as np
from bookkit.compiled import jit
jit.SOURCES.append(pathlib.Path(__file__))
@jit.compiled
def doubled(x):
    return 2 * x
print(doubled(np.arange(3.0)).sum(), sum(doubled.stats.cache_hits.values()))
"""


def test_what_was_compiled_is_found_by_another_process_of_another_checkout(tmp_path):
    variables = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for checkout, hits in (("one", "0"), ("other", "1")):
        (tmp_path / checkout).mkdir()
        (tmp_path / checkout / "doubled.py").write_text(TRAIN)
        command = [sys.executable, tmp_path / checkout / "doubled.py"]
        ran = subprocess.run(command, env=variables, capture_output=True, text=True)
        assert (ran.returncode, ran.stdout.split(), ran.stderr) == (0, ["6.0", hits], "")
    [folder] = (tmp_path / "cache").iterdir()
    assert folder.name == jit.FOLDER.name


def test_the_folder_tells_sources_and_codes_apart():
    digest = environment.source_digest
    assert jit.FOLDER.name == digest(jit.SOURCES)
    assert jit.FOLDER.name not in (digest(jit.SOURCES[1:]), digest(jit.SOURCES[:-1]))


def test_the_set_up_compiles_all_that_trains():
    """Nets of other estimators, depths and numbers need no more than their rule."""
    runpy.run_module("bookkit.compiled", run_name="__main__")
    before = [[*function.signatures] for function in (kernels.train, kernels.evaluate)]
    short = dict(learning_rate=0.1, epochs=1, steps_per_epoch=101)
    annealed = Spec(estimator="sigmoid-adjusted", slope_rate=1.1, slope_in_training=True, **short)
    deep = Spec(estimator="variance-adjusted", hidden=(9, 8), stable_loss=True, **short)
    specs = [annealed, Spec(estimator="sigmoid", **short), deep, dataclasses.replace(deep, learning_rate=0.2)]
    source = data.load("digits")
    curves.train(specs, source.parts, source.classes, engine=lambda group: nets.Nets(group, source))
    assert before == [[*function.signatures] for function in (kernels.train, kernels.evaluate)]
