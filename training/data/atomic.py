"""A file that is either there as a whole or not at all.

Written next to its destination, flushed to the disk, then renamed over it: readers never see half a file, and
whatever stops the program on the way (an exception, Ctrl-C, SIGTERM, a closed terminal, a full disk) leaves
neither a new file nor a leftover, and an older file of that name untouched. Only SIGKILL and a power cut,
which nobody can answer, may leave a hidden ``.NAME.XXXXXXXX.part``, never a wrong ``NAME``.
"""

from __future__ import annotations

import errno
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Final

from training.data.errors import DataError

#: What the system says when a file cannot grow: disk full, quota used up, file size limit reached.
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

#: Signals that end a program at once, without cleaning up, unless somebody listens. Windows has no SIGHUP.
_STOPPING: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def stop_signals_as_exit() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into ``SystemExit(128 + number)`` inside the block, so that clean-up runs.

    A handler that the program has already set is left alone, and so is everything when this is not the main
    thread (Python lets only that one set handlers).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        # Once is enough: a second signal must not interrupt the clean-up that the first one started.
        for other in replaced:
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)

    replaced = [number for number in _STOPPING if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in replaced:
            signal.signal(number, stop)
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a new binary file (readable, seekable) that appears as ``path`` when the block ends without an
    exception.

    Raises:
        DataError: the folder is missing or not writable, ``path`` is a folder, or there is no room on the
            disk.
    """
    path = Path(path)
    # os.path answers "no" where pathlib would raise: a name that is too long, a folder one may not look into.
    if os.path.isdir(path):
        raise DataError(f"cannot write {path}: it is a folder.")
    if not os.path.isdir(path.parent):
        raise DataError(f"cannot write {path}: the folder {path.parent} does not exist.")
    # Named before it is made, so that no moment is left in which it exists and nobody would remove it.
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    with stop_signals_as_exit():
        try:
            with open(part, "x+b") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(part, path)
        except BaseException as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                reason = error.strerror or "disk full"
                raise DataError(f"no room on the disk for {path} ({reason}); make some and run it again.") from error
            if isinstance(error, OSError) and str(error.filename) == str(part):
                raise DataError(f"cannot write {path}: {error.strerror or error}.") from error
            raise
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can (POSIX)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
