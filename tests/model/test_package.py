"""The room's front door."""

from __future__ import annotations

import subprocess
import sys

import pytest

import model


def test_everything_promised_is_there_and_nothing_else():
    for name in model.__all__:
        assert getattr(model, name).__module__.startswith("model.")
    with pytest.raises(AttributeError, match="no attribute 'Magic'"):
        model.Magic  # noqa: B018


def test_the_vocabulary_alone_loads_no_torch():
    probe = "import sys; from model import EmotionMix; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
