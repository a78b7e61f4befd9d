"""What the service's tests share: samplers that tests control, and a real server on a loopback port."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray

from model import FaceRequest, FaceSampler
from model.emotions import FER2013
from model.networks.configs import StyleGeneratorConfig
from model.seeds import seed_number
from tests.model.tiny import style_generator


class StubSampler:
    """Draws plain squares whose grey is the seed's, and does what a test tells it to.

    ``gate`` closed makes :meth:`sample` wait; ``entered`` is set when it does; ``error`` is raised once.
    """

    name = "stub"
    sha256 = hashlib.sha256(b"stub").hexdigest()
    device = "cpu"
    emotions: tuple[str, ...] = FER2013
    resolution = 48
    channels = 1
    precision = "float32"
    gpu_bytes = 0
    batch_size = 32
    callers = 1

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.batches: list[list[FaceRequest]] = []
        self.error: BaseException | None = None

    def sample(self, requests: Sequence[FaceRequest]) -> NDArray[np.uint8]:
        self.batches.append(list(requests))
        self.entered.set()
        assert self.gate.wait(30), "the test forgot to open the gate"
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        grey = np.array([seed_number(request.seed) % 251 for request in requests], np.uint8)
        return np.broadcast_to(grey[:, None, None, None], (len(requests), 48, 48, 1))

    @property
    def seeds(self) -> list[int | str]:
        """Seeds of all faces that were computed, in order."""
        return [request.seed for batch in self.batches for request in batch]


@functools.cache
def tiny_sampler() -> FaceSampler:
    """A real sampler with a small random network."""
    config = StyleGeneratorConfig(widths=(16, 16, 8), latent_dim=16, w_dim=16, emotion_dim=8)
    return FaceSampler(style_generator(config, seed=1), name="tiny", sha256=hashlib.sha256(b"tiny").hexdigest())


@contextmanager
def serving(app: FastAPI) -> Iterator[tuple[uvicorn.Server, str]]:
    """Serve ``app`` over loopback in a thread of this process; yields the server and its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        # Without uvicorn's log_config: setting it up closes all handlers there are, and absl's closes its stream, which
        # is pytest's.
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="critical", timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield server, f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def live(app: FastAPI) -> Iterator[httpx.Client]:
    """Serve ``app`` as :func:`serving` does; yields a client of it."""
    limits = httpx.Limits(max_connections=None)
    with (
        serving(app) as (_, url),
        httpx.Client(base_url=url, timeout=30, limits=limits, trust_env=False) as client,
    ):
        yield client


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait on the event loop until ``condition()`` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.005)


def until_now(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait in a thread until ``condition()`` holds."""
    asyncio.run(until(condition, seconds))
