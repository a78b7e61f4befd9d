"""What is done before the first request."""

from __future__ import annotations

import logging
import re

import pytest

from service.app import load_sampler
from service.main import _warm
from service.settings import Settings


def test_the_log_says_what_was_chosen_and_how_fast_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    _warm(load_sampler(Settings(device="cpu", threads=1, batch_size=2)))
    drawing, speed = (record.getMessage() for record in caplog.records)
    assert drawing == "OpenVINO draws in float32 with 1 threads"
    assert re.fullmatch(r"fer48 draws on cpu in float32: 1 in \d+\.\d ms, 2 in \d+\.\d ms", speed)
