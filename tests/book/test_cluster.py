"""Training on a real Dask cluster: a scheduler and workers of one thread each, on loopback."""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import distributed
import numpy as np
import pytest
from conftest import run_bsn

from bookkit import cluster, data, record, runs
from bookkit.progress import training_progress
from bookkit.settings import Settings
from bsn import InputError, Spec
from bsn.estimators import ESTIMATORS as ENTRIES

pytestmark = pytest.mark.slow
DIGITS = data.load("digits")
HERE = Settings(record=None, threads=2)
ESTIMATORS = [name for name, entry in ENTRIES.items() if entry.rule]


class Cluster:
    """A scheduler, and the workers added to it, each a process that has neither MNIST nor a record."""

    def __init__(self, folder, **environment):
        self.folder, self.processes = folder, []
        self.environment = {**os.environ, **environment}
        for name in ("BSN_MNIST_DIR", "BSN_RECORD"):
            self.environment.pop(name, None)
        file = folder / "scheduler.json"
        self._start(
            "scheduler", "--host", "127.0.0.1", "--port", 0, "--scheduler-file", file, "--idle-timeout", 600
        )
        while not file.exists() or not file.read_text():
            assert self.processes[0].poll() is None
            time.sleep(0.05)
        self.address = json.loads(file.read_text())["address"]
        self.settings = Settings(record=None, scheduler=self.address)

    def add_worker(self, **environment):
        self._start("worker", self.address, "--no-nanny", "--nthreads", 1, **environment)

    def _start(self, *arguments, **environment):
        command = [sys.executable, "-m", "dask", *map(str, arguments), "--no-dashboard"]
        with open(self.folder / f"{len(self.processes)}.log", "w") as log:
            self.processes.append(
                subprocess.Popen(
                    command, env=self.environment | environment, cwd=self.folder, stdout=log, stderr=log
                )
            )

    @contextlib.contextmanager
    def client(self):
        with distributed.Client(self.address, set_as_default=False) as client:
            yield client

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def own_cluster(tmp_path):
    with contextlib.closing(Cluster(tmp_path)) as own:
        yield own


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory):
    with contextlib.closing(Cluster(tmp_path_factory.mktemp("cluster"))) as shared:
        for _ in range(2):
            shared.add_worker()
        with shared.client() as client:
            client.wait_for_workers(2)
        yield shared


def specs(seeds, **fields):
    common = dict(estimator="sigmoid-adjusted", hidden=(20,), epochs=2, steps_per_epoch=151)
    rates = (0.1, 0.3, 1.0)
    return [
        Spec(**{**common, **fields, "learning_rate": rate, "seed": seed}) for seed in seeds for rate in rates
    ]


LONG = dict(hidden=(100,), epochs=2, steps_per_epoch=1001)


def run(specs, data, settings, progress=training_progress):
    return runs.run(specs, data, settings, "compiled", progress)


def result(curves):
    return curves.drop(columns="seconds")


def same_in_a_record(folder):
    """All that a record holds but for time and place: key -> row."""
    rows = record.read_all(folder)
    return {row["key"]: {**row, "seconds": 0, "date": "", "digest": ""} for row in rows}


def at_the_first(action):
    """A progress that acts once, when the first nets are done."""

    @contextlib.contextmanager
    def progress(total):
        calls = []

        def advance(steps):
            calls.append(steps)
            if len(calls) == 1:
                action()

        yield advance

    return progress


def test_the_same_record_as_without(shared_cluster, tmp_path):
    """Compiled nets and one of TensorFlow's, to the last bit, on data that the workers cannot read."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 300), ("validation", 60), ("test", 60)):
        labels = rng.integers(0, 3, count)
        arrays |= {f"{part}_images": rng.random((count, 9)), f"{part}_labels": labels}
    np.savez(tmp_path / "mine.npz", **arrays)
    mine = data.load(str(tmp_path / "mine.npz"))
    wanted = [spec for estimator in ESTIMATORS for spec in specs([1, 2], estimator=estimator)]
    wanted.append(Spec(estimator="disarm", learning_rate=0.01, hidden=(20,), epochs=1, steps_per_epoch=101))
    done = []

    @contextlib.contextmanager
    def progress(total):
        yield done.append
        assert sum(done) == total

    here = run(wanted, mine, dataclasses.replace(HERE, record=tmp_path / "here"), progress)
    os.unlink(tmp_path / "mine.npz")
    settings = dataclasses.replace(shared_cluster.settings, record=tmp_path / "there")
    done.clear()
    there = run(wanted, mine, settings, progress)
    assert result(there).equals(result(here))
    assert len(done) >= 2 * len(ESTIMATORS)
    assert same_in_a_record(tmp_path / "there") == same_in_a_record(tmp_path / "here")
    assert run(wanted, mine, settings).attrs["trained"] == 0


def test_a_worker_gets_the_data_once(shared_cluster):
    """Two runs, many batches each."""

    def taken(dask_worker):
        from bookkit.compiled import nets

        return nets.load_part.cache_info().misses

    with shared_cluster.client() as client:
        before = client.run(taken)
        for seeds in (range(8), range(8, 16)):
            run(specs(seeds), DIGITS, shared_cluster.settings)
        after = client.run(taken)
    # its training and its validation part
    assert len(after) == 2 and all(after[worker] - before[worker] in (0, 2) for worker in after)


def test_chapters_at_once_share_the_cluster(shared_cluster, site, checkout, tmp_path):
    """Through `bsn build`; the kernels' nets are those of the build without."""
    copy, record_of = tmp_path / "copy", {"BSN_RECORD": str(tmp_path / "record")}
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns("_build", "__pycache__"))
    names = ["--chapter", "experiment_0", "experiment_5", "--scheduler", shared_cluster.address]
    path = f"{copy}:{copy / 'book'}"
    ran = run_bsn("build", "--profile", "smoke", *names, cwd=copy, PYTHONPATH=path, **record_of)
    assert ran.returncode == 0, ran.stderr
    assert f"training on 2 workers (2 threads) of the scheduler at {shared_cluster.address}" in ran.stderr
    trained = same_in_a_record(tmp_path / "record")
    assert len(trained) > 4 and trained.items() <= same_in_a_record(site.parent / "record").items()


