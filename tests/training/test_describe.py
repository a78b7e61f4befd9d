"""Costs against counts made by hand."""

from __future__ import annotations

import pytest

from training.describe import describe_networks
from training.recipe import load_recipe, recipe_from_dict


def test_counts_of_a_residual_network_by_hand():
    recipe = recipe_from_dict(
        {
            "generator": {"network": {"architecture": "residual", "widths": [4, 2], "latent_dim": 3, "emotion_dim": 2}},
            "discriminator": {"network": {"architecture": "residual", "widths": [4, 6]}},
            "loss": {"identity": 0},
        }
    )
    rows = {
        name: (parameters, macs) for name, parameters, macs in describe_networks(recipe, 8, 1, ("neutral", "happy"))
    }
    style = 3 + 2
    embed, dense = 2 * 2, 3 * 4 * 4
    affine = style * 2 * (4 + 2 + 2)
    convs_small, convs_large = 4 * 2 * 9, 2 * 2 * 9
    skip, head = 4 * 2, 2 * 4 * 9
    parameters = embed + (dense + 16) + (affine + 2 * 8) + (convs_small + 2) + (convs_large + 2) + skip + (head + 4)
    macs = embed + dense + affine + convs_small * 4 + convs_large * 16 + skip * 4 + head * 16
    assert rows["generator"] == (parameters, macs)
    stem, conv1, conv2, short = 4 * 4 * 9, 4 * 4 * 9, 4 * 6 * 9, 4 * 6
    heads = 6 * 1 + 2 * 6 + 6 * 2
    parameters = (stem + 4) + (conv1 + 4) + (conv2 + 6) + (short + 6) + heads + 1 + 2
    spectral = 4 * 36 + 4 * 36 + 6 * 36 + 6 * 4 + 6 + 12
    macs = 16 * (stem + conv1 + conv2 + short) + heads
    assert rows["discriminator"][0] == parameters
    assert 0 <= rows["discriminator"][1] - macs <= spectral  # the norms' own products may be counted or not


def test_counts_of_a_style_based_network_by_hand():
    recipe = recipe_from_dict(
        {
            "generator": {"network": {"widths": [4, 2], "latent_dim": 3, "w_dim": 5, "emotion_dim": 6}},
            "discriminator": {"network": {"widths": [4, 6], "projection_dim": 7, "identity_dim": 9}},
        }
    )
    rows = {
        name: (parameters, macs) for name, parameters, macs in describe_networks(recipe, 8, 1, ("neutral", "happy"))
    }
    constant, mapping, embed = 4 * 4 * 4, 3 * 5 + 5 * 5, 2 * 6
    inputs = 4 + 4 + 4 + 2 + 2  # feature maps that go into conv and to_image at 4x4, and into up, conv, to_image at 8x8
    styles = inputs * (5 + 6)
    small, up, large = 4 * 4 * 9, 4 * 2 * 9, 2 * 2 * 9
    biases = (5 + 5) + inputs + (4 + 1) + (2 + 2 + 1)
    weights = mapping + embed + styles + small + 4 + up + large + 2
    # The squared styles times the squared weights of each demodulated layer; a transposed convolution spends the whole
    # kernel on each of the pixels that go into it.
    demodulation = 4 * 4 + 4 * 2 + 2 * 2
    macs = mapping + embed + styles + demodulation + (small + 4) * 16 + up * 16 + (large + 2) * 64
    assert rows["generator"] == (constant + weights + biases, macs)
    stem, conv, down, skip, epilogue = 4, 4 * 4 * 9, 4 * 6 * 9, 4 * 6, 7 * 6 * 9
    dense, heads, told = 6 * 16 * 6, 6 * (1 + 7 + 2 + 9), 2 * 7
    weights = stem + conv + down + skip + epilogue + dense + heads + told
    biases = 4 + 4 + 6 + 6 + 6 + (1 + 7 + 2 + 9)
    macs = (stem + conv) * 64 + (down + skip + epilogue) * 16 + dense + heads + told
    assert rows["discriminator"] == (weights + biases, macs)


@pytest.mark.parametrize(
    ("name", "generator", "discriminator"), [("fer48", 3_090_244, 14_435_017), ("hinge", 3_310_340, 1_781_769)]
)
def test_the_recipes_that_ship_are_as_large_as_their_documentation_says(name, generator, discriminator):
    rows = {name: parameters for name, parameters, _ in describe_networks(load_recipe(name))}
    assert rows == {"generator": generator, "discriminator": discriminator}


def test_counts_of_a_dense_and_of_a_convolutional_network_by_hand():
    tables = {}
    for kind in ("dense", "convolutional"):
        recipe = recipe_from_dict(
            {
                "generator": {"network": {"architecture": kind, "widths": [4, 2], "latent_dim": 3, "emotion_dim": 5}},
                "discriminator": {
                    "network": {"architecture": kind, "widths": [4, 6]}
                    | ({"emotion_dim": 5} if kind == "dense" else {})
                },
                "loss": {"classify_real": 0, "classify_fake": 0, "identity": 0, "r1": 0},
            }
        )
        rows = describe_networks(recipe, 8, 3, ("neutral", "happy"))
        tables[kind] = {name: (parameters, macs) for name, parameters, macs in rows}
    pixels = 3 * 8 * 8
    macs = 2 * 5 + 3 * 4 + (4 + 5) * 2 + 2 * pixels  # the embedding, two hidden layers and the head
    assert tables["dense"]["generator"] == (macs + 2 * (4 + 2) + pixels, macs)
    macs = 2 * 5 + pixels * 4 + (4 + 5) * 6 + 6
    assert tables["dense"]["discriminator"] == (macs + 4 + 6 + 1, macs)
    kernels = (4 + 5) * 2 * 16, 2 * 3 * 16  # from 2x2 to 4x4, and to 8x8
    linear = 2 * 5 * 4 + 3 * 4 * 4
    assert tables["convolutional"]["generator"] == (
        linear + sum(kernels) + 2 * (4 + 2) + 3,
        linear + kernels[0] * 4 + kernels[1] * 16,  # each input pixel meets the whole kernel
    )
    kernels = 3 * 4 * 16, 4 * 6 * 16
    linear = 6 * 4 + 2 * 6 * 4
    assert tables["convolutional"]["discriminator"] == (
        linear + sum(kernels) + 2 * 6 + 4 + 1,
        linear + kernels[0] * 16 + kernels[1] * 4,
    )
