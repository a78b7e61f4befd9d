"""The generator as one file that runs without this code: ONNX for ONNX Runtime, TorchScript for libtorch.

Latents, emotion vectors and truncations go in, and faces come out as they are shown. The caller makes the latent of a
seed (:mod:`model.seeds`) and the vector of an emotion (:meth:`model.EmotionMix.vector`).
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
from model.inference.base import Floats, trial_inputs
from model.networks.base import Generator
from model.networks.checkpoint import generator_of
from model.networks.configs import GeneratorConfig
from model.provenance import model_tag
from model.sampler import MAX_INTENSITY, FaceSampler
from model.weights import read_weights

FORMATS: Final = ("onnx", "torchscript")
#: Grey levels by which an exported file's pixels may differ: as much as two hosts may, so that its faces are verified.
TOLERANCE: Final = 2
#: The name under which a TorchScript archive carries what an ONNX file has in its metadata.
EXTRA_FILE: Final = "emoface.json"

_Draw = Callable[[Floats, Floats, Floats], NDArray[np.uint8]]


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

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latent: Tensor, emotion: Tensor, truncation: Tensor) -> Tensor:
        """Draw uint8 ``[N, resolution, resolution, channels]``, 0 black..255 white."""
        images: Tensor = self.generator(latent, emotion, truncation)
        grey = images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        return grey.permute(0, 2, 3, 1).contiguous()


def export_weights(weights: Path, format: str, out: Path) -> Exported:
    """Write a weight file's generator to ``out``, once the written bytes were run and drew the sampler's faces.

    The file takes ``latent``, float32 ``[N, latent_dim]``, ``emotion``, float32 ``[N, len(emotions)]``, each row of
    which sums to 1, and ``truncation``, float32 ``[N]`` from 0 to 1, and gives ``face``, uint8 ``[N, resolution,
    resolution, channels]``, for any ``N``. It computes in float32, and its metadata name the weights and the emotions
    in their order.

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
    file = read_weights(weights)
    generator = generator_of(file)
    about = {
        "model": model_tag(weights.stem, file.sha256),
        "sha256": file.sha256,
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
    for inputs in _trials(sampler):
        drawn = draw(*inputs)
        expected = sampler.draw(*inputs)
        if (drawn.shape, drawn.dtype) != (expected.shape, expected.dtype):
            raise ExportError(f"the exported file gives {drawn.dtype} {drawn.shape}, not uint8 {expected.shape}.")
        differences.append(np.abs(drawn.astype(np.int16) - expected))
    pixels = np.concatenate(differences)
    return Exported(size, len(pixels), int(pixels.max()), float(np.mean(pixels > 0)))


def _trials(sampler: FaceSampler) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Yield inputs: random ones in batches of several sizes, and those of seeds at the highest intensity."""
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
    yield latents, np.stack(vectors), np.linspace(0, 1, len(vectors), dtype=np.float32)


def _examples(config: GeneratorConfig) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(rows) for rows in trial_inputs(config, 2))


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
            input_names=["latent", "emotion", "truncation"],
            output_names=["face"],
            dynamic_shapes=(batch, batch, batch),
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

    def draw(latents: Floats, emotions: Floats, truncations: Floats) -> NDArray[np.uint8]:
        (faces,) = session.run(["face"], {"latent": latents, "emotion": emotions, "truncation": truncations})
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
    def draw(*inputs: Floats) -> NDArray[np.uint8]:
        faces: NDArray[np.uint8] = script(*(torch.from_numpy(rows) for rows in inputs)).numpy()
        return faces

    return draw
