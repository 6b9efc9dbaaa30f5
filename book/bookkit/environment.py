"""What a result came from: machine, versions and sources."""

import hashlib
import importlib.metadata
import pathlib
import platform
from collections.abc import Iterable


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return package -> version, of those that are installed, and Python's own."""
    installed = {"python": platform.python_version()}
    for name in packages:
        try:
            installed[name] = importlib.metadata.version(
                "binary-stochastic-neurons" if name == "bsn" else name
            )
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def source_digest(paths: Iterable[pathlib.Path], *names: str) -> str:
    """Return a hash of files, as they are now, and of names."""
    content = b"".join(path.read_bytes() for path in paths) + " ".join(names).encode()
    return hashlib.sha256(content).hexdigest()[:12]
