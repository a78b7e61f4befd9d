"""What a data set can be written as, a module a format."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from training.data.errors import DataError
from training.export.formats.layout import Layout

#: Names, and where each one's layout is. Imported when asked for: not everybody has what Parquet needs.
FORMATS: Final = {
    "folders": "folders.Folders",
    "zip": "zipped.Zipped",
    "webdataset": "shards.Shards",
    "parquet": "parquet.Parquet",
    "csv": "fer_csv.FerCsv",
}


def layout_of(name: str) -> type[Layout]:
    """Return the layout called so.

    Raises:
        DataError: there is none; one sentence.
    """
    if name not in FORMATS:
        raise DataError(f"unknown format {name[:40]!r}; known: {', '.join(FORMATS)}.")
    module, _, kind = FORMATS[name].partition(".")
    found: type[Layout] = getattr(import_module(f"{__name__}.{module}"), kind)
    return found
