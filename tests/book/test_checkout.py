"""The repository on other systems and in other folders."""

import re
import shutil
import subprocess

import pytest

from bookkit.paths import ROOT


def test_scripts_keep_their_ends_of_lines(tmp_path):
    """In a clone by a git that converts them, as on Windows."""
    clone = [
        "git",
        "-c",
        "safe.directory=*",
        "clone",
        "-q",
        "-c",
        "core.autocrlf=true",
        ROOT,
        tmp_path / "clone",
    ]
    subprocess.run(clone, check=True)
    shutil.copyfile(ROOT / ".gitattributes", tmp_path / "clone" / ".gitattributes")
    again = "git rm -q --cached -r . && git reset -q --hard"
    subprocess.run(again, shell=True, cwd=tmp_path / "clone", check=True, capture_output=True)
    for name in (".ci/run", "postBuild", "Makefile", "book/tables/preregistration.yml"):
        assert b"\r" not in (tmp_path / "clone" / name).read_bytes(), name


@pytest.mark.parametrize("same", [True, False], ids=["here", "copied"])
def test_an_environment_of_another_folder_is_set_up_anew(tmp_path, same):
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".ready").write_text(f"{tmp_path if same else '/elsewhere'}\n", encoding="utf-8")
    subprocess.run(["make", "help"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / ".venv").exists() == same


def test_make_says_which_python_it_needs(tmp_path):
    """Where there is none that fits, and none can be fetched."""
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    uv = tmp_path / ".venv" / "uv" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text("#!/bin/sh\nexit 2\n", encoding="utf-8")  # as uv ends then
    uv.chmod(0o755)
    ran = subprocess.run(["make", ".venv/bin/python"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode and re.search(r"^make: Python 3.11, 3.12 or 3.13 is needed;", ran.stderr, re.M)


def test_actions_are_pinned_by_hash():
    for path in (ROOT / ".github" / "workflows").iterdir():
        uses = re.findall(r"uses: (\S+)( # v[\d.]+)?$", path.read_text(encoding="utf-8"), re.M)
        assert uses and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) and tag for action, tag in uses)
