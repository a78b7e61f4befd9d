"""How fast a sampler draws, measured in a moment: to tell whether a machine is set up well, not to compare machines."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass
from typing import Final

from model.emotions import EmotionMix
from model.sampler import FaceRequest, FaceSampler

_LONE: Final = 9  # faces of which the median is taken


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured, with nothing encoded."""

    lone_ms: float  # for one face by itself, the median
    faces_per_second: float  # with as many callers as the sampler can use, in its best batches


def measure_speed(sampler: FaceSampler, seconds: float = 1.0) -> Speed:
    """Draw for about ``seconds``, after a few faces that are not counted.

    Raises:
        RuntimeError: the device failed, out of memory above all.
    """
    face = FaceRequest(EmotionMix.parse(sampler.emotions[0], sampler.emotions), 0)
    batch = [face] * sampler.batch_size
    for _ in range(2):  # the first faces pay for what is set up then
        sampler.sample([face])
        sampler.sample(batch)
    lone = []
    for _ in range(_LONE):
        began = time.perf_counter()
        sampler.sample([face])
        lone.append(time.perf_counter() - began)

    drawn: list[int] = []
    errors: list[RuntimeError] = []
    began = time.perf_counter()

    def draw() -> None:
        count = 0
        try:
            while time.perf_counter() < began + seconds:
                sampler.sample(batch)
                count += len(batch)
        except RuntimeError as error:
            errors.append(error)
        drawn.append(count)

    threads = [threading.Thread(target=draw) for _ in range(sampler.callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return Speed(statistics.median(lone) * 1000, sum(drawn) / (time.perf_counter() - began))
