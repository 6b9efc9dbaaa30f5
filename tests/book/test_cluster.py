"""Training on a real Dask cluster: a scheduler and workers of one thread each, on loopback."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import dask
import distributed
import numpy as np
import pytest
from conftest import ROOT, run_bsn

from bookkit import cluster, record, runs
from bookkit.runs import run
from bsn import InputError, Spec


class Cluster:
    """A scheduler, and the workers added to it, each a process that has neither MNIST nor a record."""

    def __init__(self, folder, **environment):
        self.folder, self.processes = folder, []
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        for name in ("BSN_MNIST_DIR", "BSN_RECORD"):
            self.environment.pop(name, None)
        file = folder / "scheduler.json"
        self._start(
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--scheduler-file",
            file,
            "--idle-timeout",
            "200",
        )
        while not file.exists() or not file.read_text():
            assert self.processes[0].poll() is None
            time.sleep(0.05)
        self.address = json.loads(file.read_text())["address"]

    def add_worker(self, **environment):
        self._start(
            "worker", self.address, "--no-nanny", "--nthreads", 1, "--death-timeout", 20, **environment
        )

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


@pytest.fixture
def on(monkeypatch):
    """Name the scheduler for `run`; the last call holds."""
    return lambda address: monkeypatch.setenv(cluster.VARIABLE, address)


def specs(seeds, **fields):
    common = dict(estimator="sigmoid-adjusted", dataset="digits", hidden=(20,), epochs=2, steps_per_epoch=151)
    rates = (0.1, 0.3, 1.0)
    return [
        Spec(**{**common, **fields, "learning_rate": rate, "seed": seed}) for seed in seeds for rate in rates
    ]


LONG = dict(hidden=(100,), epochs=2, steps_per_epoch=1001)


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


def test_the_same_record_as_without(shared_cluster, on, tmp_path, monkeypatch):
    """Every estimator's nets, to the last bit, on data of one's own that the workers cannot read."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 300), ("validation", 60), ("test", 60)):
        labels = rng.integers(0, 3, count)
        arrays |= {f"{part}_images": rng.random((count, 9)), f"{part}_labels": labels}
    np.savez(tmp_path / "mine.npz", **arrays)
    wanted = [
        spec
        for estimator in run.units.CODES
        for spec in specs([1, 2], estimator=estimator, dataset=str(tmp_path / "mine.npz"))
    ]
    done = []

    @contextlib.contextmanager
    def progress(total):
        yield done.append
        assert sum(done) == total

    monkeypatch.setenv(record.FOLDER_VARIABLE, str(tmp_path / "here"))
    here = run(wanted, progress)
    os.unlink(tmp_path / "mine.npz")
    on(shared_cluster.address)
    monkeypatch.setenv(record.FOLDER_VARIABLE, str(tmp_path / "there"))
    done.clear()
    there = run(wanted, progress)
    assert result(there).equals(result(here))
    assert len(done) >= 2 * len(run.units.CODES)
    assert same_in_a_record(tmp_path / "there") == same_in_a_record(tmp_path / "here")
    assert run(wanted).attrs["trained"] == 0


def test_a_worker_gets_the_data_once(shared_cluster, on):
    """Two runs, many batches each."""

    def taken(dask_worker):
        from bookkit import cluster

        return cluster._unpacked.cache_info().misses

    on(shared_cluster.address)
    with shared_cluster.client() as client:
        before = client.run(taken)
        run(specs(range(8)))
        run(specs(range(8, 16)))
        after = client.run(taken)
    assert len(after) == 2 and all(0 <= after[worker] - before[worker] <= 1 for worker in after)


