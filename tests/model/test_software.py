"""What is installed."""

from __future__ import annotations

from importlib.metadata import version

from model.software import installed_version


def test_what_is_installed_has_its_version_and_what_is_not_has_none():
    assert installed_version("torch") == version("torch")
    assert installed_version("no-such-package-anywhere") is None
