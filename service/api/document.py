"""The OpenAPI document: FastAPI's, and what every route has in common."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from service.access.gate import NO_KEY, OPEN, TOO_MANY
from service.api.errors import documented, retry_later
from service.api.schemas import GenerateRequest, ProblemDetails

_KEYS: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key, where this service needs one."},
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key.",
    },
}
#: What is answered before any route is reached: by the gate, and to a body that does not come.
_AT_THE_GATE: Final = {
    **documented(401, NO_KEY, WWW_Authenticate="How to send a key."),
    **documented(
        429,
        retry_later(429, TOO_MANY.format(limit="100 a minute"), 7).detail,
        Retry_After="Seconds to wait.",
        RateLimit="What is left, where it is limited.",
        RateLimit_Policy="What is allowed, where it is limited.",
    ),
}
_SLOW: Final = documented(408, "The body did not arrive within 30 seconds; send it again.")


def document(app: FastAPI) -> None:
    """Let ``app`` describe itself in full."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    # FastAPI documents that a method may be replaced so; mypy does not know of it.
    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        license_info=app.license_info,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    # Problem has no route that would bring it here, and FastAPI rounds a seed's maximum to a double.
    exact: dict[str, type[BaseModel]] = {"Problem": ProblemDetails, "GenerateRequest": GenerateRequest}
    for name, model in exact.items():
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[name] = schema
    components["securitySchemes"] = _KEYS
    for address, operations in made["paths"].items():
        if address in OPEN:
            continue
        for operation in operations.values():
            # The empty one says that it may do without: whether keys are needed is the operator's choice.
            operation["security"] = [{}, *({name: []} for name in _KEYS)]
            before = {**_AT_THE_GATE, **(_SLOW if "requestBody" in operation else {})}
            for status, response in before.items():
                operation["responses"].setdefault(str(status), response)
            operation["responses"] = dict(sorted(operation["responses"].items()))
    return made
