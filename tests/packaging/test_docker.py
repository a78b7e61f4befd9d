"""The Dockerfile, its context and the compose file, as far as they can be read without an engine.

scripts/build-image-without-docker.sh shows the rest: it builds and runs the image.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def instructions(text: str) -> list[list[tuple[str, str]]]:
    """The stages of a Dockerfile: lists of (INSTRUCTION, rest of it), comments gone and lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    stages: list[list[tuple[str, str]]] = []
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            if word == "FROM":
                stages.append([])
            stages[-1].append((word, " ".join(rest.split())))
    return stages


@pytest.fixture(scope="module")
def stages() -> list[list[tuple[str, str]]]:
    return instructions((ROOT / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def only(stage: list[tuple[str, str]], word: str) -> str:
    (value,) = (rest for name, rest in stage if name == word)
    return value


# ---- Dockerfile --------------------------------------------------------------------------------------------


def test_every_stage_comes_from_one_point_release(stages: list[list[tuple[str, str]]]) -> None:
    sources = [only(stage, "FROM").split(" AS ") for stage in stages]
    assert re.fullmatch(r"debian:\d+\.\d+-slim", sources[0][0])
    own_names = {name for _, *names in sources for name in names}
    assert {source for source, *_ in sources[1:]} <= own_names


def test_the_last_stage_runs_as_a_user_without_rights(stages: list[list[tuple[str, str]]]) -> None:
    last = stages[-1]
    uid, gid = only(last, "USER").split(":")
    assert int(uid) >= 10_000
    assert int(gid) >= 10_000
    after = last[[name for name, _ in last].index("USER") + 1 :]
    assert {name for name, _ in after}.isdisjoint({"RUN", "COPY", "ADD"})


def test_the_last_stage_installs_nothing(stages: list[list[tuple[str, str]]]) -> None:
    commands = [rest for name, rest in stages[-1] if name == "RUN"]
    assert not [command for command in commands if re.search(r"\b(pip|apt|apt-get|curl|gcc|make)\b", command)]
    base = [rest for name, rest in stages[0] if name == "RUN"]
    assert [re.findall(r"--no-install-recommends ([^&]+) &&", command) for command in base] == [["python3"]]


def test_a_change_of_code_does_not_reinstall_the_dependencies(stages: list[list[tuple[str, str]]]) -> None:
    (dependencies,) = (stage for stage in stages if only(stage, "FROM").endswith(" AS dependencies"))
    assert only(dependencies, "COPY") == "pyproject.toml /build/"
    copies = [rest for name, rest in stages[-1] if name == "COPY"]
    assert copies == ["--from=dependencies /venv /venv", "--from=app /app /app"]


def test_health_check_command_and_port_agree(stages: list[list[tuple[str, str]]], compose: dict[str, Any]) -> None:
    last = stages[-1]
    port = only(last, "EXPOSE")
    command = json.loads(only(last, "CMD"))
    assert command[:2] == ["emoface", "serve"]
    assert command[command.index("--port") + 1] == port
    assert command[command.index("--host") + 1] == "0.0.0.0"
    check = json.loads(only(last, "HEALTHCHECK").partition("CMD ")[2])
    assert f"http://127.0.0.1:{port}/readyz" in check[-1]
    for service in compose["services"].values():
        assert [entry.rsplit(":", 1)[1] for entry in service["ports"]] == [port]


def test_the_health_check_fails_when_nothing_listens(stages: list[list[tuple[str, str]]]) -> None:
    command = json.loads(only(stages[-1], "HEALTHCHECK").partition("CMD ")[2])
    # Port 9 of the loopback is "discard", which nothing serves.
    code = command[-1].replace(":8000", ":9")
    result = subprocess.run([sys.executable, *command[1:-1], code], capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "URLError" in result.stderr


def test_the_context_is_what_the_wheel_is_made_of(stages: list[list[tuple[str, str]]]) -> None:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert patterns[0] == "*"
    allowed = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    assert allowed == {"pyproject.toml", "README.md", "emoface", "model", "service", "training", "weights"}


def test_hadolint_still_objects_to_an_unpinned_base() -> None:
    result = subprocess.run(
        [str(BIN / "hadolint"), "-"],
        input="FROM debian\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "DL3006" in result.stdout


# ---- docker-compose.yml ------------------------------------------------------------------------------------


def started(compose: dict[str, Any], *flags: str) -> set[str]:
    """What `docker compose [--profile FLAG]... up` starts: --profile replaces COMPOSE_PROFILES of .env."""
    settings = dict(line.split("=", 1) for line in (ROOT / ".env").read_text().splitlines() if line and line[0] != "#")
    active = set(flags) or set(settings["COMPOSE_PROFILES"].split(","))
    return {
        name
        for name, service in compose["services"].items()
        if not service.get("profiles") or active & set(service["profiles"])
    }


def test_one_service_starts_with_a_gpu_and_another_without(compose: dict[str, Any]) -> None:
    assert started(compose) == {"emoface"}
    assert started(compose, "gpu") == {"emoface"}
    assert started(compose, "cpu") == {"emoface-cpu"}


def test_only_the_default_service_asks_for_a_gpu(compose: dict[str, Any]) -> None:
    (device,) = compose["services"]["emoface"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert "deploy" not in compose["services"]["emoface-cpu"]


@pytest.mark.parametrize(("name", "device"), [("emoface", "cuda"), ("emoface-cpu", "cpu")])
def test_each_service_names_its_device(
    compose: dict[str, Any], name: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in compose["services"][name]["environment"].items():
        monkeypatch.setenv(variable, value)
    assert Settings.read().device == device


@pytest.mark.parametrize("name", ["emoface", "emoface-cpu"])
def test_the_container_has_no_rights_and_is_given_time_to_stop(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    grace = service["stop_grace_period"]
    assert int(grace.removesuffix("s")) > Settings.model_fields["grace_seconds"].default


def test_the_schema_check_objects_to_a_wrong_key(tmp_path: Path) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(text.replace("profiles: [cpu]", "profile: cpu"))
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(wrong)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "emoface-cpu" in result.stdout
