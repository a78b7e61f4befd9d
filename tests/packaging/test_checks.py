"""What `make run`, `make test` and CI call once everything is set up: each check, the browser, and nothing less."""

from __future__ import annotations

import os

import pytest

from tests.packaging.machine import ROOT, Machine, sentence


def test_make_run_hands_host_and_port_on(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    machine.setup()
    emoface = machine.repo / ".venv" / "bin" / "emoface"
    emoface.write_text('#!/bin/sh\necho "emoface $*"\n')
    emoface.chmod(0o755)
    result = machine.run("make", "run", "HOST=0.0.0.0", "PORT=9000", HOST="a-shell-sets-this")
    assert result.stdout.splitlines()[-1] == "emoface serve --host 0.0.0.0 --port 9000"
    default = machine.run("make", "run", HOST="a-shell-sets-this")
    assert default.stdout.splitlines()[-1] == "emoface serve --host 127.0.0.1 --port 8000"


def test_make_test_stops_where_the_setup_fails(machine: Machine) -> None:
    machine.python("python3", "3.9.2")
    result = machine.run("make", "test")
    assert result.returncode != 0
    assert "Python 3.11 or newer is needed" in result.stderr
    assert "ruff" not in result.stdout


CHECKS = ("ruff", "mypy", "lint-imports", "hadolint", "check-jsonschema", "python")


def stand_in_checks(machine: Machine, **status: int) -> None:
    folder = machine.repo / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in CHECKS:
        (folder / name).write_text(f'#!/bin/sh\necho "ran {name} $*"\nexit {status.get(name, 0)}\n')
        (folder / name).chmod(0o755)


def test_every_check_runs_and_one_failure_fails_all(machine: Machine) -> None:
    stand_in_checks(machine, mypy=1)
    result = machine.run("scripts/check.sh")
    assert result.returncode == 1
    assert {line.split()[1] for line in result.stdout.splitlines() if line.startswith("ran ")} == set(CHECKS)
    assert result.stderr.splitlines()[-1] == "emoface: failed: mypy"


def test_checks_that_all_pass_pass(machine: Machine) -> None:
    stand_in_checks(machine)
    assert machine.run("scripts/check.sh").returncode == 0


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_that_cannot_run_fails(machine: Machine, name: str) -> None:
    stand_in_checks(machine)
    (machine.repo / ".venv" / "bin" / name).unlink()
    assert machine.run("scripts/check.sh").returncode == 1


def test_a_missing_browser_is_one_sentence(machine: Machine) -> None:
    assert "install one" in sentence(machine.run("scripts/chromium.sh"))


@pytest.mark.parametrize("name", ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"])
def test_a_browser_that_is_there_is_enough(machine: Machine, name: str) -> None:
    machine.tool(name, "#!/bin/sh\n")
    result = machine.run("scripts/chromium.sh")
    assert (result.returncode, result.stdout) == (0, "")


def test_ci_runs_the_command_of_the_readme_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands == ["set -eu", 'cd "$(dirname "$0")/.."', "exec make test"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
