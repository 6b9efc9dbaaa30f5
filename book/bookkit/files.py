"""Files that are written whole or not at all."""

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO

import psutil

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, a quota, a limit


def full_disk(text: str) -> str | None:
    """Return what a program's output says of an exhausted disk, quota or limit, if it says that."""
    return next((os.strerror(code) for code in FULL if os.strerror(code) in text), None)


def special(path: str | os.PathLike[str]) -> bool:
    """Return whether something is there that is no file: a folder, or a pipe, for which a reader waits."""
    path = pathlib.Path(path)
    return path.exists() and not path.is_file()


@contextlib.contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a binary file that replaces `path` once all of it is on disk; missing folders are created.

    If `path` is a link, what it points to is replaced.

    Raises:
        OSError: it cannot be written; then `path` is as it was, and nothing else is left.
    """
    path = pathlib.Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.glob(f".{path.name}.*"):  # by processes that were killed, or still write
        if not (other.suffix[1:].isdecimal() and psutil.pid_exists(int(other.suffix[1:]))):
            other.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
