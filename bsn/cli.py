"""The `bsn` command: arguments in, one clear line out when something is wrong."""

import argparse
import os
import sys

from bsn.errors import InputError


def main(arguments=None):
    """Run the command line; returns the exit status: 0, 1 for a failed build, 2 for wrong input."""
    options = _parser().parse_args(arguments)
    try:
        return options.function(options)
    except InputError as error:
        print(f"bsn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bsn: stopped", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message):  # one line, without the usage
        self.exit(2, f"bsn: {message}; see '{self.prog} --help'\n")


def _parser():
    from bsn.book import PROFILES

    parser = _Parser(prog="bsn", description="Binary stochastic neurons: the book that re-examines a post.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="run the chapters and build the site")
    build.add_argument(
        "--profile", choices=PROFILES, default="quick", help="how much to train (default: quick)"
    )
    build.add_argument(
        "--dataset",
        default="auto",
        help="auto, mnist, digits or an .npz file (default: MNIST where it can be had)",
    )
    build.add_argument("--mnist-dir", metavar="DIR", help="folder with MNIST's four original files")
    build.add_argument(
        "--chapter", nargs="+", metavar="NAME", help="run only these; the others keep their last results"
    )
    build.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="parameters",
        help="set a parameter of the chapters chosen, its value in YAML; repeatable",
    )  # fmt: skip
    build.set_defaults(function=_build)
    return parser


def _build(options):
    from bsn import book

    if options.mnist_dir:
        os.environ["BSN_MNIST_DIR"] = options.mnist_dir
    return book.build(options.profile, options.dataset, options.chapter, options.parameters)


if __name__ == "__main__":
    sys.exit(main())
