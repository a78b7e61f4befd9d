"""Configurations: through JSON and back, or one sentence that says why not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from model.emotions import FERPLUS
from model.networks.configs import (
    DISCRIMINATORS,
    GENERATORS,
    StyleGeneratorConfig,
    config_to_dict,
    discriminator_config,
    generator_config,
)


@pytest.mark.parametrize(("registry", "read"), [(GENERATORS, generator_config), (DISCRIMINATORS, discriminator_config)])
def test_every_architecture_comes_through_json_as_it_was(registry, read):
    assert set(registry) == {"style", "residual", "convolutional", "dense"}
    for architecture, cls in registry.items():
        config = cls(resolution=24, channels=3, emotions=FERPLUS, widths=(4, 5, 6))
        table = json.loads(json.dumps(config_to_dict(config)))
        assert table["architecture"] == architecture
        found = read(table)
        assert (type(found), found) == (cls, config)
        assert read({"architecture": architecture}) == cls()


NONSENSE = [
    (
        {"architecture": "cubist"},
        r"^architecture must be one of style, residual, convolutional, dense, not 'cubist'\.$",
    ),
    ({}, r"^architecture must be one of .*, not None\.$"),
    ({"architecture": "style", "wings": 2}, r"^wings is not a setting of style; known: resolution, channels, .*\.$"),
    ({"architecture": "dense", "w_dim": 2}, r"^w_dim is not a setting of dense; known: .*\.$"),
    ({"architecture": "style", "resolution": 48.0}, r"^resolution must be of type int, not 48\.0\.$"),
    ({"architecture": "style", "resolution": True}, r"^resolution must be of type int, not True\.$"),
    ({"architecture": "style", "resolution": 0}, r"^resolution must be from 1 to 65536, not 0\.$"),
    ({"architecture": "style", "channels": 2}, r"^channels must be 1 or 3, not 2\.$"),
    ({"architecture": "style", "widths": 8}, r"^widths must be a list of int, not 8\.$"),
    ({"architecture": "style", "widths": "88"}, r"^widths must be a list of int, not '88'\.$"),
    ({"architecture": "style", "widths": [8, "8"]}, r"^widths must be a list of int, not \[8, '8'\]\.$"),
    ({"architecture": "style", "widths": [16.0]}, r"^widths must be a list of int, not \[16\.0\]\.$"),
    ({"architecture": "style", "widths": [8, -8]}, r"^widths must be from 1 to 65536, not -8\.$"),
    ({"architecture": "style", "widths": []}, r"^widths must not be empty\.$"),
    ({"architecture": "style", "emotions": ["a", 1]}, r"^emotions must be a list of str, not \['a', 1\]\.$"),
    ({"architecture": "style", "emotions": ["a", "a"]}, r"^emotions must be distinct and at least one\.$"),
    ({"architecture": "style", "emotions": []}, r"^emotions must be distinct and at least one\.$"),
    ({"architecture": "residual", "latent_dim": -1}, r"^latent_dim must be from 1 to 65536, not -1\.$"),
]


@pytest.mark.parametrize(("table", "says"), NONSENSE)
def test_nonsense_is_refused_in_one_sentence(table, says):
    with pytest.raises(ValueError, match=says):
        generator_config(table)


def test_whole_numbers_may_stand_for_floats_and_flags_are_flags():
    dense = discriminator_config({"architecture": "dense", "dropout": 0})
    assert (type(dense.dropout), dense.dropout) == (float, 0.0)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"^spectral must be of type bool, not 1\.$"):
        discriminator_config({"architecture": "residual", "spectral": 1})


def test_a_generators_sizes_double_up_to_its_resolution():
    assert StyleGeneratorConfig().sizes() == (6, 12, 24, 48)
    assert StyleGeneratorConfig(resolution=64, widths=(8, 8)).sizes() == (32, 64)
    assert StyleGeneratorConfig(resolution=3, widths=(8,)).sizes() == (3,)


def test_configurations_and_weight_files_need_no_torch():
    probe = "import sys, model.networks.configs, model.weights, model.sampler; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
