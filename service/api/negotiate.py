"""Which picture format a client wants (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from functools import lru_cache
from typing import cast

from fastapi import Request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from model.encode import FORMATS
from service.api.errors import Problem
from service.engine import ImageFormat

_NAMES = {kind: name for name, kind in FORMATS.items()}


def accepted_format(request: Request) -> ImageFormat:
    """Return the format that the ``Accept`` header likes best: PNG where there is none, or it leaves the choice.

    Raises:
        Problem: 406, it accepts none.
    """
    found = _best(request.headers.get("accept", ""))
    if found is None:
        raise Problem(406, f"No format is acceptable to the Accept header; faces are {', '.join(FORMATS.values())}.")
    return cast(ImageFormat, found)


@lru_cache(256)
def _best(accept: str) -> str | None:
    if not accept.strip():
        return "png"
    best = parse_accept_header(accept, MIMEAccept).best_match(FORMATS.values())
    return None if best is None else _NAMES[best]
