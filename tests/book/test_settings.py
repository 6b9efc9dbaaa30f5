"""What a user sets for all chapters: read from the environment, and handed on."""

import dask

from bookkit.settings import Settings


def test_another_process_reads_the_same_settings(tmp_path):
    given = Settings(mnist_dir=tmp_path, record=None, fresh=True, scheduler="tcp://192.0.2.1:8786", threads=3)
    assert Settings.from_environment(given.environment()) == given


def test_which_scheduler():
    assert Settings.from_environment({}).scheduler is None
    with dask.config.set({"scheduler-address": "tcp://192.0.2.1:8786"}):
        assert Settings.from_environment({}).scheduler == "tcp://192.0.2.1:8786"
        named = {"BSN_SCHEDULER": "tcp://192.0.2.2:8786"}
        assert Settings.from_environment(named).scheduler == "tcp://192.0.2.2:8786"
        assert Settings.from_environment({"BSN_SCHEDULER": ""}).scheduler is None
