"""What routes ask for, as annotated aliases.

Coroutines all, though they wait for nothing: what is none, FastAPI runs in a thread, and three threads a request are a
third of what the event loop has to do.
"""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from service.api.errors import Problem
from service.engine import Engine, Sampler
from service.settings import Settings


async def _engine(request: Request) -> Engine:
    return cast(Engine, request.app.state.engine)


async def _sampler(request: Request) -> Sampler:
    return cast(Sampler, request.app.state.sampler)


async def _settings(request: Request) -> Settings:
    return cast(Settings, request.app.state.settings)


def media_type(request: Request) -> str:
    """Return what the body calls itself, without parameters, in lower case; empty where it says nothing."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def json_only(request: Request) -> None:
    """Refuse a body that does not call itself JSON, before anybody tries to read it as such."""
    main, _, sub = media_type(request).partition("/")
    if main != "application" or not (sub == "json" or sub.endswith("+json")):
        raise Problem(
            415,
            "Send the body as JSON, with the header 'Content-Type: application/json'.",
            headers={"Accept": "application/json"},
        )


EngineDep = Annotated[Engine, Depends(_engine)]
SamplerDep = Annotated[Sampler, Depends(_sampler)]
SettingsDep = Annotated[Settings, Depends(_settings)]
