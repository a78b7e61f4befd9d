"""The one way from (emotion mix, seed, truncation) to a face. Needs no torch where a CPU draws with OpenVINO.

The service, the command line, the evaluator and the exporter all draw through here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from model.cores import usable_cores
from model.emotions import EmotionMix
from model.inference.base import PRECISIONS, Floats, Renderer
from model.networks.configs import GeneratorConfig, StyleGeneratorConfig
from model.seeds import canonical_seed, latent
from model.weights import WeightFile, WeightsError, default_weights, read_weights

if TYPE_CHECKING:
    from model.networks.base import Generator

log = logging.getLogger(__name__)

MAX_INTENSITY: Final = 1.5
# Chosen by eye for people who look: most faces are plausible here. What other values cost: weights/fer48.md.
DEFAULT_TRUNCATION: Final = 0.8
_KEPT: Final = 4096  # latents of seeds asked for lately; 3 MB


@dataclass(frozen=True, slots=True)
class FaceRequest:
    """What decides a face's pixels. Hashable: it is the key under which a face may be cached.

    Raises:
        ValueError: the seed, intensity or truncation is out of its range; one sentence.
    """

    mix: EmotionMix
    seed: int | str  # 0..MAX_SEED, or a string of 1..256 characters; made canonical
    intensity: float = 1.0  # 0 (neutral)..MAX_INTENSITY; 1 is the mix itself
    truncation: float = DEFAULT_TRUNCATION  # psi: 0 (the average person)..1 (the full variety of people)

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

    Without torch there is only the CPU.

    Raises:
        ValueError: there is no such device, or it has no memory left; one sentence.
    """
    if device == "cpu":
        return device
    if find_spec("torch") is None:
        if device == "auto":
            return "cpu"
        raise ValueError(f"device {device!r} needs PyTorch, which is not installed: 'pip install torch', or use 'cpu'.")
    from model.inference.torch_renderer import usable_device

    return usable_device(device)


