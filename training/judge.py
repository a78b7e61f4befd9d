"""The judge: a classifier of emotions in small grey faces, trained here, that never trains a generator.

It is a residual network (He et al. 2016) with two heads on the same features: one learns the distribution of FER+'s
votes (Barsoum et al. 2016, section 3.4, "cross-entropy loss"), the other FER-2013's own classes. What a generated face
shows, and how far sets of faces are apart, is measured with it; and the same network, trained for a shorter time, is
the classifier of the GAN-train protocol.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from model.networks.checkpoint import half_precision
from training.data.atomic import atomic_file
from training.data.packed import PackedDataset

_KEY: Final = "emoface-judge"
_BATCH: Final = 256  # faces judged at once
_SHIPPED: Final = ("a", "b")


class JudgeError(RuntimeError):
    """A judge that cannot be loaded or trained; its text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class JudgeConfig:
    """Shape and training of a judge; it travels in the header of its file."""

    emotions: tuple[str, ...]
    resolution: int = 48
    channels: int = 1
    widths: tuple[int, ...] = (32, 96, 192)  # feature maps at a half, a quarter, an eighth ... of the resolution
    depth: int = 1  # residual blocks at each size
    stem: int = 2  # 2: pixels are folded 2x2 into channels; 1: a strided convolution
    dropout: float = 0.3  # of the features, in training
    epochs: float = 20.0
    batch: int = 128
    lr: float = 3e-3  # AdamW's, at the peak of the one cycle
    decay: float = 0.05  # AdamW's
    augment_p: float = 0.5  # probability of each augmentation
    balance: float = 0.25  # as in training.recipe.DataRecipe
    seed: int = 0


class _Block(nn.Module):
    """Residual block with batch norm before each convolution: ``[N, in, H, W]`` -> ``[N, out, H, W]``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(x))
        h = self.conv2(F.relu(self.norm2(self.conv1(h))))
        out: Tensor = h + self.skip(x)
        return out


class JudgeNetwork(nn.Module):
    """Faces in; features, and the logits of both heads, out."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config = config
        first, last = config.widths[0], config.widths[-1]
        if config.stem == 2:
            self.stem: nn.Module = nn.Sequential(
                nn.PixelUnshuffle(2), nn.Conv2d(4 * config.channels, first, 3, padding=1, bias=False)
            )
        else:
            self.stem = nn.Conv2d(config.channels, first, 5, stride=2, padding=2, bias=False)
        stages: list[nn.Module] = [_Block(first, first) for _ in range(config.depth)]
        for inputs, outputs in pairwise(config.widths):
            stages += [nn.MaxPool2d(2), _Block(inputs, outputs)]
            stages += [_Block(outputs, outputs) for _ in range(config.depth - 1)]
        self.body = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(last)
        self.votes = nn.Linear(last, len(config.emotions))
        self.given = nn.Linear(last, len(config.emotions))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Judge float ``[N, C, H, W]`` of any grey scale; each face is first brought to mean 0 and deviation 1.

        Returns:
            Features ``[N, widths[-1]]`` (not negative) and the logits of votes and of given classes, ``[N, E]`` each.
        """
        mean = images.mean((1, 2, 3), keepdim=True)
        images = (images - mean) / (images.std((1, 2, 3), keepdim=True) + 1e-2)
        x = self.body(self.stem(images.contiguous(memory_format=torch.channels_last)))
        features = F.relu(self.norm(x)).mean((2, 3)).float()
        dropped = F.dropout(features, self.config.dropout, self.training)
        return features, self.votes(dropped), self.given(dropped)


class Judge:
    """A trained judge."""

    def __init__(self, network: JudgeNetwork, card: dict[str, Any], device: str = "cpu") -> None:
        self.network = network.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        self.config = network.config
        self.card = card
        self.device = device

    @torch.inference_mode()
    def judge(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Judge uint8 ``[N, C, H, W]``, every face as it is and mirrored, and average the two.

        Returns:
            Features float32 ``[N, D]``, probabilities of FER+'s votes and of FER-2013's classes float32 ``[N, E]``.
        """
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for begin in range(0, len(images), _BATCH):
            x = torch.from_numpy(images[begin : begin + _BATCH]).to(self.device).float().div(127.5).sub(1)
            both = zip(self.network(x), self.network(x.flip(3)), strict=True)
            features, votes, given = ((a, b) for a, b in both)
            parts.append(
                (
                    (features[0] + features[1]) / 2,
                    (votes[0].softmax(1) + votes[1].softmax(1)) / 2,
                    (given[0].softmax(1) + given[1].softmax(1)) / 2,
                )
            )
        stacked = (torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))
        features_, votes_, given_ = stacked
        return features_, votes_, given_

    def save(self, path: Path) -> None:
        """Write the judge as one safetensors file, atomically, in half precision."""
        tensors = {
            name: tensor
            for name, tensor in half_precision(self.network).items()
            if not name.endswith("num_batches_tracked")
        }
        header = {"config": asdict(self.config), "card": self.card}
        with atomic_file(path) as file:
            file.write(save(tensors, {_KEY: json.dumps(header, sort_keys=True)}))

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> Self:
        """Read a judge.

        Raises:
            JudgeError: the file is missing, damaged or no judge.
        """
        if not path.is_file():
            raise JudgeError(f"there is no judge {path}; train one with 'emoface judge'.")
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})[_KEY])
                tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
            shape: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in header["config"].items()}
            network = JudgeNetwork(JudgeConfig(**shape))
            lacking = network.load_state_dict(tensors, strict=False)
            if lacking.unexpected_keys or any(not k.endswith("num_batches_tracked") for k in lacking.missing_keys):
                raise ValueError("its tensors are not those of its header")
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise JudgeError(f"{path} is damaged or no judge of emoface's ({error}).") from error
        return cls(network, header["card"], device)


def judge_accuracy(judge: Judge, data: PackedDataset) -> dict[str, float]:
    """Return how often the judge names the emotion with most votes, and FER-2013's own class where it is known."""
    _, votes, given = judge.judge(data.images)
    said, true = votes.argmax(axis=1), data.labels.argmax(axis=1)
    recalls = [float((said[true == k] == k).mean()) for k in np.unique(true)]
    accuracy = {"votes": float((said == true).mean()), "votes_balanced": float(np.mean(recalls))}
    if data.given is not None:
        accuracy["given"] = float((given.argmax(axis=1) == data.given).mean())
    return accuracy


def shipped(name: str) -> Path:
    """Return the file that ships with emoface under a name: of weights, a pair to start from, or a judge."""
    return Path(__file__).resolve().parents[1] / "weights" / f"{name}.safetensors"


def shipped_judges() -> list[Path]:
    """Return the files of the judges that ship with emoface."""
    return [shipped(f"judge-{kind}") for kind in _SHIPPED]