def test_chapters_at_once_share_the_cluster(shared_cluster, site, checkout, tmp_path):
    """Through `bsn build`; the kernels' nets are those of the build without."""
    names = ["--chapter", "experiment_0", "experiment_5", "--scheduler", shared_cluster.address]
    ran = run_bsn(
        "build", "--profile", "smoke", *names,
        cwd=checkout, PYTHONPATH=str(checkout), BSN_RECORD=str(tmp_path / "record"),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert f"training on 2 workers (2 threads) of the scheduler at {shared_cluster.address}" in ran.stderr
    trained = same_in_a_record(tmp_path / "record")
    assert len(trained) > 4 and trained.items() <= same_in_a_record(site.parent / "record").items()


def test_a_worker_killed_midway(own_cluster, on):
    """The other trains what it had begun; nothing else is trained twice."""
    wanted = specs(range(8), **LONG)
    for _ in range(2):
        own_cluster.add_worker()

    def trained(dask_scheduler):
        ends = [(key, end) for key, start, end, *_ in dask_scheduler.transition_log if start == "processing"]
        return [key for key, end in ends if end == "memory" and key.startswith("bsn-train")]

    on(own_cluster.address)
    with own_cluster.client() as client:
        client.wait_for_workers(2)
        curves = run(wanted, at_the_first(own_cluster.processes[2].kill))
        keys = client.run_on_scheduler(trained)
        assert len(client.nthreads()) == 1
    assert len(set(keys)) == 8 and len(keys) <= 9
    on("")
    assert result(run(wanted)).equals(result(curves))


def test_the_scheduler_is_lost(own_cluster, on, tmp_path, monkeypatch):
    """One line; what had come is recorded, and the next run goes on from there."""
    wanted = specs(range(8), **LONG)
    own_cluster.add_worker()
    monkeypatch.setenv(record.FOLDER_VARIABLE, str(tmp_path / "record"))
    on(own_cluster.address)
    with pytest.raises(InputError) as raised:
        run(wanted, at_the_first(own_cluster.processes[0].kill))
    assert f"scheduler {own_cluster.address}: the connection was lost" in str(raised.value)
    assert "\n" not in str(raised.value)
    kept = len(record.read_all(tmp_path / "record"))
    assert 3 <= kept < len(wanted)
    on("")
    assert run(wanted).attrs["trained"] == len(wanted) - kept


def test_a_run_that_is_stopped_leaves_the_workers_idle(shared_cluster, on):
    """Ctrl-C: the batches that wait are cancelled, those that train end at their next record."""
    on(shared_cluster.address)

    def wait(client, busy):
        deadline = time.time() + 120
        while set(client.run(lambda dask_worker: dask_worker.state.executing_count).values()) != {busy}:
            assert time.time() < deadline
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
                run(specs(range(4), **LONG | dict(epochs=1000)))
        finally:
            stopper.join()
            signal.signal(signal.SIGINT, usual)
        wait(client, 0)
        assert not any(client.processing().values())


def test_workers_that_die_of_the_work(tmp_path, on):
    """Not for ever: after as many as Dask allows it is an error, in one line."""
    with contextlib.closing(Cluster(tmp_path, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")) as own:
        own.add_worker()
        with pytest.raises(InputError, match="1 workers died training the same nets, the last one tcp"):
            with cluster.connect(own.address) as client:
                batches = [(specs([1]), runs.datasets.load("digits"))]
                list(cluster.results(client, lambda *_: os._exit(1), batches))


def test_a_cluster_whose_workers_come_later(own_cluster, on, capsys):
    on(own_cluster.address)
    cluster.announce(own_cluster.address)
    assert "training on workers, none there yet, of the scheduler at" in capsys.readouterr().err
    later = threading.Timer(1, own_cluster.add_worker)
    later.start()
    assert len(result(run(specs([1])))) > 0
    later.join()


def test_workers_with_another_installation(shared_cluster, on, monkeypatch):
    monkeypatch.setattr(record, "SEMANTICS", record.SEMANTICS + 1)
    says = r"it has another installation: training semantics 1, here 2; expected the same"
    on(shared_cluster.address)
    with pytest.raises(InputError, match=says):
        run(specs([1]))
    monkeypatch.setattr(cluster, "_check", lambda *_: None)  # as if the workers came later
    with pytest.raises(InputError, match=says.replace("it", r"worker tcp://\S+", 1)):
        run(specs([1]))


def test_workers_that_lack_the_package(own_cluster, tmp_path):
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "bsn.py").write_text("raise ImportError('none here')")
    own_cluster.add_worker(PYTHONPATH=str(tmp_path / "none"))
    with own_cluster.client() as client:
        client.wait_for_workers(1)
    says = r"worker tcp://\S+ has another .*: bsn cannot be imported \(none here\), here 0.1.0; numba missing"
    with pytest.raises(InputError, match=says):
        cluster.announce(own_cluster.address)


def test_which_scheduler(monkeypatch):
    monkeypatch.delenv(cluster.VARIABLE, raising=False)
    assert cluster.address() is None
    with dask.config.set({"scheduler-address": "tcp://192.0.2.1:8786"}):
        assert cluster.address() == "tcp://192.0.2.1:8786"
        monkeypatch.setenv(cluster.VARIABLE, "tcp://192.0.2.2:8786")
        assert cluster.address() == "tcp://192.0.2.2:8786"
        monkeypatch.setenv(cluster.VARIABLE, "")
        assert cluster.address() is None


@pytest.fixture
def mute():
    """The address of something that listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "http://127.0.0.1:1", "mute"])
def test_an_address_where_no_scheduler_is(checkout, request, address):
    """One line within seconds, before anything starts."""
    address = request.getfixturevalue("mute") if address == "mute" else address
    before = sorted(path for path in checkout.rglob("*") if "__pycache__" not in path.parts)
    started = time.time()
    ran = run_bsn(
        "build", "--profile", "smoke", "--scheduler", address, cwd=checkout, PYTHONPATH=str(checkout)
    )
    assert time.time() - started < 25
    assert ran.returncode == 2 and ran.stdout == "" and ran.stderr.count("\n") == 1
    assert ran.stderr.startswith(f"bsn: scheduler {address}: no Dask scheduler answers (")
    assert sorted(path for path in checkout.rglob("*") if "__pycache__" not in path.parts) == before
