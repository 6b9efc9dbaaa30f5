"""On how many cores to train."""

import os

from bsn.errors import InputError, shown

VARIABLE = "BSN_THREADS"


def thread_count():
    """How many threads train: BSN_THREADS, or one for each core that this process may use."""
    value = os.environ.get(VARIABLE)
    if value is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if not (value.isdecimal() and len(value) < 5 and int(value)):
        raise InputError(f"{VARIABLE} is {shown(value)}; allowed: a whole number from 1 to 9999")
    return int(value)
