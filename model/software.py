"""What is installed: faces depend on what computes them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version(name: str) -> str | None:
    """Return the version of the package ``name`` as its metadata tell it; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
