"""The one way from (emotion mix, seed, truncation) to a face.

The service, the command line, the evaluator and the exporter all come through here.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from model.emotions import EmotionMix
from model.generator import AnyGenerator
from model.weights import default_weights, load_generator

log = logging.getLogger(__name__)

MAX_SEED: Final = 2**63 - 1
MAX_INTENSITY: Final = 1.5
MAX_SEED_TEXT: Final = 256
# The weights that ship show emotions best without losing variety here; measured by `emoface evaluate`, see their card.
DEFAULT_TRUNCATION: Final = 0.95
# Second word of the Philox key: latents share no numbers with any other use of the same seed.
_LATENT_STREAM: Final = 0x656D6F66616365
# One fixed batch shape a device. A face's sums then run in the same order whatever company it is in; a smaller shape
# wastes less on a lone request, a larger one is faster for many. Measured by benchmarks/sampler_batch.py on two CPU
# cores: 581 faces/s and 6.0 ms for a lone face at 4, 664 and 10.9 ms at 8. The GPU's is a guess until one is measured.
_BATCH: Final = {"cpu": 4, "cuda": 64}

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


def canonical_seed(seed: int | str) -> int | str:
    """Return the seed itself, checked; a text that spells a number 0..MAX_SEED becomes that number.

    So ``"7"`` from a header, a URL or a shell is the person that ``7`` is. Only the number's own spelling counts:
    ``"007"`` stays a text.

    Raises:
        ValueError: out of range, empty or too long; one sentence.
    """
    if isinstance(seed, str):
        if not 0 < len(seed) <= MAX_SEED_TEXT:
            raise ValueError(f"a seed that is a text must have 1 to {MAX_SEED_TEXT} characters.")
        try:
            seed.encode()
        except UnicodeEncodeError:
            raise ValueError("a seed that is a text must be valid Unicode.") from None
        if len(seed) <= 19 and seed.isascii() and seed.isdecimal() and str(int(seed)) == seed and int(seed) <= MAX_SEED:
            return int(seed)
        return seed
    if isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
        raise ValueError(f"a seed must be a whole number from 0 to {MAX_SEED}, or a text.")
    return seed


def seed_number(seed: int | str) -> int:
    """Map a seed to the integer 0..MAX_SEED that keys its latent; texts are hashed with SHA-256.

    Raises:
        ValueError: as :func:`canonical_seed`.
    """
    seed = canonical_seed(seed)
    if isinstance(seed, str):
        return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "little") >> 1
    return seed


def latent(seed: int | str, size: int) -> NDArray[np.float32]:
    """Return the standard-normal latent of a seed, float32 ``[size]``, the same on every machine.

    Philox4x64-10 (Salmon et al. 2011) counts, and Box-Muller in float64 makes the numbers normal; numpy promises the
    stream of its bit generators for good, but not that of its own normal distribution (NEP 19).
    """
    key = np.array([seed_number(seed), _LATENT_STREAM], dtype=np.uint64)
    half = (size + 1) // 2
    bits = np.random.Philox(key=key).random_raw(2 * half) >> np.uint64(11)
    uniform = (bits.astype(np.float64) + 0.5) * 2.0**-53  # inside (0, 1), never at its ends
    radius, angle = np.sqrt(-2.0 * np.log(uniform[:half])), 2.0 * math.pi * uniform[half:]
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return normal[:size].astype(np.float32)


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
    """Draws faces from one set of weights. Not thread-safe: one thread calls :meth:`sample`.

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
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}.")
        self.device = device
        self.precision = precision
        self.batch_size = batch_size or _BATCH[torch.device(device).type]
        self.card = card or {}
        self.sha256 = sha256
        self.name = name
        self.config = generator.config
        self._generator = generator.eval().to(device).to(memory_format=torch.channels_last)

    @classmethod
    def load(
        cls,
        path: Path | str | None = None,
        device: str = "auto",
        *,
        batch_size: int | None = None,
        precision: str = "float32",
    ) -> FaceSampler:
        """Load a weight file onto ``device``: ``auto`` (the GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``.

        ``precision`` is that of the arithmetic, ``float32`` or ``bfloat16``: the latter is faster on hardware that has
        it, and its faces differ from the former's by some grey levels. ``batch_size`` faces are computed at a time.

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
        )

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

        A face depends on its own request alone: every call computes whole batches of one fixed shape.

        Raises:
            EmotionError: a mix names an emotion that these weights do not know.
        """
        latents = np.zeros((len(requests), self.config.latent_dim), np.float32)
        emotions = np.zeros((len(requests), len(self.emotions)), np.float32)
        for row, request in enumerate(requests):
            latents[row] = latent(request.seed, self.config.latent_dim) * np.float32(request.truncation)
            emotions[row] = request.mix.vector(self.emotions, request.intensity)
        return self.draw(latents, emotions)

    def draw(self, latents: NDArray[np.float32], emotions: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Draw faces that no seed has, on the way from one person to another say; otherwise as :meth:`sample`.

        ``latents`` is float32 ``[n, latent_dim]``, standard normal; ``emotions`` float32 ``[n, len(emotions)]``.

        Where the device is out of memory, ``batch_size`` is halved from then on. Another shape may round a level
        differently, so it is part of what a face's bytes depend on.

        Raises:
            torch.OutOfMemoryError: not even one face fits.
        """
        faces = np.empty((len(latents), self.resolution, self.resolution, self.channels), np.uint8)
        start = 0
        while start < len(latents):
            filled = min(self.batch_size, len(latents) - start)
            spare = ((0, self.batch_size - filled), (0, 0))
            part = [np.pad(rows[start : start + filled], spare) for rows in (latents, emotions)]
            try:
                faces[start : start + filled] = self._draw(*part)[:filled]
            except (torch.OutOfMemoryError, MemoryError):
                if self.batch_size == 1:
                    raise
                self._shrink()
            else:
                start += filled
        return faces

    def _shrink(self) -> None:
        """Go on with half the batch, for good."""
        self.batch_size //= 2
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()  # else the memory stays in pieces of the size that did not suffice
        log.warning("out of memory: from now on %d faces at a time", self.batch_size)

    @torch.inference_mode()
    def _draw(self, latents: NDArray[np.float32], emotions: NDArray[np.float32]) -> NDArray[np.uint8]:
        # On a GPU: one way to compute a shape, and whole float32 products, not the 10 bits of TF32.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            images = self._generator(
                torch.from_numpy(latents).to(self.device, getattr(torch, self.precision)),
                torch.from_numpy(emotions).to(self.device),
            )
        grey = images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        pixels: NDArray[np.uint8] = grey.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return pixels
