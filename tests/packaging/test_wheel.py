"""What `pip install` gets: every file of the five packages, and the requirements that their imports need."""

from __future__ import annotations

import ast
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("emoface", "model", "service", "training", "weights")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    built = next(WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"]))
    with zipfile.ZipFile(built) as archive:
        yield archive


def test_wheel_holds_every_file_of_the_packages_but_the_pair_to_train_on_and_nothing_else(
    wheel: zipfile.ZipFile,
) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } - {"weights/fer48-train.safetensors"}
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == expected


def test_wheel_ships_weights_their_card_and_the_recipes(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {"weights/fer48.safetensors", "weights/fer48.md"} <= names
    assert any(name.startswith("training/recipes/") and name.endswith(".toml") for name in names)
    assert wheel.getinfo("weights/fer48.safetensors").file_size <= 16 * 1024 * 1024


def test_wheel_says_that_it_is_typed(wheel: zipfile.ZipFile) -> None:
    # PEP 561: without it, mypy takes nothing that is annotated here for what it says.
    assert {f"{package}/py.typed" for package in PACKAGES if package != "weights"} <= set(wheel.namelist())


def test_wheel_installs_the_command(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "emoface = emoface.cli:main" in wheel.read(entry_points).decode().splitlines()


def imported(package: str) -> dict[str, str]:
    """Top-level names of all absolute imports below `package`, each with the first file that has it."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                found.setdefault(name.split(".")[0], str(path.relative_to(ROOT)))
    return found


def distributions(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


#: What each room may import beside the requirements of all, for what somebody asks for who has installed it.
_EXTRAS = {"emoface": ["client"], "model": ["onnx"], "service": ["traces", "c2pa"], "training": ["train"]}


@pytest.mark.parametrize("package", ["emoface", "model", "service", "training"])
def test_every_import_is_a_declared_requirement(package: str, project: dict[str, Any]) -> None:
    declared = distributions(project["dependencies"])
    for extra in _EXTRAS.get(package, []):
        declared |= distributions(project["optional-dependencies"][extra])
    owners = packages_distributions()
    undeclared = {
        name: file
        for name, file in imported(package).items()
        if name not in sys.stdlib_module_names
        and name not in PACKAGES
        and not declared & {canonicalize_name(owner) for owner in owners.get(name, [])}
    }
    assert undeclared == {}


def test_a_serving_host_installs_neither_training_nor_test_packages(project: dict[str, Any]) -> None:
    core = distributions(project["dependencies"])
    extras = project["optional-dependencies"]
    assert core.isdisjoint(distributions(extras["train"]) | distributions(extras["test"]))
