"""Costs against counts made by hand."""

from __future__ import annotations

from training.describe import describe_networks
from training.recipe import load_recipe, recipe_from_dict


def test_counts_of_a_network_small_enough_to_count_by_hand():
    recipe = recipe_from_dict(
        {"generator": {"widths": [4, 2], "latent_dim": 3, "emotion_dim": 2}, "discriminator": {"widths": [4, 6]}}
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


def test_the_shipped_recipe_is_as_large_as_its_documentation_says():
    rows = {name: parameters for name, parameters, _ in describe_networks(load_recipe("hinge"))}
    assert rows == {"generator": 3_310_340, "discriminator": 1_781_769}


def test_counts_of_a_dense_and_of_a_convolutional_network_by_hand():
    tables = {}
    for kind in ("dense", "convolutional"):
        recipe = recipe_from_dict(
            {
                "generator": {"architecture": kind, "widths": [4, 2], "latent_dim": 3, "emotion_dim": 5},
                "discriminator": {"architecture": kind, "widths": [4, 6], "emotion_dim": 5},
                "loss": {"classify_real": 0, "classify_fake": 0},
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
