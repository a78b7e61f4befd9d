"""Small weights that draw in no time, a judge that has learned nothing, and a look at whole folders."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model import FaceSampler
from model.emotions import FERPLUS
from model.networks.build import build_generator
from model.networks.checkpoint import save_generator
from model.networks.configs import StyleGeneratorConfig
from training.export.agreement import Jury
from training.judge import Judge, JudgeConfig, JudgeNetwork


def small_weights(path: Path) -> Path:
    """Write untrained weights of 24x24 faces of eight emotions."""
    torch.manual_seed(0)
    config = StyleGeneratorConfig(24, emotions=FERPLUS, widths=(8, 8), latent_dim=8, w_dim=8, emotion_dim=4)
    save_generator(path, build_generator(config), {})
    return path


def small_judge(seed: int = 0, **shape: object) -> Judge:
    """Return a judge that has learned nothing, and thinks nearly the same of every face."""
    torch.manual_seed(seed)
    config = {"emotions": FERPLUS, "resolution": 24, "widths": (8, 8)} | shape
    return Judge(JudgeNetwork(JudgeConfig(**config)), {"kind": "a", "seed": seed})  # type: ignore[arg-type]


class Dice(Judge):
    """A judge whose opinions of faces are all different, each the same always, and have no reason."""

    def judge(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        keys = [zlib.crc32(image.tobytes(), self.card["seed"]) for image in images]
        votes = [np.random.default_rng(key).dirichlet([0.5] * len(self.config.emotions)) for key in keys]
        said = np.array(votes, np.float32)
        return said, said, said


def tree(folder: Path) -> dict[str, bytes]:
    """Return what is in a folder: the contents of files by their paths, and of folders nothing."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")
    }


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_weights(tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture(scope="session")
def sampler(weights: Path) -> FaceSampler:
    return FaceSampler.load(weights, "cpu")


@pytest.fixture(scope="session")
def jury(sampler: FaceSampler) -> Jury:
    dice = {name: small_judge(seed) for seed, name in enumerate("ab")}
    return Jury({name: Dice(judge.network, judge.card) for name, judge in dice.items()}, sampler, FERPLUS)
