"""Training on a real Dask cluster: a scheduler and workers of one thread each, on loopback."""

import contextlib
import os
import re
import shutil
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
from conftest import abridge, run_bsn
from distributed.deploy.subprocess import SubprocessCluster

from bookkit import cluster, data, record, runs
from bookkit.settings import Settings
from bsn import InputError, Spec
from bsn.estimators import ESTIMATORS as ENTRIES

pytestmark = pytest.mark.slow
DIGITS = data.load("digits")
ESTIMATORS = [name for name, entry in ENTRIES.items() if entry.rule]


def start(workers):
    """A scheduler and workers of one thread each, every one a process."""
    return SubprocessCluster(
        n_workers=workers, threads_per_worker=1, worker_class="distributed.Worker", dashboard_address=None,
        scheduler_kwargs={"idle_timeout": "600s", "dashboard": False},
    )  # fmt: skip


@pytest.fixture(scope="module")
def shared_cluster():
    with start(2) as shared:
        shared.wait_for_workers(2)
        yield shared


@pytest.mark.parametrize("logger", ["asyncio", "tornado.application", "distributed.core"])
def test_what_dask_forgets_as_it_ends_is_not_printed(logger, capfd):
    code = "import logging; from bookkit import cluster; logging.getLogger(%r).error('never retrieved')"
    subprocess.run([sys.executable, "-c", code % logger], check=True)
    assert capfd.readouterr().err == ""


def specs(seeds, **fields):
    common = dict(estimator="sigmoid-adjusted", hidden=(20,), epochs=2, steps_per_epoch=151)
    rates = (0.1, 0.3, 1.0)
    return [
        Spec(**{**common, **fields, "learning_rate": rate, "seed": seed}) for seed in seeds for rate in rates
    ]


LONG = dict(hidden=(100,), epochs=2, steps_per_epoch=1001)


def run(specs, data, cluster=None, folder=None):
    scheduler = cluster and cluster.scheduler_address
    settings = Settings(record=folder, threads=2, scheduler=scheduler)
    return runs.run(specs, data, settings, "compiled")


def result(curves):
    return curves.drop(columns="seconds")


def same_in_a_record(folder):
    """All that a record holds but for time and place: key -> row."""
    rows = record.read_all(folder)
    return {row["key"]: {**row, "seconds": 0, "date": "", "digest": ""} for row in rows}


def kill_once_recorded(monkeypatch, server):
    """Kill a server when the first nets are recorded."""
    write = record.write

    def write_and_kill(*arguments):
        write(*arguments)
        monkeypatch.setattr(record, "write", write)
        server.process.kill()

    monkeypatch.setattr(record, "write", write_and_kill)


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
    here = run(wanted, mine, folder=tmp_path / "here")
    os.unlink(tmp_path / "mine.npz")
    there = run(wanted, mine, shared_cluster, tmp_path / "there")
    assert result(there).equals(result(here))
    assert same_in_a_record(tmp_path / "there") == same_in_a_record(tmp_path / "here")
    assert run(wanted, mine, shared_cluster, tmp_path / "there").attrs["trained"] == 0


def test_a_worker_gets_the_data_once(shared_cluster):
    """Two runs, many batches each."""

    def taken(dask_worker):
        from bookkit.compiled import nets

        return nets.load_part.cache_info().misses

    with distributed.Client(shared_cluster, set_as_default=False) as client:
        before = client.run(taken)
        for seeds in (range(8), range(8, 16)):
            run(specs(seeds), DIGITS, shared_cluster)
        after = client.run(taken)
    # its training and its validation part
    assert len(after) == 2 and all(after[worker] - before[worker] in (0, 2) for worker in after)


def test_chapters_at_once_share_the_cluster(shared_cluster, checkout, tmp_path):
    """Through `bsn build`."""
    copy, address = tmp_path / "copy", shared_cluster.scheduler_address
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns("_build", "__pycache__"))
    abridge(copy, "experiment_0", "experiment_5")
    names = ["--chapter", "experiment_0", "experiment_5", "--scheduler", address]
    variables = {"PYTHONPATH": f"{copy}:{copy / 'book'}", "BSN_RECORD": str(tmp_path / "record")}
    ran = run_bsn("build", "--profile", "smoke", *names, cwd=copy, **variables)
    assert ran.returncode == 0, ran.stderr
    assert f"training on the scheduler at {address} (its workers' threads: 2)" in ran.stderr
    assert len(record.read_all(tmp_path / "record")) > 4


