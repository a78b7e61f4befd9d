"""The generator as one file that runs without this code: ONNX for ONNX Runtime, TorchScript for libtorch.

Latents and emotion vectors go in, and faces come out as they are shown. Whoever asks makes the latent of
a seed (:mod:`model.seeds`) and the vector of an emotion (:meth:`model.EmotionMix.vector`).
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.emotions import NEUTRAL, EmotionMix
from model.files import write_whole
from model.generator import AnyGenerator, Floats, GeneratorConfig, trial_inputs
from model.provenance import model_tag
from model.sampler import MAX_INTENSITY, FaceSampler
from model.weights import load_generator

FORMATS: Final = ("onnx", "torchscript")
#: Grey levels by which an exported file's pixels may differ: as much as two hosts may, so that its faces are verified.
TOLERANCE: Final = 2
#: The name under which a TorchScript archive carries what an ONNX file has in its metadata.
EXTRA_FILE: Final = "emoface.json"

_Draw = Callable[[Floats, Floats], NDArray[np.uint8]]


class ExportError(RuntimeError):
    """The generator cannot be exported, or what was exported draws other faces; its text is one sentence."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written, and how its faces compare with the sampler's."""

    bytes: int
    faces: int  # that were compared
    difference: int  # grey levels of the most different pixel, at most TOLERANCE
    share: float  # of pixels that differ at all, 0..1


class _Drawing(nn.Module):
    """A generator, and its faces as they are shown."""

    def __init__(self, generator: AnyGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latent: Tensor, emotion: Tensor) -> Tensor:
        """Draw uint8 ``[N, resolution, resolution, channels]``, 0 black..255 white."""
        images: Tensor = self.generator(latent, emotion)
        grey = images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        return grey.permute(0, 2, 3, 1).contiguous()


def export_weights(weights: Path, format: str, out: Path) -> Exported:
    """Write a weight file's generator to ``out``, once the written bytes were run and drew the sampler's faces.

    The file takes ``latent``, float32 ``[N, latent_dim]``, and ``emotion``, float32 ``[N, len(emotions)]``, each row of
    which sums to 1, and gives ``face``, uint8 ``[N, resolution, resolution, channels]``, for any ``N``. It computes in
    float32, and says which weights it is of and what its emotions are, in their order.

    Args:
        weights: a weight file.
        format: one of :data:`FORMATS`.
        out: the file to write; it appears whole or not at all.

    Raises:
        WeightsError: the weight file cannot be used.
        ExportError: ONNX's packages are missing, or some pixel differs by more than :data:`TOLERANCE` grey levels.
        ValueError: the format is unknown.
        OSError: the file cannot be written.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r} of exports; known: {', '.join(FORMATS)}.")
    generator, _, sha256 = load_generator(weights)
    about = {
        "model": model_tag(weights.stem, sha256),
        "sha256": sha256,
        "emotions": json.dumps(generator.config.emotions),
    }
    write, run = {"onnx": (_onnx, _run_onnx), "torchscript": (_torchscript, _run_torchscript)}[format]
    content = write(_Drawing(generator).eval(), generator.config, about)
    exported = _compared(run(content), len(content), FaceSampler.load(weights, "cpu"))
    if exported.difference > TOLERANCE:
        raise ExportError(
            f"the exported file draws other faces than {weights} on this machine: a pixel differs by "
            f"{exported.difference} grey levels, and {TOLERANCE} may; nothing was written."
        )
    write_whole(out, content)
    return exported


def _compared(draw: _Draw, size: int, sampler: FaceSampler) -> Exported:
    """Draw batches of several sizes with both, and say how far apart they are."""
    differences = []
    for latents, emotions in _trials(sampler):
        drawn = draw(latents, emotions)
        expected = sampler.draw(latents, emotions)
        if (drawn.shape, drawn.dtype) != (expected.shape, expected.dtype):
            raise ExportError(f"the exported file gives {drawn.dtype} {drawn.shape}, not uint8 {expected.shape}.")
        differences.append(np.abs(drawn.astype(np.int16) - expected))
    pixels = np.concatenate(differences)
    return Exported(size, len(pixels), int(pixels.max()), float(np.mean(pixels > 0)))


def _trials(sampler: FaceSampler) -> Iterator[tuple[Floats, Floats]]:
    """Give latents and emotions: of nobody, in batches of several sizes, and of seeds, as intense as they may be."""
    config = sampler.config
    for count in (1, 3, 8):
        yield trial_inputs(config, count)
    intensities = (1.0, MAX_INTENSITY) if NEUTRAL in config.emotions else (1.0,)
    vectors = [
        EmotionMix.parse(name, config.emotions).vector(config.emotions, intensity)
        for name in config.emotions
        for intensity in intensities
    ]
    latents = np.stack([sampler.latent(seed) for seed in range(len(vectors))])
    yield latents, np.stack(vectors)


def _examples(config: GeneratorConfig) -> tuple[Tensor, Tensor]:
    latents, emotions = trial_inputs(config, 2)
    return torch.from_numpy(latents), torch.from_numpy(emotions)


# ---- ONNX ----


def _onnx(drawing: nn.Module, config: GeneratorConfig, about: Mapping[str, str]) -> bytes:
    try:
        import onnx
        import onnxruntime  # noqa: F401 (what is written has to be run, so it is looked for before anything is written)
        import onnxscript  # noqa: F401 (torch exports with it)
    except ImportError as error:
        raise ExportError(
            f"ONNX needs {error.name}, which is missing; 'pip install onnx onnxruntime onnxscript' gets all it needs."
        ) from error
    batch = {0: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own making: about names of axes, and about what it will change
        program = torch.onnx.export(
            drawing,
            _examples(config),
            input_names=["latent", "emotion"],
            output_names=["face"],
            dynamic_shapes=(batch, batch),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {f"emoface:{name}": value for name, value in about.items()})
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def _run_onnx(content: bytes) -> _Draw:
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def draw(latents: Floats, emotions: Floats) -> NDArray[np.uint8]:
        (faces,) = session.run(["face"], {"latent": latents, "emotion": emotions})
        return np.asarray(faces)

    return draw


# ---- TorchScript ----


def _torchscript(drawing: nn.Module, config: GeneratorConfig, about: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    jit: Any = torch.jit
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated for training; libtorch still loads nothing else
        script = jit.freeze(jit.trace(drawing, _examples(config)))
        jit.save(script, out, _extra_files={EXTRA_FILE: json.dumps(dict(about))})
    return out.getvalue()


def _run_torchscript(content: bytes) -> _Draw:
    jit: Any = torch.jit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        script = jit.load(io.BytesIO(content), map_location="cpu")

    @torch.inference_mode()
    def draw(latents: Floats, emotions: Floats) -> NDArray[np.uint8]:
        faces: NDArray[np.uint8] = script(torch.from_numpy(latents), torch.from_numpy(emotions)).numpy()
        return faces

    return draw
