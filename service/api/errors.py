"""Errors as RFC 9457 problem details (``application/problem+json``), whatever goes wrong.

Own code because it is the smaller room: the packages that do it for FastAPI put the text of an unexpected
exception into the answer, and none knows what a field allows, which is most of what is here.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from service.api.schemas import RULES, RULES_OF, FieldError, ProblemDetails
from service.api.validation import field_errors
from service.engine import DeadlineExceeded, EngineFailed, EngineStopped, QueueFull

MEDIA_TYPE: Final = "application/problem+json"
# RFC 9110's names, which Python has from 3.13 on.
_TITLES: Final = {413: "Content Too Large", 422: "Unprocessable Content"}


class Problem(HTTPException):
    """Raise it anywhere in a request to answer with a problem."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: list[FieldError] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.errors = errors


class ClientGone(Exception):
    """Nobody reads the answer any more."""


def invalid(errors: list[FieldError]) -> Problem:
    """Make the 422 that reports ``errors``; its detail is the first of them."""
    more = f" ({len(errors) - 1} more in 'errors'.)" if len(errors) > 1 else ""
    return Problem(422, errors[0].detail + more, errors=errors)


def retry_later(status: int, what: str, seconds: float) -> Problem:
    """Make the problem of ``what`` will be over in ``seconds``, and say when, in words and as Retry-After."""
    whole = max(1, math.ceil(seconds))
    when = "a second" if whole == 1 else f"{whole} seconds"
    return Problem(status, f"{what}; try again in {when}.", headers={"Retry-After": str(whole)})


def as_problem(error: Exception) -> Problem:
    """Return what a client is told of an exception; of a bug, nothing."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        detail = _FRAMEWORK.get(error.status_code) or error.detail
        return Problem(error.status_code, detail, headers=dict(error.headers or {}))
    if isinstance(error, QueueFull | DeadlineExceeded):
        what = "Too many faces are waiting" if isinstance(error, QueueFull) else "The face was not ready in time"
        return retry_later(503, what, error.seconds)
    if isinstance(error, EngineStopped):
        return Problem(503, "No face can be drawn at the moment; /readyz says when it can.")
    # The server's error log has the traceback; the answer has nothing of it.
    return Problem(500, "Something went wrong in the service; the request may be sent again.")


def problem_details(problem: Problem) -> ProblemDetails:
    """Return what a problem's answer says."""
    return ProblemDetails(
        title=_title(problem.status_code),
        status=problem.status_code,
        detail=problem.detail or HTTPStatus(problem.status_code).description,
        errors=problem.errors,
    )


def problem_response(problem: Problem, address: str = "") -> Response:
    """Write a problem down; at an ``address`` of OpenAI's, where its clients look for the sentence too."""
    details = problem_details(problem)
    if address.startswith("/v1/"):
        details.error = {
            "message": details.detail,
            "type": "invalid_request_error" if details.status < 500 else "server_error",
        }
    content = details.model_dump_json(exclude_none=True)
    return Response(content, problem.status_code, problem.headers, media_type=MEDIA_TYPE)


def _title(status: int) -> str:
    return _TITLES.get(status) or HTTPStatus(status).phrase


#: What the framework says of itself is too short to act on.
_FRAMEWORK = {
    404: "There is nothing at this address; /docs describes what there is.",
    405: "This address does not take that method; the Allow header names those it takes.",
    400: "The body could not be read as JSON.",
}


async def _on_error(request: Request, error: Exception) -> Response:
    return problem_response(as_problem(error), request.url.path)


async def _on_gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # the number is nginx's, for the log


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    rules = RULES_OF.get(request.url.path, RULES)
    return problem_response(invalid(field_errors(error.errors(), rules)), request.url.path)


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error of ``app`` a problem."""
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(ClientGone, _on_gone)
    app.add_exception_handler(ClientDisconnect, _on_gone)
    handled = (HTTPException, QueueFull, DeadlineExceeded, EngineStopped, EngineFailed, Exception)
    for kind in handled:  # EngineFailed was logged where it was raised; Exception alone is logged by the server
        app.add_exception_handler(kind, _on_error)


def documented(
    status: int, detail: str, errors: list[FieldError] | None = None, **headers: str
) -> dict[int | str, dict[str, Any]]:
    """Return a route's ``responses`` entry for a problem; ``headers`` are name to meaning."""
    example = ProblemDetails(title=_title(status), status=status, detail=detail, errors=errors)
    entry: dict[str, Any] = {
        "description": _title(status),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "example": example.model_dump(exclude_none=True),
            }
        },
    }
    if headers:
        entry["headers"] = {
            name.replace("_", "-"): {"description": meaning, "schema": {"type": "string"}}
            for name, meaning in headers.items()
        }
    return {status: entry}
