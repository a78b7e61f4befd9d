"""The short way to a face: what FastAPI does around a route takes three times as long as the route itself.

It is for the request that all of the load is made of. Whatever is unusual about it goes the long way, with its body, so
that there is one place that says what is wrong. FastAPI's documentation has the routes as if there were no short way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.deps import media_type
from service.api.generate import generate, router
from service.api.schemas import GenerateRequest

_ROUTE = next(route for route in router.routes if getattr(route, "endpoint", None) is generate)


class Direct:
    """ASGI middleware, the innermost: a well-formed ``POST /generate`` is answered here, by the same function.

    What that raises is answered by the application's own exception handlers; for the rest there is ``app``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http" or scope["path"] != "/generate" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        if media_type(request) != "application/json":
            await self._app(scope, receive, send)
            return
        scope["route"] = _ROUTE  # as the router would, for the figures and the log
        try:
            body = await request.body()
            try:
                wish = GenerateRequest.model_validate_json(body)
            except ValidationError:
                await self._app(scope, _again(body, receive), send)
                return
            state = scope["app"].state
            response = await generate(request, wish, state.engine, state.sampler)
        except Exception as error:
            handler = _handler(scope["app"].exception_handlers, error)
            if handler is None:
                raise
            response = await handler(request, error)
        await response(scope, receive, send)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives a body that has been read once more, and then what comes."""
    given = False

    async def message() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return message


def _handler(handlers: Any, error: Exception) -> Callable[[Request, Exception], Awaitable[Response]] | None:
    """Return the handler of an exception; None for one that only the server knows how to answer: a bug."""
    kinds = type(error).__mro__[: type(error).__mro__.index(Exception)]
    return next((handlers[kind] for kind in kinds if kind in handlers), None)
