"""Settings: where they come from, and that a bad one is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.settings import Settings, SettingsError


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"EMOFACE_{name.upper()}", raising=False)


def test_given_values_win_over_the_environment_and_none_counts_as_not_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EMOFACE_PORT", "9001")
    monkeypatch.setenv("EMOFACE_HOST", "0.0.0.0")
    monkeypatch.setenv("EMOFACE_DEVICE", "")
    settings = Settings.read(port=9002, host=None, weights="w.safetensors")
    assert (settings.port, settings.host, settings.weights) == (9002, "0.0.0.0", Path("w.safetensors"))
    assert settings.device == "auto"


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("port", "abc", "a port from 0 to 65535"),
        ("port", "65536", "a port from 0 to 65535"),
        ("queue_limit", "0", "from 1 to"),
        ("encoder_threads", "0", "from 1 to 64"),
        ("grace_seconds", "-1", "from 0 to 3600"),
        ("device", "gpu", '"auto"'),
        ("log_level", "loud", '"warning"'),
        ("key_rate", "often", 'such as "100/minute"'),
        ("address_rate", "0/minute", 'such as "100/minute"'),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, rule: str
) -> None:
    monkeypatch.setenv(f"EMOFACE_{name.upper()}", value)
    with pytest.raises(SettingsError) as raised:
        Settings.read()
    sentence = str(raised.value)
    assert sentence.startswith(f"EMOFACE_{name.upper()} must be ")
    assert rule in sentence
    assert repr(value) in sentence
    assert "\n" not in sentence


def test_a_bad_value_that_was_given_is_called_by_its_own_name() -> None:
    with pytest.raises(SettingsError, match=r"^port must be a port from 0 to 65535"):
        Settings.read(port=-1)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_devices(device: str) -> None:
    assert Settings.read(device=device).device == device
