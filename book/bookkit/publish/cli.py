"""The `bsn` command: arguments in, one clear line out when something is wrong."""

import argparse
import dataclasses
import json
import pathlib
import sys

from bookkit.parameters import check
from bookkit.settings import Settings
from bsn.errors import InputError


def main(arguments=None):
    """Run the command line; the exit status is 0, 1 for a failure or a difference, 2 for wrong input."""
    options = _parser().parse_args(arguments)
    try:
        return options.function(options)
    except InputError as error:
        print(f"bsn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(": ".join(["bsn: stopped", *map(str, stop.args)]), file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message):  # one line, without the usage
        self.exit(2, f"bsn: {InputError(message)}; see '{self.prog} --help'\n")


def _parser():
    from bookkit.publish.book import PROFILES

    parser = _Parser(prog="bsn", description="Binary stochastic neurons: the book that re-examines a post.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="run the chapters and build the site")
    build.add_argument(
        "--profile", choices=PROFILES, default="quick", help="how much to train (default: quick)"
    )
    _add_data(build)
    build.add_argument(
        "--chapter", nargs="+", metavar="NAME", help="run only these; the others keep their last results"
    )
    build.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="parameters",
        help="set a parameter of the chapters chosen, its value in YAML; repeatable",
    )  # fmt: skip
    build.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="train on the workers of the Dask scheduler there (default: Dask's configuration, else here)",
    )  # fmt: skip
    build.add_argument(
        "--fresh", action="store_true", help="run every chapter, and train what this build's record has, anew"
    )
    build.set_defaults(function=_build)
    bench = commands.add_parser("bench", help="measure the training beside what one would use instead")
    _add_data(bench)
    bench.add_argument("--rounds", type=int, default=5, help="turns of every contestant (default: 5)")
    bench.add_argument(
        "--steps", type=int, default=1000, help="mini-batches a turn, at least (default: 1000)"
    )
    bench.add_argument(
        "--workers", action="store_true", help="measure how training scales over Dask workers here, instead"
    )
    bench.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    bench.set_defaults(function=_bench)
    kept = commands.add_parser("record", help="what is recorded of trained nets")
    kept.add_argument("--build", action="store_true", help="this build's record instead of the book's")
    one = kept.add_mutually_exclusive_group()
    one.add_argument("--csv", action="store_true", help="one line a net and experiment, as CSV")
    one.add_argument(
        "--adopt",
        nargs="?",
        const="experiments",
        choices=("experiments", "ranking"),
        help="make this build's nets of the experiments, or of the ranking, the book's record",
    )
    one.add_argument(
        "--confirm",
        action="store_true",
        help="hold the book's verdicts against this build's nets at other seeds",
    )
    kept.set_defaults(function=_record)
    compare = commands.add_parser("diff", help="which numbers and verdicts moved between two builds")
    compare.add_argument("first", metavar="A", help="the folder of a build, as _build")
    compare.add_argument("second", metavar="B", help="another; exit status 1 where anything moved")
    compare.set_defaults(function=_diff)
    return parser


def _add_data(command):
    command.add_argument(
        "--dataset",
        default="auto",
        help="auto, mnist, digits or an .npz file (default: MNIST where it can be had)",
    )
    command.add_argument("--mnist-dir", metavar="DIR", help="folder with MNIST's four original files")


def _settings(options):
    """The environment's settings, with those of the command line in their place."""
    given = {"fresh": options.fresh} if getattr(options, "fresh", False) else {}
    if options.mnist_dir is not None:
        check("mnist-dir", options.mnist_dir, where="--")
        given["mnist_dir"] = pathlib.Path(options.mnist_dir).absolute()
    if getattr(options, "scheduler", None) is not None:
        given["scheduler"] = options.scheduler or None
    return dataclasses.replace(Settings.from_environment(), **given)


def _record(options):
    from bookkit import experiments, record, statistics
    from bookkit.studies import ranking

    build = options.build or options.adopt or options.confirm
    rows = record.read_all(Settings.from_environment().record) if build else experiments.book_rows()
    if options.adopt:
        print({"experiments": experiments, "ranking": ranking}[options.adopt].adopt(rows))
    elif options.confirm:
        print(statistics.confirm(rows))
    elif options.csv:
        print(experiments.nets(rows).to_csv(index=False, float_format="%.6g"), end="")
    else:
        print(experiments.summary("this build's record" if build else "the book's record", rows))
    return 0


def _diff(options):
    from bookkit.publish.diff import diff

    lines = diff(options.first, options.second)
    print("\n".join(lines) if lines else "nothing moved")
    return 1 if lines else 0


def _bench(options):
    for name in ("rounds", "steps"):
        check(name, getattr(options, name), where="--")
    settings = _settings(options)
    from bookkit.bench import report, scaling

    what = scaling if options.workers else report
    measured = what.measure(options.dataset, options.rounds, options.steps, settings)
    print(json.dumps(measured, indent=1) if options.json else what.table(measured))
    return 0


def _build(options):
    from bookkit.publish import book

    return book.build(
        _settings(options), options.profile, options.dataset, options.chapter or (), options.parameters
    )


if __name__ == "__main__":
    sys.exit(main())
