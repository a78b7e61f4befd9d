"""Serve the studio's files: the page at ``/``, and what it is made of below ``/studio/``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.answer import client_has
from service.api.errors import Problem, problem_response

_PAGE: Final = "index.html"
_KINDS: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
#: The page needs nothing but this service, and may be framed by nobody else. Pictures that were fetched with a key are
#: blobs, faces of a batch are data.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class Studio:
    """ASGI middleware, in front of the gate: the page is where people are asked for their key.

    Nothing but the files of this folder is answered here, all read at the start; the rest is passed on to ``app``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._answers = {address: _Answer(file, address) for address, file in _files().items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file, or pass the request on."""
        answer = self._answers.get(scope["path"]) if scope["type"] == "http" else None
        if answer is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = answer.route  # as the router would, for the figures and the log
        await answer.to(Request(scope))(scope, receive, send)


class _Answer:
    """A file, with its headers."""

    def __init__(self, file: Path, address: str) -> None:
        self.route = Route(address, self.to)
        self._content = file.read_bytes()
        self._kind = _KINDS[file.suffix]
        self._headers = {
            "ETag": f'"{hashlib.sha256(self._content).hexdigest()[:32]}"',
            # Kept, but asked for each time: the files belong together, and with the service that serves them.
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        if file.name == _PAGE:
            self._headers |= {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}

    def to(self, request: Request) -> Response:
        """Return what a request gets."""
        if request.method not in ("GET", "HEAD"):
            return problem_response(
                Problem(405, "This is a page, to be read with GET; /docs tells how to ask for a face.", headers=_ALLOW)
            )
        if client_has(request, self._headers["ETag"]):
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers, media_type=self._kind)


_ALLOW: Final = {"Allow": "GET, HEAD"}


def _files() -> Mapping[str, Path]:
    """Return the page's files by their addresses."""
    found = {file.name: file for file in Path(__file__).parent.iterdir() if file.suffix in _KINDS}
    return {"/": found.pop(_PAGE), **{f"/studio/{name}": file for name, file in found.items()}}
