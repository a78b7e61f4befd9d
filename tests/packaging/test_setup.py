"""scripts/venv.sh as a new machine meets it: what it refuses, what it asks of pip, and when it asks nothing.

And scripts/promtool.sh, which puts a tool that pip does not have beside those that it has.
"""

from __future__ import annotations

import shutil
import subprocess
import venv
from pathlib import Path

import pytest

from tests.packaging.machine import ROOT, Machine, sentence


def test_a_python_that_is_too_old_is_one_sentence(machine: Machine) -> None:
    machine.python("python3", "3.9.2")
    assert "Python 3.11 or newer is needed, but python3 is 3.9.2" in sentence(machine.setup())
    assert not (machine.repo / ".venv").exists()


def test_no_python_at_all_is_one_sentence(machine: Machine) -> None:
    assert "no Python was found" in sentence(machine.setup())


def test_a_python_without_venv_is_one_sentence_that_says_what_to_install(machine: Machine) -> None:
    machine.python("python3", "3.11.2", bare=True)
    assert "apt-get install python3-venv" in sentence(machine.setup())


def test_a_newer_python_beside_an_old_one_is_taken(machine: Machine) -> None:
    machine.python("python3", "3.9.2")
    machine.python("python3.11", "3.11.4")
    machine.python("python3.13", "3.13.1")
    result = machine.setup()
    assert result.returncode == 0, result.stderr
    assert "Python 3.13.1" in result.stdout


def test_a_launcher_with_nothing_behind_it_is_passed_over(machine: Machine) -> None:
    machine.tool("python3", "#!/bin/sh\nexit 127\n")
    machine.python("python3.12", "3.12.1")
    assert "Python 3.12.1" in machine.setup().stdout


