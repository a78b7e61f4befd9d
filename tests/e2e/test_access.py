"""Keys and rates in a real process: what it says at its start, and that keys change without a restart."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from service.access.keys import new_key
from tests.cli.documents import blocks
from tests.e2e.processes import Service, command, environment, refused, service


def log_of(stopped: Service) -> list[dict[str, object]]:
    return [json.loads(line) for line in stopped.log()]


@pytest.mark.parametrize(
    ("host", "keys", "loud"), [("0.0.0.0", False, True), ("0.0.0.0", True, False), ("127.0.0.1", False, False)]
)
def test_it_warns_of_an_open_door(weights: Path, host: str, keys: bool, loud: bool) -> None:
    extra = {"EMOFACE_API_KEYS": new_key("alice")[1]} if keys else {}
    with service(weights, extra, host=host) as running:
        assert httpx.get(f"{running.url}/readyz", timeout=30, trust_env=False).status_code == 200
        running.process.terminate()
        assert running.process.wait(30) == 0
        warned = [line for line in log_of(running) if "ANYBODY" in str(line["message"])]
    assert bool(warned) is loud
    assert all(line["level"] == "warning" for line in warned)


def test_keys_come_and_go_without_a_restart(weights: Path, tmp_path: Path) -> None:
    (old, first), (new, second) = new_key("old"), new_key("new")
    file = tmp_path / "keys"
    file.write_text(first + "\n")
    with (
        service(weights, {"EMOFACE_API_KEYS_FILE": str(file)}) as running,
        httpx.Client(base_url=running.url, timeout=30, trust_env=False) as client,
    ):

        def status(key: str) -> int:
            return client.get("/faces/happy/7.png", headers={"X-API-Key": key}).status_code

        assert (status(old), status(new)) == (200, 401)
        file.write_text(second + "\n")
        deadline = time.monotonic() + 20
        while (status(old), status(new)) != (401, 200):
            assert time.monotonic() < deadline, "the keys were not read again"
            time.sleep(0.1)


def test_the_operators_guide_lets_in_who_has_the_key(weights: Path, tmp_path: Path) -> None:
    ((_, text),) = blocks("operators.md")
    make, serve = text.splitlines()
    run = ["bash", "-c", make.replace(".venv/bin/emoface", shlex.join(command()))]
    key = subprocess.run(
        run, env=environment(), cwd=tmp_path, capture_output=True, check=True, text=True
    ).stdout.strip()
    told = re.fullmatch(r"(EMOFACE_\w+)=(\S+) \.venv/bin/emoface serve --host (\S+)", serve)
    assert told, serve
    with service(weights, {told[1]: str(tmp_path / told[2])}, host=told[3]) as running:
        for headers, status in (({"Authorization": f"Bearer {key}"}, 200), ({"X-API-Key": key}, 200), ({}, 401)):
            answer = httpx.get(f"{running.url}/faces/sad/7.png", headers=headers, timeout=30, trust_env=False)
            assert answer.status_code == status


def test_bad_keys_are_one_sentence(weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# nobody yet\n")
    said = refused("serve", "--port", "0", "--weights", str(weights), extra={"EMOFACE_API_KEYS_FILE": str(file)})
    assert "there is no key in" in said
    assert str(file) in said
    said = refused("serve", "--port", "0", "--weights", str(weights), extra={"EMOFACE_ADDRESS_RATE": "often"})
    assert "EMOFACE_ADDRESS_RATE must be" in said
