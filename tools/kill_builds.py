"""Kill smoke builds at random moments, and look whether anything is lost or left behind.

    .venv/bin/python tools/kill_builds.py FOLDER --kills 50

A build in a checkout of its own gets SIGKILL at a random moment of the time that it takes when undisturbed;
the next one goes on from there and may be killed too. Each that ends by itself must leave the record and the
site of the undisturbed build, but for dates and run times; then the next one starts from nothing. After every
kill, nothing may be half-written, and no process alive. Prints a line a build that ended; exit status 1 where
anything is wrong.
"""

import argparse
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import psutil

from bsn import diff, record

ROOT = pathlib.Path(__file__).resolve().parents[1]
MARK = "BSN_KILLED_BUILD"  # an environment variable that all processes of a build inherit
TIMED = ("seconds", "date", "digest")  # of a recorded net: what no two runs share
GRACE = 5  # seconds that processes have to end after their build is gone

# appended to the copy's training: which nets it begins
SPY = """
_begun = train_together


def train_together(specs, data, advance):
    with open({log!r}, "a") as file:
        for spec in specs:
            print(record.key(spec, data.checksum), file=file)
    return _begun(specs, data, advance)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="to work in; must not exist")
    parser.add_argument("--kills", type=int, default=50, help="how many (default: 50)")
    parser.add_argument("--chapter", nargs="+", help="only these chapters")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments (default: 1)")
    options = parser.parse_args()
    print("ended  killed at (s)                    nets  begun again  of them recorded  wrong")
    bad = 0
    for number, one in enumerate(kill_builds(**vars(options)), 1):
        moments = " ".join(f"{moment:.1f}" for moment in one["moments"])
        counts = f"{one['nets']:4}  {one['again']:11}  {one['recorded']:16}"
        print(f"{number:5}  {moments:<32}  {counts}  {'; '.join(one['wrong']) or '-'}", flush=True)
        bad += len(one["wrong"])
    return 1 if bad else 0


def kill_builds(folder, kills, chapter=None, seed=1):
    """Yields a dict a build that ended by itself.

    Its keys: `moments` of the kills before, in seconds; `nets` in its record; `again`, how many were begun
    that a killed build before had begun; `recorded`, how many of those were in the record by then; `wrong`.
    """
    folder = folder.resolve()
    chance = random.Random(seed)
    arguments = ["build", "--profile", "smoke", *(["--chapter", *chapter] if chapter else [])]
    quiet, checkout = (Checkout(folder / name, arguments) for name in ("quiet", "killed"))
    quiet.build()  # compiles the training, once on a machine
    quiet.forget()
    duration = quiet.build()
    expected = quiet.outcome()
    moments, wrong = [], []
    while kills or moments:
        moment = chance.uniform(0, duration) if kills else None
        if checkout.build(moment):
            ended = checkout.outcome()
            wrong += [f"{name} differs" for name in expected if expected[name] != ended[name]]
            wrong += diff.diff(quiet.folder / "_build", checkout.folder / "_build")
            wrong += checkout.left_over()
            again, recorded = checkout.begun_again()
            if recorded:
                wrong.append("a recorded net was trained again")
            yield {
                "moments": moments, "nets": len(ended["record"]), "again": again, "recorded": recorded,
                "wrong": wrong,
            }  # fmt: skip
            moments, wrong = [], []
            checkout.forget()
        else:
            kills -= 1
            moments.append(moment)
            wrong += checkout.half_written(expected)


class Checkout:
    """A copy of the repository to build in, and what became of its builds so far."""

    def __init__(self, folder, arguments):
        self.folder, self.arguments = folder, arguments
        self.executed, self.record, self.site = (
            folder / "_build" / n for n in ("executed", "record", "html")
        )
        self.log, self.temporary = folder.with_suffix(".log"), folder.with_suffix(".tmp")
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        with (folder / "bsn" / "training.py").open("a") as file:
            file.write(SPY.format(log=str(self.log)))
        self.forget()

    def forget(self):
        """Start from nothing."""
        shutil.rmtree(self.folder / "_build", ignore_errors=True)
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir()
        self.log.write_text("")
        self.before, self.again, self.of_recorded = set(), 0, 0

    def build(self, moment=None):
        """Build, and return how many seconds it took; or None when it was killed after `moment` seconds."""
        kept = {path.stem for path in self.record.glob("*.parquet")}
        self.log.write_text("")
        environment = {**os.environ, MARK: str(self.folder), "PYTHONPATH": str(self.folder)}
        environment |= {"TMPDIR": str(self.temporary)}
        environment.pop(record.FOLDER_VARIABLE, None)
        started = time.time()
        process = subprocess.Popen(
            [sys.executable, "-m", "bsn.cli", *self.arguments],
            cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            _, said = process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        seconds = time.time() - started
        begun = self.log.read_text().split()
        self.again += len(self.before & set(begun))
        self.of_recorded += len(kept & set(begun))
        self.before |= set(begun)
        if process.returncode == -signal.SIGKILL:
            return None
        if process.returncode:
            raise RuntimeError(said)
        return seconds

    def begun_again(self):
        return self.again, self.of_recorded

    def processes(self):
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    process.environ().get(MARK) == str(self.folder)
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def half_written(self, expected):
        """What is wrong after a kill, in words."""
        wrong, until = [], time.time() + GRACE
        while (alive := self.processes()) and time.time() < until:
            time.sleep(0.1)
        if alive:
            wrong.append(f"{len(alive)} processes outlive a kill")
        record.read_all(self.record)  # raises where a file is not whole
        for path in self.executed.glob("*.ipynb"):
            json.loads(path.read_text())
        if self.site.exists() and {*_files(self.site)} != {*expected["site"]}:
            wrong.append("half a site")
        return wrong

    def left_over(self):
        """What a build that ended by itself should not have left, in words."""
        left = [path for path in self.folder.rglob("*") if path.name.startswith(".new-")]
        left += [*self.temporary.iterdir(), *(self.folder / "_build").glob("scratch")]
        return [f"left over: {path}" for path in left] + [f"left over: {one}" for one in self.processes()]

    def outcome(self):
        """What two builds must share: the nets in the record, and the files of the site, without times."""
        rows = record.read_all(self.record)
        nets = {made["key"]: json.dumps({k: v for k, v in made.items() if k not in TIMED}) for made in rows}
        return {
            "record": nets,
            "site": {name: untimed(name, text) for name, text in _files(self.site).items()},
        }


def _files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def untimed(name, content):
    """A file of the site without what no two runs share.

    Tables and executed notebooks are left to `bsn.diff`, which knows their columns of times. Left out are the
    page about run times and the index of all words.
    """
    if name == "searchindex.js" or name.endswith("-executed.ipynb") or re.search(r"(_sources/|making)", name):
        return None
    if not name.endswith(".html"):
        return content
    text = re.sub(r"<table.*?</table>", "", content.decode(), flags=re.DOTALL)
    text = re.sub(r'<p class="bsn-head">.*? Download:', "", text)
    # random names of pandas and of matplotlib
    return re.sub(
        r"\bT_[0-9a-f]{5}|\bf[0-9a-f]{8}\b|\b(?:p|m|image)[0-9a-f]{10}\b|(?<=_)[0-9a-f]{10}\b", "", text
    )


if __name__ == "__main__":
    sys.exit(main())
