"""What a run leaves on disk: its whole state to go on from, weights to use, and a sample grid to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from model.emotions import EmotionMix
from model.generator import Generator
from model.sampler import FaceRequest, FaceSampler
from training.batches import BatchSource
from training.data.atomic import atomic_file
from training.recipe import Recipe
from training.trainer import Trainer

STATE: Final = "state.safetensors"
_CALIBRATION_BATCHES: Final = 50
_CALIBRATION_STREAM: Final = 0x7374617473


class SnapshotError(RuntimeError):
    """A snapshot that cannot be resumed; its text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    cur_nimg: int = 0  # real images seen
    seconds: float = 0.0  # spent in training, all sittings together
    statistics: dict[str, Any] | None = None  # what the tick in progress has gathered


def _modules(trainer: Trainer) -> dict[str, torch.nn.Module]:
    return {"generator": trainer.generator, "discriminator": trainer.discriminator, "average": trainer.average}


def save_state(path: Path, trainer: Trainer, progress: Progress, data_sha256: str) -> None:
    """Write everything that the rest of the run depends on, as one safetensors file, atomically."""
    tensors: dict[str, Tensor] = {}
    for name, module in _modules(trainer).items():
        tensors |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
    for name, optimizer in trainer.optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"adam-{name}/{index}/{key}": value for key, value in state.items()}
    header = {
        **asdict(progress),
        "augment_p": trainer.augment_p,
        "data_sha256": data_sha256,
        "recipe": trainer.recipe.to_dict(),
    }
    content = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"progress": json.dumps(header)})
    with atomic_file(path) as file:
        file.write(content)


def load_state(path: Path, trainer: Trainer, data_sha256: str) -> Progress:
    """Put a saved state into ``trainer`` and return how far it was.

    Raises:
        SnapshotError: the file is damaged, or of another recipe or other data.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header: Mapping[str, Any] = json.loads(file.metadata()["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise SnapshotError(f"{path} is no snapshot to go on from ({error}).") from error
    # Through JSON, so that tuples and lists compare equal.
    theirs, ours = header["recipe"], json.loads(json.dumps(trainer.recipe.to_dict()))
    changed = sorted(_different(theirs, ours))
    if changed:
        raise SnapshotError(f"{path} was made by another recipe ({', '.join(changed)} differ); give another --out.")
    if header["data_sha256"] != data_sha256:
        raise SnapshotError(f"{path} was trained on other data; give another --out.")
    for name, module in _modules(trainer).items():
        module.load_state_dict({k: tensors[f"{name}/{k}"] for k in module.state_dict()})
    for name, optimizer in trainer.optimizers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            owner, _, rest = key.partition("/")
            if owner == f"adam-{name}":
                index, _, field = rest.partition("/")
                state.setdefault(int(index), {})[field] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    trainer.augment_p = float(header["augment_p"])
    return Progress(int(header["cur_nimg"]), float(header["seconds"]), header.get("statistics"))


def _different(left: Mapping[str, Any], right: Mapping[str, Any], prefix: str = "") -> set[str]:
    """Names of the settings that differ, without those that only say how long and how often."""
    lengths = ("total_kimg", "decay_from_kimg", "snapshot_kimg", "tick_kimg")
    free = {"compile", *(f"schedule.{name}" for name in lengths)}
    found: set[str] = set()
    for key in left.keys() | right.keys():
        a, b = left.get(key), right.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found |= _different(a, b, f"{prefix}{key}.")
        elif a != b and f"{prefix}{key}" not in free:
            found.add(f"{prefix}{key}")
    return found


@torch.no_grad()
def averaged_generator(trainer: Trainer, source: BatchSource) -> Generator:
    """Return a copy of the averaged generator, float32 on the CPU, with batch-norm statistics of its own.

    Averaged weights produce other activations than those the running statistics were gathered from, so they are
    measured afresh over labels drawn as in training (Brock et al. 2019, "standing statistics").
    """
    recipe: Recipe = trainer.recipe
    generator = deepcopy(trainer.average)
    norms = [module for module in generator.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    rng = np.random.Generator(np.random.Philox(key=[recipe.seed, _CALIBRATION_STREAM]))
    generator.train()
    for _ in range(_CALIBRATION_BATCHES):
        _, labels = source.labels(rng, recipe.schedule.batch)
        latents = rng.standard_normal((len(labels), recipe.generator.latent_dim), dtype=np.float32)
        generator(
            torch.from_numpy(latents).to(trainer.device, trainer.dtype), torch.from_numpy(labels).to(trainer.device)
        )
    for norm in norms:
        norm.momentum = 0.1
    return generator.eval().cpu()


def sample_grid(sampler: FaceSampler, seeds: range, scale: int = 2) -> Image.Image:
    """Return a picture of faces: a row for each seed, a column for each emotion, its name above it.

    ``scale`` enlarges each face's sides (Lanczos).
    """
    mixes = [EmotionMix.parse(emotion, sampler.emotions) for emotion in sampler.emotions]
    faces = sampler.sample([FaceRequest(mix, seed) for seed in seeds for mix in mixes])
    size, channels = faces.shape[1], faces.shape[3]
    rows = faces.reshape(len(seeds), len(mixes), size, size, channels).transpose(0, 2, 1, 3, 4)
    pixels = rows.reshape(len(seeds) * size, len(mixes) * size, channels)
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    side = size * scale
    image = image.resize((len(mixes) * side, len(seeds) * side), Image.Resampling.LANCZOS)
    header = side // 4
    grid = Image.new(image.mode, (image.width, header + image.height), "white")
    grid.paste(image, (0, header))
    pen, font = ImageDraw.Draw(grid), ImageFont.load_default(header * 0.7)
    for column, emotion in enumerate(sampler.emotions):
        pen.text(((column + 0.5) * side, header / 2), emotion, fill="black", font=font, anchor="mm")
    return grid
