"""The two clients. What they ask, and what they do about failures, is shared; here they send and wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from os import PathLike
from types import TracebackType
from typing import Final, Literal, Self, TypedDict, TypeVar, Unpack, cast

import httpx

from emoface.client import calls
from emoface.client.answers import Animation, Emotion, Face, Model, Verdict
from emoface.client.calls import Call, FaceOptions, KeyFrame, Mix, Wish
from emoface.client.errors import ProblemError, UnexpectedAnswer, answered_error
from emoface.client.retry import Outcome, Retries, Steps, exchange, retry_after

T = TypeVar("T")

_URL: Final = "http://127.0.0.1:8000"


class MorphOptions(TypedDict, total=False):
    """What a face that moves has beside its key frames; what is left out is the service's default."""

    seed: int | str
    frames: int  # from one key frame to the next, 1..60
    fps: int  # frames a second, 1..50
    closed: bool  # whether it leads back to the first key frame
    truncation: float
    size: int  # pixels a side, 48..512
    format: Literal["webp", "apng", "gif"]
    model: str


class _Shared:
    """What both clients know: where the service is, and how often to ask it."""

    def __init__(self, url: str, key: str | None, retries: int, longest_wait: float) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        self._retries = Retries(retries, longest_wait)

    def _steps(self, http: httpx.Client | httpx.AsyncClient, call: Call[T]) -> Steps[T]:
        """Yield what is to be done for a call, as :func:`exchange` does; return what its answer means."""
        request = http.build_request(call.method, call.path, json=call.json, content=call.content, headers=call.headers)
        response = yield from exchange(request, self._retries)
        if not response.is_success:
            raise answered_error(response, retry_after(response))
        try:
            return call.read(response)
        except (KeyError, TypeError, ValueError) as error:
            raise UnexpectedAnswer(f"What answered at {response.url} is no emoface, or a newer one.") from error


class Client(_Shared):
    """A client of the service, for threads: several may use it at once. Close it, or use it in a ``with``.

    Every request may be repeated without harm, because its seed is drawn before it is sent. So it is, up to ``retries``
    times, when the service is full or failing or cannot be reached: after as long as the service asks for, else after a
    short time that grows. Where the service asks for more than ``longest_wait`` seconds, the error is raised at once.

    Args:
        url: where the service is.
        key: an API key, where the service wants one.
        retries: how often a request is repeated, 0 or more.
        longest_wait: seconds between two attempts, at most.
        timeout: seconds for each of: connecting, sending, and waiting for the next bytes.
        transport: how httpx sends, for proxies, certificates and tests.

    All methods raise a :class:`emoface.client.ProblemError` when the service says no,
    :class:`emoface.client.Unreachable` when no answer comes, and :class:`emoface.client.UnexpectedAnswer` when it is
    none of emoface's; all of them are :class:`emoface.client.EmofaceError`.
    """

    def __init__(
        self,
        url: str = _URL,
        *,
        key: str | None = None,
        retries: int = 3,
        longest_wait: float = 30.0,
        timeout: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, key, retries, longest_wait)
        self._http = httpx.Client(base_url=url, headers=self._headers, timeout=timeout, transport=transport)

    def generate(self, emotion: Mix, **options: Unpack[FaceOptions]) -> Face:
        """Return a face that shows ``emotion``: a name, or weights such as ``{"happy": 0.7, "surprise": 0.3}``."""
        return self._run(calls.generate(emotion, options))

    def batch(self, wishes: Sequence[Wish]) -> list[Face | ProblemError]:
        """Return up to 256 faces, in the order of the wishes; in place of one that cannot be drawn, why."""
        return self._run(calls.batch(wishes))

    def morph(self, keyframes: Sequence[Mix | KeyFrame], **options: Unpack[MorphOptions]) -> Animation:
        """Return one person whose face moves from emotion to emotion: 2 to 16 key frames."""
        return self._run(calls.morph(keyframes, options))

    def emotions(self) -> list[Emotion]:
        """Return the vocabulary."""
        return self._run(calls.emotions())

    def models(self) -> list[Model]:
        """Return the loaded weights."""
        return self._run(calls.models())

    def verify(self, picture: bytes | str | PathLike[str]) -> Verdict:
        """Tell whether a picture, its bytes or its file, came from these weights. Raises OSError too, of the file."""
        return self._run(calls.verify(picture))

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, call: Call[T]) -> T:
        steps = self._steps(self._http, call)
        outcome: Outcome | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                return cast(T, done.value)
            outcome = None
            if isinstance(step, httpx.Request):
                try:
                    outcome = self._http.send(step)
                except httpx.RequestError as error:
                    outcome = error
            else:
                time.sleep(step)


class AsyncClient(_Shared):
    """As :class:`Client`, for asyncio: every method is awaited. Close it, or use it in an ``async with``."""

    def __init__(
        self,
        url: str = _URL,
        *,
        key: str | None = None,
        retries: int = 3,
        longest_wait: float = 30.0,
        timeout: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, key, retries, longest_wait)
        self._http = httpx.AsyncClient(base_url=url, headers=self._headers, timeout=timeout, transport=transport)

    async def generate(self, emotion: Mix, **options: Unpack[FaceOptions]) -> Face:
        """See :meth:`Client.generate`."""
        return await self._run(calls.generate(emotion, options))

    async def batch(self, wishes: Sequence[Wish]) -> list[Face | ProblemError]:
        """See :meth:`Client.batch`."""
        return await self._run(calls.batch(wishes))

    async def morph(self, keyframes: Sequence[Mix | KeyFrame], **options: Unpack[MorphOptions]) -> Animation:
        """See :meth:`Client.morph`."""
        return await self._run(calls.morph(keyframes, options))

    async def emotions(self) -> list[Emotion]:
        """See :meth:`Client.emotions`."""
        return await self._run(calls.emotions())

    async def models(self) -> list[Model]:
        """See :meth:`Client.models`."""
        return await self._run(calls.models())

    async def verify(self, picture: bytes | str | PathLike[str]) -> Verdict:
        """See :meth:`Client.verify`."""
        return await self._run(calls.verify(picture))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, call: Call[T]) -> T:
        steps = self._steps(self._http, call)
        outcome: Outcome | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                return cast(T, done.value)
            outcome = None
            if isinstance(step, httpx.Request):
                try:
                    outcome = await self._http.send(step)
                except httpx.RequestError as error:
                    outcome = error
            else:
                await asyncio.sleep(step)
