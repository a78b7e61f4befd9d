"""What a run leaves on disk: its whole state to go on from, weights to use, and a sample grid to look at."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from model.emotions import EmotionMix
from model.files import write_whole
from model.networks.base import Generator
from model.networks.checkpoint import save_generator
from model.sampler import FaceRequest, FaceSampler
from model.sheet import sheet
from training.batches import BatchSource
from training.data.atomic import atomic_file
from training.data.packed import PackedDataset
from training.recipe import Recipe, recipe_from_dict
from training.start import save_start
from training.trainer import Trainer

STATE: Final = "state.safetensors"  # in a run's folder: all that it needs to go on
START: Final = "start.safetensors"  # and both networks of its newest snapshot, for another run to start from
GRID_SEEDS: Final = range(8)  # the people in a run's sample grids; always the same, to see them grow up
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
    started_from: dict[str, Any] | None = None  # the file that the run began with, as start_from tells it


def weights_path(out: Path, recipe: Recipe, cur_nimg: int) -> Path:
    """Return where the weights of the snapshot at ``cur_nimg`` images are, in the folder ``out`` of a run."""
    return out / f"{recipe.name}-{cur_nimg // 1000:06d}.safetensors"


def write_snapshot(
    out: Path, trainer: Trainer, progress: Progress, source: BatchSource, dataset: PackedDataset, data_name: str
) -> Image.Image:
    """Write all that a snapshot is into the folder ``out``, each file whole or not at all; return its sample grid.

    The state goes first: once it is there nothing of the run is lost, whatever becomes of the rest.

    Raises:
        DataError, OSError: the disk is full, or the folder is gone.
    """
    save_state(out / STATE, trainer, progress, dataset.sha256)
    card = {
        "data": {"file": data_name, "sha256": dataset.sha256, "images": len(dataset), **dataset.meta},
        "recipe": trainer.recipe.to_dict(),
        "images_seen": progress.cur_nimg,
        "training_minutes": round(progress.seconds / 60, 2),
        "torch": torch.__version__,
    }
    if progress.started_from is not None:
        card["started_from"] = progress.started_from
    path = weights_path(out, trainer.recipe, progress.cur_nimg)
    generator = averaged_generator(trainer, source)
    save_generator(path, generator, card)
    save_start(out / START, trainer.generator, trainer.discriminator, card, trainer.augment_p)
    grid = sample_grid(FaceSampler(generator), GRID_SEEDS)
    png = io.BytesIO()
    grid.save(png, "PNG")
    write_whole(path.with_suffix(".png"), png.getvalue())
    return grid


def save_state(path: Path, trainer: Trainer, progress: Progress, data_sha256: str) -> None:
    """Write everything that the rest of the run depends on, as one safetensors file, atomically."""
    tensors: dict[str, Tensor] = {}
    for name, module in trainer.modules().items():
        tensors |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
    for name, optimizer in trainer.optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            kept = {key: value for key, value in state.items() if not _forgotten(optimizer, key)}
            tensors |= {f"adam-{name}/{index}/{key}": value for key, value in kept.items()}
    header = {
        **asdict(progress),
        "augment_p": trainer.augment_p,
        "data_sha256": data_sha256,
        "recipe": trainer.recipe.to_dict(),
    }
    content = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"progress": json.dumps(header)})
    with atomic_file(path) as file:
        file.write(content)


def _forgotten(optimizer: torch.optim.Optimizer, key: str) -> bool:
    """Tell whether the next step overwrites this part of Adam's state: with beta1 = 0 its mean is the last gradient."""
    return key == "exp_avg" and optimizer.param_groups[0]["betas"][0] == 0


def load_state(path: Path, trainer: Trainer, data_sha256: str) -> Progress:
    """Put a saved state into ``trainer`` and return how far it was.

    Raises:
        SnapshotError: the file is damaged, or of another recipe or other data.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header: Mapping[str, Any] = json.loads(file.metadata()["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
        # An older file lacks settings that came later; what it was made with is their defaults.
        theirs = recipe_from_dict(header["recipe"]).to_dict()
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise SnapshotError(f"{path} is no snapshot to go on from ({error}).") from error
    changed = sorted(_different(theirs, trainer.recipe.to_dict()))
    if changed:
        raise SnapshotError(f"{path} was made by another recipe ({', '.join(changed)} differ); give another --out.")
    if header["data_sha256"] != data_sha256:
        raise SnapshotError(f"{path} was trained on other data; give another --out.")
    try:
        _put(trainer, tensors)
        trainer.augment_p = float(header["augment_p"])
        return Progress(**{item.name: header[item.name] for item in fields(Progress) if item.name in header})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise SnapshotError(f"{path} is no snapshot to go on from ({reason}).") from error


def _put(trainer: Trainer, tensors: Mapping[str, Tensor]) -> None:
    for name, module in trainer.modules().items():
        module.load_state_dict({k: tensors[f"{name}/{k}"] for k in module.state_dict()})
    for name, optimizer in trainer.optimizers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            owner, _, rest = key.partition("/")
            if owner == f"adam-{name}":
                index, _, field = rest.partition("/")
                state.setdefault(int(index), {})[field] = value
        if state and _forgotten(optimizer, "exp_avg"):
            for values in state.values():
                values["exp_avg"] = torch.zeros_like(values["exp_avg_sq"])
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def saved_images(path: Path) -> int:
    """Return how many images a saved state has seen; 0 if there is none that can be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return int(json.loads(file.metadata()["progress"])["cur_nimg"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return 0


def _different(left: Mapping[str, Any], right: Mapping[str, Any], prefix: str = "") -> set[str]:
    """Names of the settings that differ, without those that only say how long and how often."""
    lengths = ("total_kimg", "decay_from_kimg", "decay_to", "snapshot_kimg", "tick_kimg")
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
    generator = deepcopy(trainer.g_ema)
    norms = [
        module for module in generator.modules() if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)
    ]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    if not norms:
        return generator.eval().cpu()
    rng = np.random.Generator(np.random.Philox(key=[recipe.seed, _CALIBRATION_STREAM]))
    generator.train()
    for _ in range(_CALIBRATION_BATCHES):
        _, labels = source.labels(rng, recipe.schedule.batch)
        latents = rng.standard_normal((len(labels), recipe.generator.network.latent_dim), dtype=np.float32)
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
    rows = [faces[i : i + len(mixes)] for i in range(0, len(faces), len(mixes))]
    return sheet(rows, sampler.emotions, scale=scale)
