"""Where torch is not installed, a style-based weight file draws the same bytes, and the rest is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from model import FaceRequest, FaceSampler
from model.emotions import FER2013, EmotionMix
from model.networks.checkpoint import save_generator

# In sys.modules, None makes both `import torch` and importlib's find_spec say that there is no such module; the finder
# does so for its submodules.
SCRIPT = """
import json, sys
sys.modules["torch"] = None
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())

from model import EmotionMix, FaceRequest, FaceSampler, WeightsError

style, residual, absent = sys.argv[1:]
said = {}
for device in ("cpu", "auto"):
    sampler = FaceSampler.load(style, device)
    mix = EmotionMix.parse("happy", sampler.emotions)
    said[device] = [face.tobytes().hex() for face in sampler.sample([FaceRequest(mix, seed) for seed in range(5)])]
    said[f"{device} is"] = sampler.device
for name, path, device in (
    ("residual", residual, "cpu"), ("residual, auto", residual, "auto"), ("cuda", style, "cuda"),
    ("cuda:1", style, "cuda:1"), ("absent", absent, "auto"),
):
    try:
        FaceSampler.load(path, device)
    except (ValueError, WeightsError) as error:
        said[name] = [type(error).__name__, str(error)]
assert not [name for name in sys.modules if name.startswith("torch.")]
print(json.dumps(said))
"""


@pytest.fixture
def paths(path, tmp_path, residual):
    save_generator(tmp_path / "residual.safetensors", residual, {})
    return [str(path), str(tmp_path / "residual.safetensors"), str(tmp_path / "absent.safetensors")]


def test_a_style_based_file_draws_and_everything_else_is_refused_in_one_sentence(paths):
    command = [sys.executable, "-c", SCRIPT, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    happy = EmotionMix.parse("happy", FER2013)
    faces = FaceSampler.load(paths[0], "cpu").sample([FaceRequest(happy, seed) for seed in range(5)])
    assert said["cpu"] == said["auto"] == [face.tobytes().hex() for face in faces]
    assert said["cpu is"] == said["auto is"] == "cpu"
    for device in ("cuda", "cuda:1"):
        assert said[device] == [
            "ValueError",
            f"device {device!r} needs PyTorch, which is not installed: 'pip install torch', or use 'cpu'.",
        ]
    reason = "drawing with a residual generator needs PyTorch, which is not installed: 'pip install torch'."
    refused = ["WeightsError", f"weights {paths[1]!r} cannot be used: {reason}"]
    assert said["residual"] == said["residual, auto"] == refused
    assert said["absent"] == ["WeightsError", f"weights {paths[2]!r} cannot be used: there is no such file."]
