"""The `bsn` command: arguments in, one clear line out when something is wrong."""

import argparse
import atexit
import dataclasses
import gc
import json
import os
import pathlib
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from bookkit.parameters import check
from bookkit.settings import Settings
from bsn.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0, 1 for a failure or a difference, 2 for wrong input."""
    if os.environ.pop("PYTHONWARNINGS", None):  # which could make an error of any library's warning
        warnings.resetwarnings()
        sys.warnoptions.clear()  # which child processes take over
    options = _parser().parse_args(arguments)
    atexit.register(gc.freeze)  # or the interpreter looks through all libraries for garbage before it ends
    try:
        status = options.function(options)
        sys.stdout.flush()  # here, where a failure is a line
        return status
    except InputError as error:
        print(f"bsn: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is not None:  # of a file: what could happen to it is handled where it is opened
            raise
        # nobody reads on, as after `| head`, or there is no room
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"bsn: cannot write the output: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(": ".join(["bsn: stopped", *map(str, stop.args)]), file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:  # one line, without the usage
        self.exit(2, f"bsn: {InputError(message)}; see '{self.prog} --help'\n")


def _parser() -> argparse.ArgumentParser:
    from bookkit.publish.book import PROFILES

    parser = _Parser(prog="bsn", description="Binary stochastic neurons: the book that re-examines a post.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    data = _Parser(add_help=False)
    words = "auto, mnist, digits or an .npz file (default: auto, which is MNIST if it is available)"
    data.add_argument("--dataset", default="auto", help=words)
    data.add_argument("--mnist-dir", metavar="DIR", help="folder with MNIST's four original files")
    build = commands.add_parser("build", parents=[data], help="run the chapters and build the site")
    add = build.add_argument
    add("--profile", choices=PROFILES, default="quick", help="how much to train (default: quick)")
    add("--chapter", nargs="+", metavar="NAME", default=[], help="run only these; others keep their results")
    pair, words = (
        ("NAME", "VALUE"),
        "set a parameter of the chosen chapters; values as in JSON, words without quotes; repeatable",
    )
    add("-p", nargs=2, action="append", default=[], metavar=pair, dest="parameters", help=words)
    words = "train on the workers of this Dask scheduler (default: Dask's configuration, else this machine)"
    add("--scheduler", metavar="ADDRESS", help=words)
    add("--fresh", action="store_true", help="run every chapter, and retrain what this build's record has")
    build.set_defaults(function=_build)

    bench = commands.add_parser(
        "bench", parents=[data], help="measure training speed, compared with the alternatives"
    )
    add = bench.add_argument
    add("--rounds", type=int, default=5, help="turns per contender (default: 5)")
    add("--steps", type=int, default=2000, help="mini-batches per turn (default: 2000)")
    add("--workers", action="store_true", help="instead, measure scaling with the number of Dask workers")
    add("--json", action="store_true", help="print one JSON object instead of a table")
    bench.set_defaults(function=_bench)

    record = commands.add_parser("record", help="show the nets in the record")
    record.add_argument("--build", action="store_true", help="show this build's record instead of the book's")
    add = record.add_mutually_exclusive_group().add_argument
    add("--csv", action="store_true", help="print one row for each net in each experiment, as CSV")
    studies, words = (
        ("confirmatory", "experiments", "tensorflow", "ranking", "costs", "repeatability", "vae"),
        "recreate one of the book's records from this build's",
    )
    add(
        "--adopt",
        nargs="?",
        const="experiments",
        choices=studies,
        help=f"{words}, training what is missing",
    )
    record.set_defaults(function=_record)

    diff = commands.add_parser("diff", help="list the numbers and verdicts that differ between two builds")
    diff.add_argument("first", metavar="A", help="a build's folder, such as _build")
    diff.add_argument("second", metavar="B", help="another; exit status 1 if anything differs")
    diff.set_defaults(function=_diff)
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    """Return the settings of the environment, as changed by the command line."""
    settings = Settings.from_environment()
    if options.mnist_dir is not None:
        check("mnist-dir", options.mnist_dir, where="--")
        settings = dataclasses.replace(settings, mnist_dir=pathlib.Path(options.mnist_dir).absolute())
    return settings


def _record(options: argparse.Namespace) -> int:
    import pandas as pd

    from bookkit import confirmatory, experiments, record

    settings = Settings.from_environment()
    if options.adopt:
        from bookkit.studies import records  # late: the studies draw, too

        print(records.adopt(options.adopt, settings))
        return 0
    rows = {"this build's record": record.read_all(settings.record) if settings.record else []}
    if not options.build:
        rows = {"the book's record": confirmatory.book_rows(), "exploratory nets": experiments.book_rows()}
    measured = {
        name: confirmatory.evaluations(some) if name == "the book's record" else experiments.measures(some)
        for name, some in rows.items()
    }
    if options.csv:
        table = experiments.nets(pd.concat(measured.values(), ignore_index=True))
        print(table.to_csv(index=False, float_format="%.6g"), end="")
    else:
        print("\n\n".join(experiments.summary(name, rows[name], measured[name]) for name in rows))
    return 0


def _diff(options: argparse.Namespace) -> int:
    from bookkit.publish.diff import diff

    lines = diff(options.first, options.second)
    print("\n".join(lines) if lines else "nothing moved")
    return 1 if lines else 0


def _bench(options: argparse.Namespace) -> int:
    for name in ("rounds", "steps"):
        check(name, getattr(options, name), where="--")
    settings = _settings(options)
    from bookkit.bench import contest, scaling

    benchmark = scaling if options.workers else contest
    measured = benchmark.measure(options.dataset, options.rounds, options.steps, settings)
    print(json.dumps(measured, indent=1) if options.json else benchmark.table(measured))
    return 0


def _build(options: argparse.Namespace) -> int:
    from bookkit.publish import book

    settings = _settings(options)
    settings = dataclasses.replace(settings, fresh=settings.fresh or options.fresh)
    if options.scheduler is not None:
        settings = dataclasses.replace(settings, scheduler=options.scheduler or None)
    return book.build(settings, options.profile, options.dataset, options.chapter, options.parameters)


if __name__ == "__main__":
    sys.exit(main())