def test_the_named_python_is_the_only_one_asked(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    named = machine.python("my python", "3.10.1")
    assert f"{named} is 3.10.1" in sentence(machine.setup(PYTHON=str(named)))


def test_no_disk_is_one_sentence_before_anything_is_made(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    machine.disk(free_mb=1234)
    assert "1234 MB are left" in sentence(machine.setup())
    assert not (machine.repo / ".venv").exists()


def test_a_disk_that_fills_up_is_named_as_the_cause(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    machine.pip.write_text(f'printf "#!/bin/sh\\necho h\\necho d 1 1 10240 1%% /\\n" >"{machine.bin}/df"; exit 1\n')
    assert "the disk is full (10 MB left" in sentence(machine.setup())


def test_the_second_run_calls_no_pip(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    for use, extras in (("serve", "."), ("test", ".[train,identity,test]")):
        assert machine.setup(use).returncode == 0
        assert machine.installs() == [extras]
        assert machine.setup(use).returncode == 0
        assert machine.installs() == []


def test_what_the_tests_need_is_enough_to_serve(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    machine.setup("test")
    machine.installs()
    machine.setup("serve")
    assert machine.installs() == []


def test_a_change_of_pyproject_installs_again(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    machine.setup("test")
    machine.installs()
    with (machine.repo / "pyproject.toml").open("a") as file:
        file.write("\n# changed\n")
    machine.setup("serve")
    machine.setup("test")
    assert machine.installs() == [".", ".[train,identity,test]"]


def test_a_moved_checkout_installs_again(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    machine.setup()
    machine.installs()
    machine.repo = machine.repo.rename(machine.repo.with_name("moved"))
    machine.setup()
    assert machine.installs() == ["."]


def test_an_installation_that_failed_is_tried_again_without_starting_over(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    machine.pip.write_text("exit 1\n")
    assert "check the network" in sentence(machine.setup())
    (machine.repo / ".venv" / "kept").touch()
    machine.pip.write_text("")
    assert machine.setup().returncode == 0
    assert machine.installs() == [".", "."]
    assert (machine.repo / ".venv" / "kept").exists()


@pytest.mark.parametrize("whole", [True, False])
def test_an_installation_that_was_killed_starts_over_if_it_left_halves(machine: Machine, whole: bool) -> None:
    machine.python("python3", "3.12.1", whole=whole)
    machine.pip.write_text("kill -9 $PPID; kill -9 $$\n")
    assert machine.setup().returncode != 0
    (machine.repo / ".venv" / "left").touch()
    machine.pip.write_text("")
    result = machine.setup()
    assert result.returncode == 0
    assert ("is not whole; making it anew" in result.stdout) is not whole
    assert (machine.repo / ".venv" / "left").exists() is whole
    assert machine.installs() == [".", "."]
    assert [path.name for path in machine.repo.iterdir() if path.name.startswith(".venv")] == [".venv"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real environment, with pip in it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    return folder


def test_halves_are_seen(environment: Path) -> None:
    command = [environment / "bin" / "python", ROOT / "scripts" / "whole.py"]
    pip = next(environment.glob("lib/python*/site-packages/pip"))
    file, record = pip / "__init__.py", next(pip.parent.glob("pip-*.dist-info")) / "RECORD"

    def verdict() -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr

    assert verdict() == ""
    shutil.rmtree(pip / "__pycache__")
    assert verdict() == ""
    text = file.read_text()
    file.write_text(text[:-1])
    assert verdict() == "pip lacks pip/__init__.py.\n"
    file.unlink()
    assert verdict() == "pip lacks pip/__init__.py.\n"
    file.write_text(text)
    assert verdict() == ""
    record.unlink()
    assert verdict() == "pip has no list of its files.\n"


def test_an_environment_whose_python_is_gone_starts_over(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    machine.setup()
    machine.installs()
    (machine.repo / ".venv" / "bin" / "python").unlink()
    assert machine.setup().returncode == 0
    assert machine.installs() == ["."]


# ---- scripts/promtool.sh -------------------------------------------------------------------------------------

APT = """#!/bin/sh
echo "$*" >>"{log}"
case "$*" in
*update*) : >"{lists}" ;;
*'download prometheus') [ -e "{lists}" ] && : >prometheus_2.42.0_amd64.deb ;;
*) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""
DPKG = """#!/bin/sh
[ "$1" = -x ] && [ -e "$2" ] && mkdir -p "$3/usr/bin" && cp "{promtool}" "$3/usr/bin/promtool"
"""


@pytest.fixture
def debian(machine: Machine) -> Machine:
    """A machine with apt-get and dpkg-deb, whose package holds a promtool; apt's lists have been fetched."""
    promtool = machine.tool("in-the-package", "#!/bin/sh\n")
    lists = machine.bin.parent / "lists"
    lists.touch()
    machine.tool("apt-get", APT.format(log=machine.log, lists=lists))
    machine.tool("dpkg-deb", DPKG.format(promtool=promtool))
    return machine


def fetches(machine: Machine) -> list[str]:
    """What apt-get was asked to do since the last time this was called, without its options."""
    lines = [line.rpartition("User=root ")[2] for line in machine.log.read_text().splitlines()]
    machine.log.write_text("")
    return lines


def test_a_missing_promtool_is_one_sentence(machine: Machine) -> None:
    assert "in its package prometheus" in sentence(machine.run("scripts/promtool.sh"))


def test_a_promtool_that_is_there_is_enough(debian: Machine) -> None:
    debian.tool("promtool", "#!/bin/sh\n")
    result = debian.run("scripts/promtool.sh")
    assert (result.returncode, result.stdout, fetches(debian)) == (0, "", [])


def test_promtool_is_fetched_once_and_not_installed(debian: Machine) -> None:
    for expected in (["download prometheus"], []):
        result = debian.run("scripts/promtool.sh")
        assert (result.returncode, result.stderr) == (0, "")
        assert fetches(debian) == expected
        assert {path.name for path in (debian.repo / ".venv").rglob("*")} == {"bin", "promtool"}


def test_a_promtool_that_does_not_run_is_fetched_again(debian: Machine) -> None:
    half = debian.repo / ".venv" / "bin" / "promtool"
    half.parent.mkdir(parents=True)
    half.write_text("exit 1\n")
    half.chmod(0o755)
    assert debian.run("scripts/promtool.sh").returncode == 0
    assert fetches(debian) == ["download prometheus"]
    assert half.read_text() == "#!/bin/sh\n"


def test_lists_are_fetched_where_there_are_none(debian: Machine) -> None:
    debian.tool("sudo", '#!/bin/sh\nshift\nexec "$@"\n')  # for those who run this as somebody else than root
    (debian.bin.parent / "lists").unlink()
    result = debian.run("scripts/promtool.sh")
    assert (result.returncode, result.stderr) == (0, "")
    assert fetches(debian) == ["download prometheus", "update -qq", "download prometheus"]


@pytest.mark.parametrize("broken", ["apt-get", "dpkg-deb", "sudo"])
def test_a_promtool_that_cannot_be_had_is_one_sentence(debian: Machine, broken: str) -> None:
    debian.tool("id", "#!/bin/sh\necho 1000\n")
    debian.tool("sudo", "#!/bin/sh\nexit 1\n")
    if broken == "sudo":
        (debian.bin.parent / "lists").unlink()
    else:
        debian.tool(broken, "#!/bin/sh\nexit 1\n")
    assert "get it" in sentence(debian.run("scripts/promtool.sh"))
    assert not (debian.repo / ".venv" / "promtool.new").exists()
