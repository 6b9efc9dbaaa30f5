"""Note which files of the checkout a chapter's kernel opens, and the processes that it starts.

Python imports a module of this name when it starts, before anything else can be opened: `runner` puts this
folder on the kernel's path. Each file opened, byte code included, is a line in the file BSN_USED_FILES.
"""

import os
import sys
from typing import Any


def watch(log: str, folder: str) -> None:
    """Append the path, from `folder`, of each file in it that is opened to `log`."""
    seen: set[str] = set()
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str) and arguments[0] not in seen:
            seen.add(arguments[0])
            path = os.path.realpath(arguments[0])
            if path.startswith(folder + os.sep):
                os.write(handle, f"{os.path.relpath(path, folder)}\n".encode())

    sys.addaudithook(note)


if os.environ.get("BSN_USED_FILES"):
    watch(os.environ["BSN_USED_FILES"], os.path.abspath(f"{os.path.realpath(__file__)}/../../../../.."))
