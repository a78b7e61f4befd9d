"""A client of the service: :class:`Client`, and :class:`AsyncClient` for asyncio; they do the same.

>>> from emoface.client import Client
>>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
...     client.generate("happy", seed=4).save("happy.png")

It loads no torch. It needs httpx: ``pip install httpx``, or the extra ``client`` of emoface.
"""

from emoface.client.answers import Animation, Emotion, Face, Model, Verdict
from emoface.client.calls import FaceOptions, KeyFrame, Mix, Wish
from emoface.client.clients import AsyncClient, Client
from emoface.client.errors import (
    EmofaceError,
    FieldProblem,
    InvalidRequest,
    KeyRefused,
    ProblemError,
    RateLimited,
    ServiceFailed,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)

__all__ = [
    "Animation",
    "AsyncClient",
    "Client",
    "EmofaceError",
    "Emotion",
    "Face",
    "FaceOptions",
    "FieldProblem",
    "InvalidRequest",
    "KeyFrame",
    "KeyRefused",
    "Mix",
    "Model",
    "ProblemError",
    "RateLimited",
    "ServiceFailed",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "Verdict",
    "Wish",
]
