"""Which latents become people: those whose faces guides find nearer to real ones."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emoface.reweight import reweight as verb
from model.generator import Generator, GeneratorConfig
from model.sampler import FaceSampler
from model.weights import load_generator, save_weights
from tests.cli.running import in_process
from training.data.packed import load_packed
from training.judge import JudgeConfig, JudgeNetwork
from training.judge_training import train_judge
from training.recipe import recipe_from_dict
from training.reweight import Reweighting, reweight
from training.start import start_from
from training.trainer import Trainer

HOW = Reweighting(people=1600, widths=(16, 8), rate=0.3, steps=120, batch=1024, lr=1e-2, decay=0.0)


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    made = Generator(GeneratorConfig(resolution=16, latent_dim=8, emotion_dim=4, widths=(16, 16)))
    with torch.no_grad():  # untrained, its faces hardly differ
        for parameter in made.parameters():
            parameter.mul_(2)
    made.train()(torch.randn(256, 8), torch.eye(7)[torch.arange(256) % 7])
    return made.eval()


@pytest.fixture(scope="module")
def guide(faces: Path) -> JudgeNetwork:
    """A guide that has begun to learn, with attributes of which nobody knows what they mean."""
    data = load_packed(faces)
    config = JudgeConfig(data.emotions, 16, 1, widths=(8, 16), epochs=2.0, batch=32)
    judge = train_judge(data.images, data.labels, data.given, config)
    made = JudgeNetwork(replace(config, attributes=("Male", "Smiling", "Young", "Bald")))
    made.load_state_dict(judge.network.state_dict(), strict=False)
    return made.eval().requires_grad_(False)


def test_accepted_people_are_nearer_to_real_faces_and_the_generator_stays(generator, guide, faces):
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    made, told = reweight(generator, load_packed(faces), [guide], replace(HOW, emotion=0.0, identity=0.0))
    assert 0.25 < told["accepted"] < 0.9
    (figures,) = told["guides"]
    assert figures["accepted"]["frechet"] < 0.98 * figures["all"]["frechet"]  # of people it was not fitted to
    assert made.config == replace(generator.config, acceptance=(16, 8))
    for name, tensor in made.state_dict().items():
        assert name.startswith("acceptance.") or torch.equal(tensor, before[name])
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())


@pytest.mark.parametrize(
    ("how", "figure", "sign"),
    [(replace(HOW, emotion=60.0), "wrong", -1), (replace(HOW, identity=60.0), "alike", 1)],
)
def test_what_weighs_more_gets_better(generator, guide, faces, how, figure, sign):
    made, told = reweight(generator, load_packed(faces), [guide], how)
    (figures,) = told["guides"]
    assert sign * figures["accepted"][figure] > sign * figures["all"][figure]
    assert made.acceptance is not None


def test_the_same_settings_give_the_same_file_and_another_seed_another(generator, guide, faces, tmp_path):
    def digest(how: Reweighting) -> str:
        return save_weights(tmp_path / "made.safetensors", reweight(generator, load_packed(faces), [guide], how)[0], {})

    how = replace(HOW, people=200, steps=10)
    assert digest(how) == digest(how) != digest(replace(how, seed=1))


def test_weights_can_be_fitted_again_and_trained_on(generator, guide, faces, tmp_path):
    how = replace(HOW, people=200, steps=10)
    once, told = reweight(generator, load_packed(faces), [guide], how)
    twice, again = reweight(once, load_packed(faces), [guide], how)
    assert told == again  # what it accepted before has no part in it
    path = tmp_path / "made.safetensors"
    save_weights(path, twice, {"images_seen": 5})
    shape = {"widths": [16, 16], "latent_dim": 8, "emotion_dim": 4}
    recipe = recipe_from_dict({"name": "on", "generator": shape, "discriminator": {"widths": [8, 16, 16]}})
    trainer = Trainer(recipe, 16, 1, generator.config.emotions, "cpu")
    assert start_from(path, trainer)["images_seen"] == 5
    stored, here = load_generator(path)[0].state_dict(), trainer.generator.state_dict()
    assert torch.equal(here["head.weight"], stored["head.weight"])


def test_the_verb_writes_weights_that_say_how(generator, guide, faces, tmp_path):
    from training.judge import Judge

    save_weights(tmp_path / "plain.safetensors", generator, {"images_seen": 7})
    Judge(guide, {"kind": "g"}).save(tmp_path / "guide.safetensors")
    out = tmp_path / "out.safetensors"
    options = ["--data", str(faces), "--guides", str(tmp_path / "guide.safetensors"), "--people", "200"]
    done = in_process("reweight", str(tmp_path / "plain.safetensors"), *options, "-o", str(out), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    made, card, sha256 = load_generator(out)
    assert made.acceptance is not None
    assert card["images_seen"] == 7
    assert card["reweighted"]["accepted"] == told["accepted"]
    assert told["sha256"] == sha256
    assert FaceSampler.load(out, "cpu").latent(3).shape == (8,)
    plain = in_process("reweight", str(out), *options, "-o", str(out))
    assert plain.exit_code == 0
    assert "frechet" in plain.stdout


@pytest.mark.parametrize(
    ("options", "why"),
    [(["--guides", "nobody.safetensors"], "nobody.safetensors"), (["--guides", ""], "guide")],
)
def test_the_verb_says_in_a_sentence_what_is_wrong(generator, faces, tmp_path, options, why):
    save_weights(tmp_path / "plain.safetensors", generator, {})
    done = in_process(
        "reweight", str(tmp_path / "plain.safetensors"), "--data", str(faces), "-o", str(tmp_path / "o"), *options
    )
    assert done.exit_code == 1
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("setting", [{"people": 10}, {"rate": 0.0}, {"rate": 1.5}, {"identity": -1.0}, {"widths": ()}])
def test_settings_out_of_their_range_are_refused(setting):
    with pytest.raises(ValueError, match="must"):
        replace(HOW, **setting)


def test_the_verbs_defaults_are_those_of_the_fit():
    own = {field.name: field.default for field in fields(Reweighting)}
    asked = {name: option.default for name, option in inspect.signature(verb).parameters.items() if name in own}
    assert set(asked) == {"people", "rate", "emotion", "rare", "identity", "seed"}
    assert asked == {name: own[name] for name in asked}


def test_accepted_latents_are_drawn_by_the_sampler(generator, guide, faces):
    made, told = reweight(generator, load_packed(faces), [guide], replace(HOW, emotion=60.0))
    sampler, everybody = FaceSampler(made), FaceSampler(generator)
    same = np.mean([np.array_equal(sampler.latent(seed), everybody.latent(seed)) for seed in range(400)])
    assert same == pytest.approx(told["accepted"], abs=0.1)
