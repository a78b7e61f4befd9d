"""API keys: hashed where they are kept, compared in constant time, read again when their file changes.

A key is 256 random bits, so a plain SHA-256 of it cannot be turned back or guessed, and costs nothing at each request;
slow hashes are for what people can remember (OWASP, Cryptographic Storage Cheat Sheet).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.access.rates import read_rates

log = logging.getLogger(__name__)

_LINE: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64}):(?P<digest>[0-9a-fA-F]{64})(?::(?P<rate>.+))?")
_PREFIX: Final = "emoface_"  # so that scanners for lost secrets, and people, know what it is
_LOOK_AGAIN: Final = 1.0  # seconds


class KeysError(ValueError):
    """Keys that cannot be used; its text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is known: all of it but the key itself."""

    name: str  # for the log
    digest: str  # SHA-256 of the key, hexadecimal
    rate: str | None = None  # as :func:`service.access.rates.read_rates` reads it; None: what holds for every key


def new_key(name: str) -> tuple[str, str]:
    """Draw a key; return it and the line that lets the service know it.

    Raises:
        KeysError: the name is not 1 to 64 letters, digits, ``.``, ``_`` or ``-``.
    """
    key = _PREFIX + secrets.token_urlsafe(32)
    line = f"{name}:{_digest(key)}"
    _read_line(line)
    return key, line


def add_key(file: Path, line: str) -> None:
    """Add a line to a file of keys, which only its owner can read if it is new.

    Raises:
        KeysError: it has a key of that name, or cannot be read or written; one sentence.
    """
    try:
        with open(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+", encoding="utf-8") as keys:
            text = keys.read()
            KeyRing([*(old for old in text.splitlines() if not old.lstrip().startswith("#")), line])
            keys.write(("" if text.endswith("\n") or not text else "\n") + line + "\n")
    except OSError as error:
        raise KeysError(f"the keys in {str(file)!r} cannot be written: {error.strerror}.") from None


class KeyRing:
    """The keys of a file and of the environment.

    Args:
        lines: ``name:sha256`` or ``name:sha256:rate`` each.
        file: a text file of such lines; empty ones and those that begin with ``#`` say nothing. It is looked at again
            at most once a second. One that cannot be read or understood any more leaves the keys as they were.
        clock: gives seconds.

    Raises:
        KeysError: a line is no key, two have the same name, or the file cannot be read or has none; one sentence.
    """

    def __init__(
        self, lines: Iterable[str] = (), file: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lines = [line for line in lines if line.strip()]
        self._file = file
        self._clock = clock
        self._looked = clock()
        self._seen = self._stamp()
        self._keys = self._read()

    def find(self, given: str) -> Key | None:
        """Return the key that ``given`` is; in the same time whether it is none, the first or the last."""
        self._look_again()
        digest = _digest(given)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def _look_again(self) -> None:
        if self._file is None or self._clock() - self._looked < _LOOK_AGAIN:
            return
        self._looked = self._clock()
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._keys = self._read()
        except KeysError as error:
            log.error("the keys stay as they were: %s", error)
        else:
            log.warning("the keys were read again; there are %d", len(self._keys))

    def _stamp(self) -> tuple[int, int, int] | None:
        if self._file is None:
            return None
        try:
            about = self._file.stat()
        except OSError:
            return None
        return about.st_mtime_ns, about.st_size, about.st_ino

    def _read(self) -> list[Key]:
        keys = [_read_line(line.strip()) for line in self._lines]
        if self._file is not None:
            try:
                text = self._file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is no text"
                raise KeysError(f"the keys in {str(self._file)!r} cannot be read: {reason}.") from None
            for number, line in enumerate(text.splitlines(), 1):
                if line.strip() and not line.lstrip().startswith("#"):
                    keys.append(_read_line(line.strip(), f" in line {number} of {str(self._file)!r}"))
            if not keys:
                raise KeysError(f"there is no key in {str(self._file)!r}; 'emoface key NAME' makes one.")
        names = [key.name for key in keys]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise KeysError(f"two keys are called {twice!r}; give each a name of its own.")
        return keys


def _read_line(line: str, where: str = "") -> Key:
    match = _LINE.fullmatch(line)
    if match is None:
        # Not what stands there: somebody may have written a key itself down.
        raise KeysError(
            f"a key{where} must be NAME:SHA256 or NAME:SHA256:RATE, with a name of 1 to 64 letters, digits, '.', '_' "
            "or '-'; 'emoface key NAME' makes one."
        )
    try:
        if match["rate"] is not None:
            read_rates(match["rate"])
    except ValueError as error:
        raise KeysError(f"the rate of the key {match['name']!r}{where} must be {error}.") from None
    return Key(match["name"], match["digest"].lower(), match["rate"])


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
