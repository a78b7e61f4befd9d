"""A recipe is data, and what is not a recipe is refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import training
from model.networks.configs import DenseDiscriminatorConfig, StyleGeneratorConfig
from training.recipe import Recipe, RecipeError, load_recipe, recipe_from_dict
from training.trainer import lr_factor

SHIPPED = sorted(path.stem for path in (Path(training.__file__).parent / "recipes").glob("*.toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_loads_under_its_name(name):
    assert load_recipe(name).name == name


@pytest.mark.parametrize("name", SHIPPED)
def test_a_recipe_survives_json(name):
    recipe = load_recipe(name)
    assert recipe_from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_what_the_data_set_decides_is_in_no_recipe_and_comes_from_it():
    recipe = load_recipe("fer48")
    for part in ("generator", "discriminator"):
        assert not {"resolution", "channels", "emotions"} & recipe.to_dict()[part]["network"].keys()
    for config in (recipe.generator_config(24, 3, ("a", "b")), recipe.discriminator_config(24, 3, ("a", "b"))):
        assert (config.resolution, config.channels, config.emotions) == (24, 3, ("a", "b"))


def test_a_file_overrides_only_what_it_names(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("seed = 3\n[generator]\nlr = 1\n[generator.network]\nwidths = [8, 8]\n[schedule]\nbatch = 16\n")
    recipe = load_recipe(path)
    assert (recipe.name, recipe.seed, recipe.schedule.batch) == ("mine", 3, 16)
    assert recipe.generator.lr == 1.0
    assert recipe.generator.network == StyleGeneratorConfig(widths=(8, 8))
    assert recipe.discriminator == Recipe().discriminator


def test_the_architecture_decides_which_settings_a_network_has():
    table = {"architecture": "dense", "widths": [8], "dropout": 0.5}
    losses = {"classify_real": 0, "classify_fake": 0, "identity": 0}
    recipe = recipe_from_dict({"discriminator": {"network": table}, "loss": losses})
    assert recipe.discriminator.network == DenseDiscriminatorConfig(widths=(8,), dropout=0.5)


@pytest.mark.parametrize("name", ["dense", "dcgan"])
def test_the_classic_recipes_say_what_their_papers_say(name):
    recipe = load_recipe(name)
    for part in (recipe.generator, recipe.discriminator):
        assert (part.lr, part.betas) == ({"dense": 1e-4, "dcgan": 2e-4}[name], (0.5, 0.999))
        assert part.network.architecture == {"dense": "dense", "dcgan": "convolutional"}[name]
    assert recipe.loss.kind == "bce"
    assert (recipe.augment.target, recipe.schedule.ema_halflife_kimg, recipe.schedule.rampup_kimg) == (0, 0, 0)
    assert lr_factor(recipe, 0) == lr_factor(recipe, 10**9) == 1
    assert not recipe.data.flip  # a mirrored 3 is no digit
    for resolution in range(16, 65, 8):
        for channels in (1, 3):
            for config in (recipe.generator_config, recipe.discriminator_config):
                assert config(resolution, channels, ("neutral", "happy")).resolution == resolution


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lr = 1", "lr is not a setting; known here: name, seed"),
        ("[generator]\nwidths = [8]", r"generator\.widths is not a setting; known here: network, lr, betas"),
        ("[generator.network]\nheads = 2", r"generator\.network: heads is not a setting of style; known: resolution"),
        ("[generator]\nnetwork = 2", r"generator\.network must be a table"),
        ("generator = 3", "generator must be a table"),
        ('seed = "one"', "seed must be of type int, not str"),
        ("[schedule]\nbatch = true", r"schedule\.batch must be of type int, not bool"),
        ("[schedule]\nbatch = 1", r"schedule\.batch must be at least 2"),
        ("[schedule]\nbatch = 9", r"schedule\.batch must be at least 2, and even where loss\.identity pairs"),
        ('precision = "int8"', "precision must be one of bfloat16, float32, not 'int8'"),
        ('[loss]\nkind = "wgan"', r"loss\.kind must be one of bce, hinge, not 'wgan'"),
        ('[data]\nlabels = "mine"', r"data\.labels must be one of votes, packed, not 'mine'"),
        ("[data]\nhard_labels = 1.5", r"data\.hard_labels must be from 0 to 1, not 1\.5"),
        ("[augment]\nmaximum = 2", r"augment\.maximum must be from 0 to 1, not 2\.0"),
        ("[schedule]\ntick_kimg = 0", r"schedule\.tick_kimg must be above 0, not 0\.0"),
        ("[schedule]\ntotal_kimg = inf", r"schedule\.total_kimg must be above 0"),
        ("[loss]\nclassify_fake = -0.1", r"loss\.classify_fake must be 0 or above"),
        ("[loss]\nidentity_temperature = 0", r"loss\.identity_temperature must be above 0"),
        ("[generator]\nlr = nan", r"generator\.lr must be above 0"),
        ("[generator.network]\nlatent_dim = 0", r"generator\.network: latent_dim must be from 1 to 65536, not 0"),
        ("[generator.network]\nlatent_dim = 1.5", r"generator\.network: latent_dim must be of type int, not 1\.5"),
        ("[generator.network]\nwidths = []", r"generator\.network: widths must not be empty"),
        ('[generator.network]\nwidths = ["a"]', r"generator\.network: widths must be a list of int"),
        ("[generator.network]\nresolution = 64", r"generator\.network\.resolution is not a setting: the data set"),
        ("[discriminator]\nbetas = [0.5]", "betas must be two numbers from 0 to below 1"),
        (
            '[generator.network]\narchitecture = "cubist"',
            r"generator\.network: architecture must be one of style, residual, convolutional, dense, not 'cubist'",
        ),
        (
            '[discriminator.network]\narchitecture = "dense"',
            r"loss\.classify_real must be 0: a dense discriminator does not offer it",
        ),
        (
            '[discriminator.network]\narchitecture = "residual"',
            r"loss\.identity must be 0: a residual discriminator does not offer it",
        ),
        (
            '[discriminator.network]\narchitecture = "convolutional"\n'
            "[loss]\nclassify_real = 0\nclassify_fake = 0\nidentity = 0\n",
            r"loss\.r1 must be 0: a convolutional discriminator does not offer it",
        ),
        ("[loss]\nr1_every = 0", r"loss\.r1_every must be above 0, not 0"),
        ("[loss]\nr1 = -1", r"loss\.r1 must be 0 or above"),
        ("[loss]\nr1_every = 1.5", r"loss\.r1_every must be of type int"),
        ('name = "a/b"', "name must be 1 to 64 letters"),
        ("seed =", "not valid TOML"),
    ],
)
def test_a_wrong_recipe_is_one_sentence(tmp_path, text, says):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=says):
        load_recipe(path)


def test_an_unknown_recipe_lists_those_that_ship():
    with pytest.raises(RecipeError, match=r"no recipe 'nope'; name a \.toml file or one of: .*hinge"):
        load_recipe("nope")
