"""The import-linter contracts of pyproject.toml hold, and each really fails on what it forbids."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINTER = Path(sys.executable).parent / "lint-imports"


FORBIDDEN = [
    ("model", "service"),
    ("model", "training"),
    ("model", "emoface"),
    ("model", "fastapi"),
    ("model", "torchvision"),
    ("service", "training"),
    ("service", "emoface"),
    ("service", "torchvision"),
    ("training", "service"),
    ("training", "fastapi"),
]


def lint(folder: Path, trespasses: list[tuple[str, str]]) -> subprocess.CompletedProcess[str]:
    """Run import-linter on a copy of the rooms in `folder`, with one module more for each (package, import)."""
    for name in ("emoface", "model", "service", "training"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package, forbidden in trespasses:
        (folder / package / f"to_{forbidden}.py").write_text(f"import {forbidden}\n")
    command = [str(LINTER), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_arrows_hold(tmp_path: Path) -> None:
    result = lint(tmp_path, [])
    assert result.returncode == 0, result.stdout


@pytest.fixture(scope="module")
def trespassing(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    return lint(tmp_path_factory.mktemp("trespassing"), FORBIDDEN)


@pytest.mark.parametrize(("package", "forbidden"), FORBIDDEN)
def test_a_forbidden_import_fails(trespassing: subprocess.CompletedProcess[str], package: str, forbidden: str) -> None:
    assert trespassing.returncode != 0
    assert f"{package}.to_{forbidden} -> {forbidden}" in trespassing.stdout