class FaceSampler:
    """Draws faces from one set of weights. As many threads as :attr:`callers` says may call :meth:`sample` at once.

    >>> sampler = FaceSampler.load()
    >>> happy = EmotionMix.parse("happy", sampler.emotions)
    >>> face = sampler.sample([FaceRequest(happy, seed=7)])[0]

    Args:
        source: a weight file that has been read, or a generator of torch's.
        device: ``cpu``, ``cuda`` or ``cuda:N``; known to work (:func:`choose_device`).
        batch_size, precision, threads: as for :meth:`load`.
        card, sha256, name: what is known of a generator that comes from no file.
    """

    def __init__(
        self,
        source: WeightFile | Generator,
        *,
        device: str = "cpu",
        batch_size: int | None = None,
        precision: str = "float32",
        threads: int | None = None,
        card: dict[str, Any] | None = None,
        sha256: str = "",
        name: str = "",
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}.")
        self.device = device
        self.precision = precision
        self.config: GeneratorConfig = source.config
        if isinstance(source, WeightFile):
            card, sha256, name = source.card, source.sha256, source.path.stem
        self.card, self.sha256, self.name = card or {}, sha256, name
        self._latent = lru_cache(_KEPT)(partial(_frozen_latent, size=self.config.latent_dim))
        self._render = _renderer(source, device, precision, threads or usable_cores(), batch_size)

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
        it, and its faces differ from the former's by some grey levels. Callers are told to ask for ``batch_size`` faces
        at a time. On a CPU ``threads`` cores draw, by default all that this process may use; no bit depends on it.

        Raises:
            WeightsError: the file cannot be used, or drawing with it needs torch, which is not installed.
            ValueError: the device is not there, or there is no such precision.
        """
        file = read_weights(path if path is not None else default_weights())
        return cls(file, device=choose_device(device), batch_size=batch_size, precision=precision, threads=threads)

    @property
    def runtime(self) -> str:
        """The package that draws, as pip calls it: ``openvino`` or ``torch``. Its version may decide a grey level."""
        return self._render.runtime

    @property
    def batch_size(self) -> int:
        """How many faces are best asked for at a time."""
        return self._render.batch_size

    @property
    def callers(self) -> int:
        """How many threads may draw at once."""
        return self._render.max_concurrency

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
        """Bytes of the GPU's memory that this process has taken; 0 on a CPU."""
        return int(getattr(self._render, "gpu_bytes", 0))

    def sample(self, requests: Sequence[FaceRequest]) -> NDArray[np.uint8]:
        """Draw one face a request: uint8 ``[n, resolution, resolution, channels]``, 0 black..255 white.

        A face depends on its own request alone, not on the others, on how many there are or on its place among them.

        Raises:
            EmotionError: a mix names an emotion that these weights do not know.
        """
        latents = np.zeros((len(requests), self.config.latent_dim), np.float32)
        emotions = np.zeros((len(requests), len(self.emotions)), np.float32)
        truncations = np.array([request.truncation for request in requests], np.float32)
        for row, request in enumerate(requests):
            latents[row] = self._latent(request.seed)
            emotions[row] = request.mix.vector(self.emotions, request.intensity)
        return self._render(latents, emotions, truncations)

    def latent(self, seed: int | str) -> Floats:
        """Return the latent of a seed, float32 ``[latent_dim]``, as :meth:`draw` takes it.

        Raises:
            ValueError: the seed is out of its range; one sentence.
        """
        return self._latent(canonical_seed(seed)).copy()

    def draw(self, latents: Floats, emotions: Floats, truncations: Floats | None = None) -> NDArray[np.uint8]:
        """Draw faces of latents that no seed has, between two people for example; otherwise as :meth:`sample`.

        Args:
            latents: float32 ``[n, latent_dim]``, standard normal.
            emotions: float32 ``[n, len(emotions)]``.
            truncations: float32 ``[n]``, 0 to 1; 1 for all where it is None.

        Raises:
            torch.OutOfMemoryError: the device has no memory for even one face.
        """
        return self._render(
            latents, emotions, np.ones(len(latents), np.float32) if truncations is None else truncations
        )


def _frozen_latent(seed: int | str, size: int) -> Floats:
    row = latent(seed, size)
    row.setflags(write=False)  # it is shared by everybody who asks for this seed
    return row


def _renderer(
    source: WeightFile | Generator, device: str, precision: str, threads: int, batch_size: int | None
) -> Renderer:
    """Return the fastest way to draw: OpenVINO for style-based generators on CPUs, else torch."""
    if device == "cpu" and isinstance(source.config, StyleGeneratorConfig):
        try:
            from model.inference.openvino_renderer import OpenVINORenderer  # here, because it takes a while
        except ImportError as error:
            log.warning("torch draws, which takes longer than OpenVINO, because that cannot be loaded: %s", error)
        else:
            arrays = source.arrays if isinstance(source, WeightFile) else _arrays(source)
            return OpenVINORenderer(source.config, arrays, precision=precision, threads=threads, batch_size=batch_size)
    if isinstance(source, WeightFile) and find_spec("torch") is None:
        package, name = (
            ("openvino", "OpenVINO") if isinstance(source.config, StyleGeneratorConfig) else ("torch", "PyTorch")
        )
        raise WeightsError(
            source.path,
            f"drawing with a {source.config.architecture} generator needs {name}, which is not installed: "
            f"'pip install {package}'.",
        )
    from model.inference.torch_renderer import TorchRenderer

    if isinstance(source, WeightFile):
        from model.networks.checkpoint import generator_of

        source = generator_of(source)
    return TorchRenderer(source, device=device, precision=precision, batch_size=batch_size)


def _arrays(generator: Generator) -> dict[str, NDArray[Any]]:
    from model.networks.checkpoint import generator_arrays

    return generator_arrays(generator)
