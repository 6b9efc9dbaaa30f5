"""Files that are written whole or not at all, and folders that one process at a time works in."""

import contextlib
import errno
import fcntl
import os
import pathlib
import shutil
import tempfile

from bsn.errors import InputError

PREFIX = ".new-"  # of what is being written
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, a quota, a limit
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR)


def full_disk(text):
    """What a program's output says of an exhausted disk, quota or limit; None where it says nothing of it."""
    return next((os.strerror(code) for code in FULL if os.strerror(code) in text), None)


def cannot_write(text):
    """The same of all that keeps files from being written."""
    return next((os.strerror(code) for code in (*FULL, *CLOSED) if os.strerror(code) in text), None)


@contextlib.contextmanager
def replaced(path):
    """A binary file to write to; it takes the place of `path` once all of it is on disk.

    Its folder is made where it is missing.

    Raises:
        OSError: it cannot be written; then `path` is as it was, and nothing else is left.
    """
    folder = os.path.dirname(path)
    with workplace(folder):
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=PREFIX)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


@contextlib.contextmanager
def workplace(folder):
    """Hold a folder while something in it has a name that begins with `PREFIX`.

    What killed processes left there under such names is removed, if no living one holds the folder. The
    system lets go of it with the process, however that ends.
    """
    os.makedirs(folder, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # held, or on a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in pathlib.Path(folder).glob(PREFIX + "*"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def alone(folder, refusal):
    """Hold a folder, alone; yields a new folder in it, removed afterwards.

    Raises:
        InputError: another process holds it; `refusal` says what that means.
    """
    os.makedirs(folder, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    scratch = pathlib.Path(folder) / "scratch"
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(refusal) from None
        except OSError:  # a file system without locks
            pass
        try:
            shutil.rmtree(scratch, ignore_errors=True)  # a killed process's
            scratch.mkdir(exist_ok=True)
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        os.close(handle)
