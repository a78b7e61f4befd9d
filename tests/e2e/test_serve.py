"""``emoface serve`` as a process: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from model import EmotionMix, FaceRequest, FaceSampler
from tests.e2e.processes import Service, refused, service
from tests.service.serving import until_now


def test_the_printed_line_saves_a_face(running: Service, tmp_path: Path) -> None:
    assert shutil.which("curl"), "this test runs the line that the service prints, and curl is not installed"
    (line,) = (line for line in running.printed.splitlines() if line.lstrip().startswith("curl"))
    subprocess.run(shlex.split(line), cwd=tmp_path, check=True, capture_output=True, timeout=60)
    with Image.open(tmp_path / "happy.png") as image:
        assert (image.format, image.size) == ("PNG", (48, 48))


def test_pixels_are_those_of_the_sampler_in_another_process(running: Service, weights: Path) -> None:
    sampler = FaceSampler.load(weights, "cpu")
    for emotion in sampler.emotions:
        (expected,) = sampler.sample([FaceRequest(EmotionMix.parse(emotion, sampler.emotions), 7)])
        response = httpx.post(f"{running.url}/generate", json={"emotion": emotion, "seed": 7}, trust_env=False)
        assert response.headers["x-model"] == f"tiny@{sampler.sha256[:12]}"
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(response.content))), expected[:, :, 0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_peace(weights: Path, number: signal.Signals) -> None:
    with service(weights) as started:
        assert httpx.get(f"{started.url}/readyz", trust_env=False).status_code == 200
        started.process.send_signal(number)
        assert started.process.wait(30) == 0
        lines = [json.loads(line) for line in started.log()]
        assert {line["level"] for line in lines} == {"info"}
        assert {line["route"] for line in lines} >= {"/readyz"}
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{started.url}/healthz", trust_env=False)


def test_it_drains_before_it_ends(weights: Path) -> None:
    with service(weights, extra={"EMOFACE_DRAIN_SECONDS": "3"}) as started:
        assert httpx.get(f"{started.url}/readyz", trust_env=False).status_code == 200
        started.process.send_signal(signal.SIGTERM)
        until_now(lambda: httpx.get(f"{started.url}/readyz", trust_env=False).status_code == 503)
        assert httpx.get(f"{started.url}/healthz", trust_env=False).status_code == 200
        assert httpx.get(f"{started.url}/faces/sad/7.png", trust_env=False).status_code == 200
        assert started.process.wait(30) == 0


def test_a_second_signal_ends_a_long_drain(weights: Path) -> None:
    with service(weights, extra={"EMOFACE_DRAIN_SECONDS": "600"}) as started:
        assert httpx.get(f"{started.url}/readyz", trust_env=False).status_code == 200
        started.process.send_signal(signal.SIGTERM)
        until_now(lambda: httpx.get(f"{started.url}/readyz", trust_env=False).status_code == 503)
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(30) == 0


def test_a_port_in_use_is_one_sentence(weights: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused("serve", "--host", "127.0.0.1", "--port", str(port), "--weights", str(weights))
    assert f"port {port} on 127.0.0.1 is in use" in said


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.1"])
def test_a_host_that_is_not_here_is_one_sentence(weights: Path, host: str) -> None:
    assert host in refused("serve", "--host", host, "--port", "0", "--weights", str(weights))


def test_a_bad_setting_is_one_sentence() -> None:
    said = refused("serve", "--port", "0", extra={"EMOFACE_QUEUE_LIMIT": "many"})
    assert "EMOFACE_QUEUE_LIMIT must be" in said
    assert "'many'" in said


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("missing", "no such file"), ("truncated", "truncated"), ("foreign", "not one of emoface's")],
)
def test_weights_that_cannot_be_used(weights: Path, tmp_path: Path, kind: str, reason: str) -> None:
    path = tmp_path / f"{kind}.safetensors"
    if kind == "truncated":
        path.write_bytes(weights.read_bytes()[:-1000])
    elif kind == "foreign":
        save_file({"weight": torch.zeros(3)}, path)
    said = refused("serve", "--host", "127.0.0.1", "--port", "0", "--weights", str(path))
    assert str(path) in said
    assert reason in said
