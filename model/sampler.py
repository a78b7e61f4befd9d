"""The one way from (emotion mix, seed, truncation) to a face.

The service, the command line, the evaluator and the exporter all come through here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.cores import usable_cores
from model.emotions import EmotionMix
from model.generator import AnyGenerator, Floats, Generator, trial_inputs
from model.people import People
from model.seeds import canonical_seed
from model.weights import default_weights, load_generator

if TYPE_CHECKING:
    from model.captured import CapturedGenerator
    from model.compiled import CompiledGenerator

log = logging.getLogger(__name__)

MAX_INTENSITY: Final = 1.5
# The weights that ship show emotions best without losing variety here; measured by `emoface evaluate`, see their card.
DEFAULT_TRUNCATION: Final = 0.95
# How many faces are drawn at a time. Torch gets one fixed shape, in which a face's sums run in the same order whatever
# company it is in: a smaller one wastes less on a lone request, a larger one is faster for many. The GPU's is a guess
# until one is measured. OpenVINO takes as many as there are: a core of a CPU gains little beyond 8, and answers later
# (2.2, 2.1 and 2.0 ms a face at 1, 4 and 8).
_BATCH: Final = {"cpu": 4, "cuda": 64}
_A_CORE: Final = 8
_CALLERS: Final = 8  # more would rather wait for Python's lock than for a core

#: What a sampler can compute in.
PRECISIONS: Final = ("float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class FaceRequest:
    """What decides a face's pixels. Hashable: it is the key under which a face may be cached.

    Raises:
        ValueError: the seed, intensity or truncation is out of its range; one sentence.
    """

    mix: EmotionMix
    seed: int | str  # 0..MAX_SEED, or a string of 1..256 characters; made canonical
    intensity: float = 1.0  # 0 (neutral)..MAX_INTENSITY; 1 is the mix itself
    truncation: float = DEFAULT_TRUNCATION  # 0 (the average person)..1 (the full variety)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", canonical_seed(self.seed))
        for name in ("intensity", "truncation"):
            object.__setattr__(
                self, name, float(getattr(self, name)) + 0.0
            )  # 1 is 1.0 and -0.0 is 0.0: one key, one text
        if not 0 <= self.intensity <= MAX_INTENSITY:
            raise ValueError(f"intensity must be from 0 to {MAX_INTENSITY}.")
        if not 0 <= self.truncation <= 1:
            raise ValueError("truncation must be from 0 to 1.")


def choose_device(device: str) -> str:
    """Return ``device`` once it is known to work; ``auto`` is the GPU where there is one, else the CPU.

    Raises:
        ValueError: there is no such device, or it has no memory left; one sentence.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if torch.device(device).type not in _BATCH:
            raise RuntimeError("not one of cpu, cuda, cuda:N")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ValueError(
            f"device {device!r} is not available ({reason}); use 'cpu', or 'auto' to take what there is."
        ) from error
    return device


