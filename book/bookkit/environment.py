"""What a result came from: machine and versions."""

import importlib.metadata
import platform


def versions(packages):
    """Package -> version, of those that are installed, and Python's own."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version("binary-stochastic-neurons" if name == "bsn" else name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def processor():
    """The processor's name, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
