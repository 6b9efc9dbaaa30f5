"""What a user sets for all chapters: read from the environment, and handed on."""

import dask
import pytest

from bookkit import paths
from bookkit.settings import Settings
from bsn import InputError


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


@pytest.mark.parametrize("record", ["/dev/null", __file__, paths.BUILD, paths.ROOT, "/"], ids=str)
def test_a_record_is_a_folder_of_its_own(record):
    """It is refused before anything starts."""
    paths.BUILD.mkdir(exist_ok=True)
    with pytest.raises(InputError, match="BSN_RECORD is .*; expected a folder of its own"):
        Settings.from_environment({"BSN_RECORD": str(record)})


def test_a_record_that_is_missing_or_none_is_right(tmp_path):
    assert Settings.from_environment({"BSN_RECORD": str(tmp_path / "new")}).record == tmp_path / "new"
    assert Settings.from_environment({"BSN_RECORD": ""}).record is None
