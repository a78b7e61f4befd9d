"""A tiny data set of drawn faces and a tiny recipe: a run of seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from training.data.packed import DatasetWriter
from training.recipe import Recipe, recipe_from_dict

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

#: A style-based pair for 16x16. The learning rates are constant, so a shorter run is the beginning of a longer one.
TINY: dict[str, Any] = {
    "name": "tiny",
    "precision": "float32",
    "generator": {"network": {"widths": [8, 8], "latent_dim": 8, "w_dim": 8, "emotion_dim": 4}},
    "discriminator": {"network": {"widths": [8, 8], "projection_dim": 8, "identity_dim": 8}},
    "augment": {"speed_kimg": 0.2},
    "schedule": {
        "batch": 8,
        "total_kimg": 1,
        "rampup_kimg": 0,
        "decay_from_kimg": 100,
        "snapshot_kimg": 100,
        "tick_kimg": 0.04,
        "ema_halflife_kimg": 0.1,
    },
}
_PLAIN = {"kind": "bce", "classify_real": 0, "classify_fake": 0, "identity": 0, "r1": 0}
#: A tiny recipe of each architecture.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "style": TINY,
    "residual": TINY
    | {
        "generator": {
            "lr": 3e-4,
            "network": {"architecture": "residual", "widths": [16, 16], "latent_dim": 8, "emotion_dim": 4},
        },
        "discriminator": {"lr": 6e-4, "network": {"architecture": "residual", "widths": [8, 16, 16]}},
        "loss": {"kind": "hinge", "classify_real": 1, "classify_fake": 0.1, "identity": 0, "r1": 0},
    },
    "dense": TINY
    | {
        "generator": {
            "lr": 3e-4,
            "betas": [0.5, 0.999],
            "network": {"architecture": "dense", "widths": [16, 32], "latent_dim": 8, "emotion_dim": 4},
        },
        "discriminator": {
            "lr": 6e-4,
            "betas": [0.5, 0.999],
            "network": {"architecture": "dense", "widths": [32, 16], "emotion_dim": 4, "dropout": 0.3},
        },
        "loss": _PLAIN,
    },
    "convolutional": TINY
    | {
        "generator": {
            "lr": 3e-4,
            "network": {"architecture": "convolutional", "widths": [16, 8], "latent_dim": 8, "emotion_dim": 4},
        },
        "discriminator": {"lr": 6e-4, "network": {"architecture": "convolutional", "widths": [8, 16]}},
        "loss": _PLAIN,
    },
}


def until(recipe: Recipe, images: int, **schedule: float) -> Recipe:
    """Return ``recipe``, ended after ``images`` images, with other changes to its schedule."""
    return replace(recipe, schedule=replace(recipe.schedule, total_kimg=images / 1000, **schedule))  # type: ignore[arg-type]


def toml(table: Mapping[str, Any], name: str = "") -> str:
    """Return the TOML of nested dictionaries, as a recipe file holds them."""
    own = [f"{key} = {json.dumps(value)}\n" for key, value in table.items() if not isinstance(value, dict)]
    inner = {f"{name}.{key}" if name else key: value for key, value in table.items() if isinstance(value, dict)}
    return "".join(own) + "".join(f"[{key}]\n{toml(value, key)}" for key, value in inner.items())


def draw_face(emotion: int, rng: np.random.Generator, size: int = 16) -> np.ndarray:
    """Draw a grey face, uint8 [size, size], whose mouth depends on the emotion."""
    image = Image.new("L", (size, size), int(rng.integers(0, 90)))
    pen = ImageDraw.Draw(image)
    pen.ellipse([1, 1, size - 2, size - 2], fill=int(rng.integers(140, 255)))
    for x in (size // 3, 2 * size // 3):
        pen.point([(x, size // 3), (x, size // 3 + 1)], fill=0)
    bend = (emotion - 3) * size // 12
    pen.line([(size // 4, 2 * size // 3), (size // 2, 2 * size // 3 + bend), (3 * size // 4, 2 * size // 3)], fill=0)
    return np.asarray(image)


def pack_faces(path: Path, count: int, seed: int, size: int = 16) -> Path:
    """Pack ``count`` drawn faces, few of them disgust, some with soft labels."""
    rng = np.random.default_rng(seed)
    with DatasetWriter(path, emotions=EMOTIONS, resolution=size, channels=1, meta={"name": "drawn"}) as writer:
        for row in range(count):
            emotion = row % 7 if row % 7 != 1 or row % 3 == 0 else 3
            label = np.eye(7)[emotion]
            if row % 2:
                label = 0.75 * label + 0.25 * np.eye(7)[6]
            writer.add(row, draw_face(emotion, rng, size), label.tolist(), given=emotion)
    return path


@pytest.fixture(scope="session")
def unseen_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another 210 of the same kind."""
    return pack_faces(tmp_path_factory.mktemp("data") / "unseen.zip", 210, 1)


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed data set of 140 drawn faces of 16x16, few of them disgust, some with soft labels."""
    return pack_faces(tmp_path_factory.mktemp("data") / "drawn.zip", 140, 0)


@pytest.fixture
def tiny() -> Recipe:
    """The style-based pair of :data:`TINY`."""
    return recipe_from_dict(TINY)


@pytest.fixture(params=ARCHITECTURES)
def small(request: pytest.FixtureRequest) -> Recipe:
    """A tiny recipe of each architecture."""
    return recipe_from_dict(ARCHITECTURES[request.param])
