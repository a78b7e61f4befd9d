"""The one error that a person who prepares or loads a data set has to act on."""

from __future__ import annotations


class DataError(Exception):
    """Something about data or disk that the user must put right; its text is one sentence."""
