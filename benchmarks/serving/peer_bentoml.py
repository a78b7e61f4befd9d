"""BentoML with our sampler. Run by ``__main__.py``: ``bentoml serve benchmarks.serving.peer_bentoml:FaceService``.

Settings are those that its documentation recommends for throughput, or the faster where it leaves a choice.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

import bentoml  # type: ignore[import-not-found, unused-ignore]
from bentoml.validators import ContentType  # type: ignore[import-not-found, unused-ignore]
from pydantic import BaseModel, BeforeValidator, PlainSerializer

from benchmarks.serving.faces import Faces


class Wish(BaseModel):
    """The body."""

    emotion: str
    seed: int


def _listed(body: Any) -> Any:
    return [body] if isinstance(body, dict) else body


# A batchable method takes a list, and a body here is one object. The documentation's way out is a second service that
# wraps the first and calls it over HTTP; this has one service, which is less work for it: a body is a list of one.
Wishes = Annotated[list[Wish], BeforeValidator(_listed)]
Pictures = Annotated[list[bytes], PlainSerializer(lambda pictures: pictures[0]), ContentType("image/png")]
BATCH = int(os.environ["SERVING_BATCH"])


@bentoml.service(  # type: ignore[misc, unused-ignore]
    # A worker is a process with HTTP and a model; __main__ tries one with all torch threads, and one a core.
    workers=int(os.environ.get("SERVING_WORKERS", "1")),
    traffic={"timeout": 60},
    # What costs time with every request and is not needed to answer it is off, though our service has both on.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class FaceService:
    """One batch of faces after the other."""

    def __init__(self) -> None:
        self.faces = Faces()

    # Adaptive batching up to the sampler's own shape. After max_latency_ms it answers 503; it is as long as others get.
    @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=60_000)  # type: ignore[misc, unused-ignore]
    def generate(self, wishes: Wishes, /) -> Pictures:
        return self.faces.draw([self.faces.asked(wish.emotion, wish.seed) for wish in wishes])
