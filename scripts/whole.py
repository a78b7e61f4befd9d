"""Exits with 0 if every package installed beside this Python has all its files, at their full size; else names one.

pip takes a package for installed as soon as its metadata is there. An installation that was killed, or a disk that
ran full, can leave the metadata without the files; only then does an environment have to be made from nothing.
"""

from __future__ import annotations

import csv
import sys
from importlib.metadata import distributions

for distribution in distributions():
    record = distribution.read_text("RECORD")
    if not record:
        sys.exit(f"{distribution.metadata['Name']} has no list of its files.")
    for name, _, size in csv.reader(record.splitlines()):
        path = distribution.locate_file(name)
        try:
            whole = not size or path.stat().st_size == int(size)  # type: ignore[attr-defined]  # it is a Path
        except OSError:
            whole = "__pycache__" in name  # Python makes those again
        if not whole:
            sys.exit(f"{distribution.metadata['Name']} lacks {name}.")
