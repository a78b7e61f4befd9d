"""The gate before everything that draws: is the key known, and is there something left for whoever asks."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from fastapi import Request
from limits import RateLimitItem
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.keys import Key, KeyRing
from service.access.rates import Account, Rates, TooMany, read_rates
from service.api.errors import Problem, problem_response, retry_later
from service.observability import KEY_NAME

#: What tells nothing of anybody and draws nothing: health and the documentation. All else needs a key, where keys are
#: needed, and is counted; the studio's files are answered before.
OPEN: Final = frozenset(("/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/openapi.json"))
_OPEN_BELOW: Final = "/static-offline-docs/"
#: But a supervisor's own questions are not counted.
_UNCOUNTED: Final = ("/metrics",)
_STATE: Final = "emoface.access"

NO_KEY: Final = "This service needs a key: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
TOO_MANY: Final = "Allowed are {limit} for each who asks"
_WRONG: Final = "The key is not known here; ask whoever runs this service for one."


class _Visit:
    """One request, whoever it is of."""

    def __init__(self, rates: Rates, account: Account) -> None:
        self._rates = rates
        self.account = account

    def take(self, faces: int, counted: int = 0) -> None:
        """Count faces beside those that were counted. Raises the 429 when they are more than is left."""
        try:
            self._rates.take(self.account, faces, counted)
        except TooMany as error:
            raise _too_many(error, faces + counted) from None

    def headers(self) -> dict[str, str]:
        """Return what is said of what is left."""
        return self._rates.headers(self.account)


class Gate:
    """ASGI middleware: 401 without a known key, 429 over the rate, and what is left in every answer's headers.

    A request counts as one face, and one that draws several as many: their routes call :func:`charge`. Who comes with a
    key is counted by its name, and everybody else by their address; an IPv6 address by the network of 64 bits that one
    household has.

    Args:
        keys: those that are known; None lets everybody in.
        key_rates: for each key that has none of its own; empty: as much as anybody likes.
        address_rates: for each address without a key, which counts wrong ones too: nobody can try them all.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: KeyRing | None = None,
        key_rates: Sequence[RateLimitItem] = (),
        address_rates: Sequence[RateLimitItem] = (),
    ) -> None:
        self._app = app
        self._keys = keys
        self._key_rates = tuple(key_rates)
        self._address_rates = tuple(address_rates)
        self._rates = Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        if scope["type"] != "http" or scope["path"] in OPEN or scope["path"].startswith(_OPEN_BELOW):
            await self._app(scope, receive, send)
            return
        given = _given_key(Headers(scope=scope))
        key = self._keys.find(given) if self._keys is not None and given else None
        visit = _Visit(self._rates, self._account(key, scope))

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in visit.headers().items():
                    headers[name] = value
            await send(message)

        scope.setdefault("state", {})[_STATE] = visit
        try:
            if scope["path"] not in _UNCOUNTED:
                visit.take(1)
            if self._keys is not None and key is None:
                raise Problem(401, _WRONG if given else NO_KEY, headers={"WWW-Authenticate": 'Bearer realm="emoface"'})
        except Problem as problem:
            await problem_response(problem, scope["path"])(scope, receive, told)
            return
        if key is not None:
            scope[KEY_NAME] = key.name  # for the log
        await self._app(scope, receive, told)

    def _account(self, key: Key | None, scope: Scope) -> Account:
        if key is None:
            return Account("address " + _network(scope), self._address_rates)
        return Account("key " + key.name, read_rates(key.rate) if key.rate else self._key_rates)


def charge(request: Request, faces: int) -> None:
    """Count what a request draws; one face of it has been counted at the gate.

    Raises:
        Problem: 429, they are more than is left; none of them is counted then.
    """
    visit = getattr(request.state, _STATE, None)
    if visit is not None and faces > 1:
        visit.take(faces - 1, counted=1)


def _too_many(error: TooMany, faces: int) -> Problem:
    if error.seconds is None:
        return Problem(429, f"That is {faces} faces at once, and allowed are {error.limit}; ask for fewer.")
    return retry_later(429, TOO_MANY.format(limit=error.limit), error.seconds)


def _given_key(headers: Headers) -> str:
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()


def _network(scope: Scope) -> str:
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host