def test_a_worker_killed_midway(own_cluster):
    """The other trains what it had begun; nothing else is trained twice."""
    wanted = specs(range(8), **LONG)
    for _ in range(2):
        own_cluster.add_worker()

    def trained(dask_scheduler):
        ends = [(key, end) for key, start, end, *_ in dask_scheduler.transition_log if start == "processing"]
        return [key for key, end in ends if end == "memory" and key.startswith("_work")]

    with own_cluster.client() as client:
        client.wait_for_workers(2)
        curves = run(wanted, DIGITS, own_cluster.settings, at_the_first(own_cluster.processes[2].kill))
        keys = client.run_on_scheduler(trained)
        assert len(client.nthreads()) == 1
    assert len(set(keys)) == 8 and len(keys) <= 9
    assert result(run(wanted, DIGITS, HERE)).equals(result(curves))


def test_the_scheduler_is_lost(own_cluster, tmp_path):
    """One line; what had come is recorded, and the next run goes on from there."""
    wanted, folder = specs(range(8), **LONG), tmp_path / "record"
    own_cluster.add_worker()
    settings = dataclasses.replace(own_cluster.settings, record=folder)
    with pytest.raises(InputError) as raised:
        run(wanted, DIGITS, settings, at_the_first(own_cluster.processes[0].kill))
    assert f"scheduler {own_cluster.address}: the connection was lost" in str(raised.value)
    assert "\n" not in str(raised.value)
    recorded = len(record.read_all(folder))
    assert 3 <= recorded < len(wanted)
    again = run(wanted, DIGITS, dataclasses.replace(HERE, record=folder))
    assert again.attrs["trained"] == len(wanted) - recorded


def test_a_run_that_is_stopped_leaves_the_workers_idle(shared_cluster):
    """Ctrl-C: the batches that wait are cancelled, those that train end at their next record."""

    def wait(client, busy):
        while set(client.run(lambda dask_worker: dask_worker.state.executing_count).values()) != {busy}:
            time.sleep(0.1)

    with shared_cluster.client() as client:

        def stop_when_busy():
            try:
                wait(client, 1)
            finally:
                os.kill(os.getpid(), signal.SIGINT)

        stopper = threading.Thread(target=stop_when_busy)
        usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
        try:
            stopper.start()
            with pytest.raises(KeyboardInterrupt):
                run(specs(range(4), **LONG | dict(epochs=1000)), DIGITS, shared_cluster.settings)
        finally:
            stopper.join()
            signal.signal(signal.SIGINT, usual)
        wait(client, 0)
        assert not any(client.processing().values())


def test_workers_that_die_of_the_work(tmp_path):
    """Not for ever: after as many as Dask allows it is an error, in one line."""
    with contextlib.closing(Cluster(tmp_path, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")) as own:
        own.add_worker()
        with pytest.raises(InputError, match="1 workers died training the same nets, the last one tcp"):
            with cluster.connect(own.address) as client:
                client.get_executor().submit(os._exit, 1).result()


def test_a_cluster_whose_workers_come_later(own_cluster, capsys):
    cluster.announce(own_cluster.address)
    assert "training on workers, none there yet, of the scheduler at" in capsys.readouterr().err
    later = threading.Timer(1, own_cluster.add_worker)
    later.start()
    assert len(run(specs([1]), DIGITS, own_cluster.settings)) > 0
    later.join()


def test_workers_with_another_installation(shared_cluster, monkeypatch):
    monkeypatch.setattr(record, "SEMANTICS", record.SEMANTICS + 1)
    says = r"it has another installation: training semantics 1, here 2; expected the same"
    with pytest.raises(InputError, match=says):
        run(specs([1]), DIGITS, shared_cluster.settings)
    monkeypatch.setattr(cluster, "_check", lambda *_: None)  # as if the workers came later
    with pytest.raises(InputError, match=says.replace("it", r"worker tcp://\S+", 1)):
        run(specs([1]), DIGITS, shared_cluster.settings)


def test_workers_that_lack_the_package(own_cluster, tmp_path):
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "bookkit.py").write_text("raise ImportError('none here')")
    own_cluster.add_worker(PYTHONPATH=str(tmp_path / "none"))
    with own_cluster.client() as client:
        client.wait_for_workers(1)
    says = r"worker tcp://\S+ has another .*: bsn cannot be imported \(none here\), here 0.2.0; numba missing"
    with pytest.raises(InputError, match=says):
        cluster.announce(own_cluster.address)


def test_an_address_where_no_scheduler_is():
    """Nothing there, something that never answers, and no address at all: one line each."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        for address in ("tcp://127.0.0.1:1", f"tcp://127.0.0.1:{port}", "nonsense", "http://127.0.0.1:1"):
            says = re.escape(f"scheduler {address}: no Dask scheduler answers (")
            with pytest.raises(InputError, match=f"^{says}.*$"):  # one line
                cluster.announce(address)
