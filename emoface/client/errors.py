"""What can go wrong, a class for each thing that a program would do something else about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx


class EmofaceError(Exception):
    """Whatever goes wrong between a client and its service; its text is one sentence."""


class Unreachable(EmofaceError):
    """No answer came: there is nobody at the address, the connection broke, or it took too long."""


class UnexpectedAnswer(EmofaceError):
    """An answer came that no emoface would give: something else lives at the address, or stands in between."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing that is wrong with a request."""

    where: str  # a JSON Pointer into the body ("#/emotion"), or the name of a part of the address
    detail: str  # one sentence
    allowed: str | tuple[str, ...] | None  # the names that are allowed, or the rule in words


class ProblemError(EmofaceError):
    """The service said no, with a problem of RFC 9457. Its text is the problem's ``detail``."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        title: str = "",
        errors: tuple[FieldProblem, ...] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors
        self.request_id = request_id  # of the service's log
        self.retry_after = retry_after  # seconds after which it may be asked again, where the service says so


class InvalidRequest(ProblemError):
    """The request cannot be answered as it is: :attr:`errors` names what is wrong. To repeat it changes nothing."""


class KeyRefused(ProblemError):
    """The service wants a key, or another one."""


class RateLimited(ProblemError):
    """The key, or the address, has asked for more than it may; :attr:`retry_after` says when there is more."""


class Unavailable(ProblemError):
    """The service has too much to do, is about to end, or cannot draw at the moment."""


class ServiceFailed(ProblemError):
    """Something went wrong in the service."""


def _kind(status: int) -> type[ProblemError]:
    if status in (401, 403):
        return KeyRefused
    if status == 429:
        return RateLimited
    if status in (502, 503, 504):
        return Unavailable
    if status >= 500:
        return ServiceFailed
    return InvalidRequest if status >= 400 else ProblemError


def problem_error(
    status: int, problem: Mapping[str, Any], *, request_id: str | None = None, retry_after: float | None = None
) -> ProblemError:
    """Return the error that a problem is; what a problem does not say, its status says."""
    known = status in HTTPStatus._value2member_map_
    title = str(problem.get("title") or (HTTPStatus(status).phrase if known else "Unknown status"))
    errors = []
    for found in problem.get("errors") or ():
        allowed = found.get("allowed")
        errors.append(
            FieldProblem(
                where=str(found.get("pointer") or found.get("parameter") or ""),
                detail=str(found.get("detail", "")),
                allowed=tuple(allowed) if isinstance(allowed, list) else allowed,
            )
        )
    detail = str(problem.get("detail") or f"The service answered {status} {title}.")
    return _kind(status)(
        status, detail, title=title, errors=tuple(errors), request_id=request_id, retry_after=retry_after
    )


def answered_error(response: httpx.Response, retry_after: float | None) -> ProblemError:
    """Return the error that an answer is, whoever wrote it: a proxy in between writes no problems."""
    problem: Any = {}
    if response.headers.get("content-type", "").partition(";")[0].strip() == "application/problem+json":
        try:
            problem = response.json()
        except ValueError:
            problem = {}
    return problem_error(
        response.status_code,
        problem if isinstance(problem, Mapping) else {},
        request_id=response.headers.get("x-request-id"),
        retry_after=retry_after,
    )
