"""``emoface doctor``: it finds what is wrong, and says how to mend it."""

from __future__ import annotations

import json
import re
import socket
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from PIL import features

from emoface import doctor as module
from model import FaceSampler
from model.speed import measure_speed
from tests.cli.running import in_process

QUICK = ["doctor", "--seconds", 0.1, "--device", "cpu"]


def checks(weights: Path, *, code: int = 0) -> dict[str, dict[str, Any]]:
    """Run it; returns what it found, by name."""
    done = in_process(*QUICK, "--json", "--weights", weights)
    assert done.exit_code == code, done.output
    told = json.loads(done.stdout)
    assert told["healthy"] is (code == 0)
    return {check["name"]: check for check in told["checks"]}


@pytest.fixture(autouse=True)
def _free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOFACE_PORT", "0")


def test_a_machine_that_draws_is_healthy(weights: Path) -> None:
    found = checks(weights)
    assert found["speed"]["data"]["faces_per_second"] > 0
    assert found["speed"]["data"]["lone_ms"] > 0
    assert found["weights"]["data"]["sha256"] == FaceSampler.load(weights, "cpu").sha256
    assert found["device"]["data"]["device"] == "cpu"
    assert found["device"]["data"]["precision"] == "float32"
    assert found["port"]["data"] == {"host": "127.0.0.1", "port": 0, "free": True}
    assert found["software"]["data"]["torch"] == version("torch")
    assert found["settings"]["found"] == "from the environment: EMOFACE_PORT"
    assert all(check["status"] != "wrong" for check in found.values())


def test_people_read_a_line_for_each_and_what_to_do(weights: Path) -> None:
    done = in_process(*QUICK, "--weights", weights)
    assert done.exit_code == 0
    assert re.search(r"^ok     speed      [\d,]+ faces/s, and \d+\.\d ms for one alone", done.stdout, re.MULTILINE)
    assert re.search(r"^ok     weights    small@[0-9a-f]{12}$", done.stdout, re.MULTILINE)
    assert "cores may be used" in done.stdout


def test_a_port_in_use_is_noted(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("EMOFACE_PORT", str(port))
        found = checks(weights)["port"]
    assert (found["status"], found["data"]["free"]) == ("note", False)
    assert f"port {port} on 127.0.0.1 is in use" in found["found"]
    assert "--port" in found["mend"]


def test_damaged_weights_are_wrong(weights: Path, tmp_path: Path) -> None:
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "damaged.safetensors").write_bytes(damaged)
    found = checks(tmp_path / "damaged.safetensors", code=1)
    assert found["weights"]["status"] == "wrong"
    assert "do not match the hash" in found["weights"]["found"]
    assert "--weights" in found["weights"]["mend"]
    assert "speed" not in found, "there is nothing to draw with"


def test_a_device_that_is_not_there_is_wrong(weights: Path) -> None:
    done = in_process("doctor", "--device", "cuda:99", "--weights", weights)
    assert done.exit_code == 1
    assert "WRONG  device     device 'cuda:99' is not available" in done.stdout
    assert "-> Choose another device" in done.stdout


def test_settings_that_cannot_be_used_are_wrong(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOFACE_QUEUE_LIMIT", "many")
    monkeypatch.setenv("EMOFACE_API_KEYS", "alice:secret")
    done = in_process(*QUICK, "--weights", weights)
    assert done.exit_code == 1
    assert "WRONG  settings   EMOFACE_QUEUE_LIMIT must be" in done.stdout
    assert "secret" not in done.stdout


def test_what_makes_it_slow_is_noted(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_openvino(name: str) -> str:
        if name == "openvino":
            raise PackageNotFoundError
        return version(name)

    monkeypatch.setattr("model.software.version", without_openvino)
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    monkeypatch.setattr("os.cpu_count", lambda: 4096)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(module, "_has_bfloat16", lambda device: False)
    monkeypatch.setenv("EMOFACE_PRECISION", "bfloat16")
    found = checks(weights)
    noted = {name for name, check in found.items() if check["status"] == "note"}
    assert noted == {"software", "formats", "cores", "gpu", "device"}
    assert all(found[name]["mend"] for name in noted)


def test_a_device_that_fails_while_it_draws_is_told(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = FaceSampler.load(weights, "cpu")
    sample, calls = sampler.sample, []

    def fails(requests: Any) -> Any:
        calls.append(len(requests))
        if len(calls) > 13:  # the trials and the lone faces work
            raise RuntimeError("out of memory")
        return sample(requests)

    monkeypatch.setattr(sampler, "sample", fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        measure_speed(sampler, 0.1)
