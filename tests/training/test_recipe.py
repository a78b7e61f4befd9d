"""A recipe is data, and what is not a recipe is refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import training
from training.recipe import Recipe, RecipeError, load_recipe, recipe_from_dict

SHIPPED = sorted(path.stem for path in (Path(training.__file__).parent / "recipes").glob("*.toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_loads_under_its_name(name):
    assert load_recipe(name).name == name


def test_a_recipe_survives_json():
    recipe = load_recipe("hinge")
    assert recipe_from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_a_file_overrides_only_what_it_names(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("seed = 3\n[generator]\nlr = 1\nwidths = [8, 8]\n[schedule]\nbatch = 16\n")
    recipe = load_recipe(path)
    assert (recipe.name, recipe.seed, recipe.schedule.batch) == ("mine", 3, 16)
    assert (recipe.generator.lr, recipe.generator.widths) == (1.0, (8, 8))
    assert recipe.discriminator == Recipe().discriminator


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lr = 1", "lr is not a setting; known here: name, seed"),
        ("[generator]\nheads = 2", r"generator\.heads is not a setting; known here: architecture"),
        ("generator = 3", "generator must be a table"),
        ('seed = "one"', "seed must be of type int, not str"),
        ("[schedule]\nbatch = true", r"schedule\.batch must be of type int, not bool"),
        ("[schedule]\nbatch = 1", r"schedule\.batch must be at least 2"),
        ('precision = "int8"', "precision must be 'bfloat16' or 'float32'"),
        ('[loss]\nkind = "wgan"', r"loss\.kind must be one of hinge, bce, relativistic, not 'wgan'"),
        ("[schedule]\ntick_kimg = 0", r"schedule\.tick_kimg must be above 0, not 0\.0"),
        ("[schedule]\ntotal_kimg = inf", r"schedule\.total_kimg must be above 0"),
        ("[loss]\nclassify_fake = -0.1", r"loss\.classify_fake must be 0 or above 0"),
        ("[generator]\nlr = nan", r"generator\.lr must be above 0"),
        ("[generator]\nlatent_dim = 0", r"generator\.latent_dim must be above 0"),
        ("[generator]\nwidths = []", r"generator\.widths must be whole numbers above 0"),
        ('[generator]\nwidths = ["a"]', r"generator\.widths must be whole numbers above 0"),
        ("[discriminator]\nbetas = [0.5]", r"discriminator\.betas must be two numbers"),
        (
            '[generator]\narchitecture = "cubist"',
            r"generator\.architecture must be one of residual, dense, convolutional",
        ),
        ("[discriminator]\ndropout = 1", r"discriminator\.dropout must be below 1, not 1\.0"),
        ('[discriminator]\narchitecture = "dense"', r"loss\.classify_real must be 0: a dense discriminator only tells"),
        (
            '[discriminator]\narchitecture = "convolutional"\n[loss]\nclassify_real = 0\nclassify_fake = 0\nr2 = 1\n',
            r"loss\.r2 must be 0: a convolutional discriminator has batch norm, which mixes images\.",
        ),
        ("[loss]\npenalty_every = 0", r"loss\.penalty_every must be above 0, not 0"),
        ("[loss]\nr1 = -1", r"loss\.r1 must be 0 or above 0"),
        ("[loss]\npenalty_every = 1.5", r"loss\.penalty_every must be of type int"),
        ("[augment]\nramp_kimg = 5", r"augment\.ramp_kimg needs augment\.target = 0"),
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