class FaceSampler:
    """Draws faces from one set of weights. As many threads as :attr:`callers` says may call :meth:`sample` at once.

    >>> sampler = FaceSampler.load()
    >>> happy = EmotionMix.parse("happy", sampler.emotions)
    >>> face = sampler.sample([FaceRequest(happy, seed=7)])[0]
    """

    def __init__(
        self,
        generator: AnyGenerator,
        *,
        card: dict[str, Any] | None = None,
        sha256: str = "",
        name: str = "",
        device: str = "cpu",
        batch_size: int | None = None,
        precision: str = "float32",
        threads: int | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}.")
        self.device = device
        self.precision = precision
        self.card = card or {}
        self.sha256 = sha256
        self.name = name
        self.config = generator.config
        self._people = People(generator)
        self._generator = generator.eval().to(device).to(memory_format=torch.channels_last)
        self._batch_size = batch_size or _BATCH[torch.device(device).type]
        self._captured = self._capture() if device != "cpu" else None
        self._compiled: CompiledGenerator | None = None
        self._cores = threads or usable_cores()
        if device == "cpu" and isinstance(generator, Generator):
            self._compiled = _compile(generator, precision, self._cores, min(_A_CORE, batch_size or _A_CORE))
            self._batch_size = batch_size or (_A_CORE if self._compiled else self._batch_size)

    @classmethod
    def load(
        cls,
        path: Path | str | None = None,
        device: str = "auto",
        *,
        batch_size: int | None = None,
        precision: str = "float32",
        threads: int | None = None,
    ) -> FaceSampler:
        """Load a weight file onto ``device``: ``auto`` (the GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``.

        ``precision`` is that of the arithmetic, ``float32`` or ``bfloat16``: the latter is faster on hardware that has
        it, and its faces differ from the former's by some grey levels. Up to ``batch_size`` faces are computed at a
        time, on a CPU by each core. There, ``threads`` cores draw, by default all that this process may use; no bit
        depends on it.

        Raises:
            WeightsError: the file cannot be used.
            ValueError: the device is not there, or there is no such precision.
        """
        path = Path(path) if path is not None else default_weights()
        device = choose_device(device)
        generator, card, sha256 = load_generator(path)
        return cls(
            generator,
            card=card,
            sha256=sha256,
            name=path.stem,
            device=device,
            batch_size=batch_size,
            precision=precision,
            threads=threads,
        )

    @property
    def batch_size(self) -> int:
        """How many faces are best asked for at a time."""
        return self._batch_size

    @property
    def callers(self) -> int:
        """How many threads may call :meth:`sample` at once, and get more out of the device than one does."""
        # One more than there are cores: a core need not wait for Python to prepare what it draws next.
        return min(_CALLERS, self._cores + 1) if self._compiled is not None else 1

    @property
    def emotions(self) -> tuple[str, ...]:
        """The vocabulary these weights know."""
        return self.config.emotions

    @property
    def resolution(self) -> int:
        """Pixels a side of a face."""
        return self.config.resolution

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return self.config.channels

    @property
    def gpu_bytes(self) -> int:
        """Bytes of the GPU's memory that are taken for this process; 0 on a CPU."""
        return int(torch.cuda.memory_reserved(self.device)) if self.device.startswith("cuda") else 0

    def sample(self, requests: Sequence[FaceRequest]) -> NDArray[np.uint8]:
        """Draw one face a request: uint8 ``[n, resolution, resolution, channels]``, 0 black..255 white.

        A face depends on its own request alone, not on the others, on how many there are or on its place among them.

        Raises:
            EmotionError: a mix names an emotion that these weights do not know.
        """
        latents = np.zeros((len(requests), self.config.latent_dim), np.float32)
        emotions = np.zeros((len(requests), len(self.emotions)), np.float32)
        for row, request in enumerate(requests):
            latents[row] = self._people.latent(request.seed)
            emotions[row] = request.mix.vector(self.emotions, request.intensity)
        return self.draw(latents, emotions, np.array([request.truncation for request in requests], np.float32))

    def latent(self, seed: int | str) -> Floats:
        """Return the latent of a seed, float32 ``[latent_dim]``: what :meth:`draw` takes, at truncation 1.

        Raises:
            ValueError: the seed is out of its range; one sentence.
        """
        return self._people.latent(canonical_seed(seed)).copy()

    def draw(self, latents: Floats, emotions: Floats, truncation: Floats | None = None) -> NDArray[np.uint8]:
        """Draw faces that no seed has, on the way from one person to another say; otherwise as :meth:`sample`.

        ``latents`` is float32 ``[n, latent_dim]``, standard normal; ``emotions`` float32 ``[n, len(emotions)]``;
        ``truncation`` float32 ``[n]``, 0..1, None is 1 for every face.

        Where the device is out of memory, ``batch_size`` is halved from then on. Another shape may round a level
        differently, so it is part of what a face's bytes depend on.

        Raises:
            torch.OutOfMemoryError: not even one face fits.
        """
        if truncation is not None:
            latents = latents * truncation[:, None]
        if self._compiled is not None:
            return self._compiled(latents, emotions)
        faces = np.empty((len(latents), self.resolution, self.resolution, self.channels), np.uint8)
        start = 0
        while start < len(latents):
            part = slice(start, start + self.batch_size)
            try:
                faces[part] = self._draw(latents[part], emotions[part])
            except (torch.OutOfMemoryError, MemoryError):
                # What was captured has its memory already.
                if self._captured is not None or self.batch_size == 1:
                    raise
                self._shrink()
            else:
                start = part.stop
        return faces

    def _shrink(self) -> None:
        """Go on with half the batch, for good."""
        self._batch_size //= 2
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()  # else the memory stays in pieces of the size that did not suffice
        log.warning("out of memory: from now on %d faces at a time", self.batch_size)

    def _draw(self, latents: Floats, emotions: Floats) -> NDArray[np.uint8]:
        """Draw up to ``batch_size`` faces."""
        if self._captured is not None:
            return self._captured(latents, emotions)
        return self._draw_with_torch(latents, emotions)

    def _draw_with_torch(self, latents: Floats, emotions: Floats) -> NDArray[np.uint8]:
        spare = ((0, self.batch_size - len(latents)), (0, 0))
        there = (torch.from_numpy(np.pad(rows, spare)).to(self.device) for rows in (latents, emotions))
        pixels: NDArray[np.uint8] = self._render(*there).cpu().numpy()
        return pixels[: len(latents)]

    @torch.inference_mode()
    def _render(self, latents: Tensor, emotions: Tensor) -> Tensor:
        """Make faces, uint8 ``[n, resolution, resolution, channels]``, of what is on the device, and stay there."""
        # On a GPU: one way to compute a shape, and whole float32 products, not the 10 bits of TF32.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            images: Tensor = self._generator(latents.to(getattr(torch, self.precision)), emotions)
        grey = images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        return grey.permute(0, 2, 3, 1).contiguous()

    def _capture(self) -> CapturedGenerator | None:
        """Return the faster way to draw on a GPU, where it draws what the plain one does."""
        from model.captured import CapturedGenerator

        latents, emotions = trial_inputs(self.config, self.batch_size)
        try:
            captured = CapturedGenerator(self._render, latents.shape, emotions.shape, self.device)
            if not np.array_equal(captured(latents, emotions), self._draw_with_torch(latents, emotions)):
                raise RuntimeError("it draws other faces")
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            log.warning("every kernel is launched by itself, because a CUDA graph of them cannot be used: %s", reason)
            return None
        return captured


def _compile(generator: Generator, precision: str, threads: int, largest: int) -> CompiledGenerator | None:
    """Return the faster way to draw on a CPU."""
    try:
        from model.compiled import CompiledGenerator  # here, for it takes a while
    except ImportError as error:
        log.warning("torch draws, and takes longer than OpenVINO, which cannot be loaded: %s", error)
        return None
    return CompiledGenerator(generator, precision=precision, threads=threads, largest=largest)
