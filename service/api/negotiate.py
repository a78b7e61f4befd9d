"""Which format a client wants (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import cast

from fastapi import Request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from model.encode import FORMATS
from service.api.errors import Problem
from service.engine import ImageFormat


def accepted_format(request: Request) -> ImageFormat:
    """Return the format that the ``Accept`` header likes best: PNG where there is none, or it leaves the choice.

    Raises:
        Problem: 406, it accepts none.
    """
    return cast(ImageFormat, accepted(request, FORMATS, "No format is acceptable to the Accept header; faces are"))


def accepted(request: Request, kinds: Mapping[str, str], refusal: str) -> str:
    """Return which of ``kinds`` (name to media type) the ``Accept`` header likes best; the first if it is all one.

    Raises:
        Problem: 406, it accepts none: the ``refusal``, with the media types at its end.
    """
    found = _best(request.headers.get("accept", ""), tuple(kinds.items()))
    if found is None:
        raise Problem(406, f"{refusal} {', '.join(kinds.values())}.")
    return found


@lru_cache(256)
def _best(accept: str, kinds: tuple[tuple[str, str], ...]) -> str | None:
    if not accept.strip():
        return kinds[0][0]
    names = {kind: name for name, kind in kinds}
    best = parse_accept_header(accept, MIMEAccept).best_match(names)
    return None if best is None else names[best]