def test_a_worker_killed_midway(tmp_path, monkeypatch):
    """The other trains what it had begun; nothing else is trained twice."""
    wanted = specs(range(8), **LONG)

    def trained(dask_scheduler):
        ends = [(key, end) for key, start, end, *_ in dask_scheduler.transition_log if start == "processing"]
        return [key for key, end in ends if end == "memory" and key.startswith("_work")]

    with start(2) as own, distributed.Client(own, set_as_default=False) as client:
        own.wait_for_workers(2)
        kill_once_recorded(monkeypatch, own.workers[0])
        curves = run(wanted, DIGITS, own, tmp_path)
        keys = client.run_on_scheduler(trained)
        assert len(client.nthreads()) == 1
    assert len(set(keys)) == 8 and len(keys) <= 9
    assert result(run(wanted, DIGITS)).equals(result(curves))


def test_the_scheduler_is_lost(tmp_path, monkeypatch):
    """One line; what had come is recorded, and the next run goes on from there."""
    wanted = specs(range(8), **LONG)
    with contextlib.suppress(OSError), start(1) as own:  # whose end finds no scheduler to close
        kill_once_recorded(monkeypatch, own.scheduler)
        with pytest.raises(InputError, match="^scheduler tcp.*: the connection was lost.*$"):
            run(wanted, DIGITS, own, tmp_path)
        monkeypatch.setitem(dask.config.config["distributed"]["comm"]["timeouts"], "connect", "1s")
    recorded = len(record.read_all(tmp_path))
    assert 3 <= recorded < len(wanted)
    assert run(wanted, DIGITS, folder=tmp_path).attrs["trained"] == len(wanted) - recorded


def test_a_run_that_is_stopped_leaves_the_workers_idle(shared_cluster):
    """Ctrl-C: the batches that wait are cancelled, those that train end at their next record."""

    def wait(client, busy):
        while set(client.run(lambda dask_worker: dask_worker.state.executing_count).values()) != {busy}:
            time.sleep(0.1)

    with distributed.Client(shared_cluster, set_as_default=False) as client:

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
                run(specs(range(4), **LONG | dict(epochs=1000)), DIGITS, shared_cluster)
        finally:
            stopper.join()
            signal.signal(signal.SIGINT, usual)
        wait(client, 0)
        assert not any(client.processing().values())


def test_workers_that_die_of_the_work(monkeypatch):
    """Not for ever: after as many as Dask allows it is an error, in one line."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    with start(1) as own, pytest.raises(InputError, match="^scheduler tcp.* 1 .*workers died .*$"):
        with cluster.connect(own.scheduler_address) as client:
            client.get_executor().submit(os._exit, 1).result()


def test_a_cluster_whose_workers_come_later():
    with start(0) as own:
        later = threading.Timer(1, own.scale, [1])
        later.start()
        assert len(run(specs([1]), DIGITS, own)) > 0
        later.join()


def test_workers_with_another_installation(shared_cluster, monkeypatch):
    """Where the client connects, and where a worker comes later."""
    monkeypatch.setattr(record, "SEMANTICS", record.SEMANTICS + 1)
    says = "^.*python.* has another installation: training semantics 1, here 2; expected the same as here$"
    with pytest.raises(InputError, match=says):
        run(specs([1]), DIGITS, shared_cluster)
    with pytest.raises(InputError, match=says):
        with distributed.Client(shared_cluster, set_as_default=False) as client:
            client.submit(cluster._work, [], DIGITS, "compiled", False, cluster.installation()).result()


def test_workers_that_lack_the_package(tmp_path, monkeypatch):
    (tmp_path / "bookkit.py").write_text("raise ImportError('none here')")
    with start(0) as own:
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        own.scale(1)
        own.wait_for_workers(1)
        with pytest.raises(InputError, match="^scheduler tcp.*none here.*$"):
            cluster.announce(own.scheduler_address)


def test_an_address_where_no_scheduler_is():
    """Nothing there, something that never answers, and no address at all: one line each."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        for address in ("tcp://127.0.0.1:1", f"tcp://127.0.0.1:{port}", "nonsense", "http://127.0.0.1:1"):
            says = re.escape(f"scheduler {address}: no Dask scheduler answers (")
            with pytest.raises(InputError, match=f"^{says}.*$"):  # one line
                cluster.announce(address)
