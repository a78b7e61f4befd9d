"""Guides teach a generator: what they see, what their critics learn, and how a run remembers all of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from training.batches import BatchSource
from training.data.packed import load_packed
from training.distributed import ALONE
from training.guidance import Guidance, load_guides
from training.judge import Judge, JudgeConfig, JudgeError, JudgeNetwork
from training.loop import train
from training.recipe import GuideRecipe, RecipeError, recipe_from_dict
from training.snapshot import START, STATE

ATTRIBUTES = ("Bald", "Male", "Smiling", "Young")


@pytest.fixture(scope="module")
def guide_file(faces, tmp_path_factory):
    torch.manual_seed(0)
    network = JudgeNetwork(
        JudgeConfig(load_packed(faces).emotions, 16, 1, (8, 12), pool="mean", standardise=False, attributes=ATTRIBUTES)
    )
    path = tmp_path_factory.mktemp("guides") / "guide-x.safetensors"
    Judge(network, {}).save(path)
    return path


@pytest.fixture
def guided(tiny, guide_file):
    return replace(tiny, guide=GuideRecipe(kinds=(str(guide_file),), memory=64))


@pytest.fixture
def guidance(guided, faces):
    data = load_packed(faces)
    torch.manual_seed(1)
    made = Guidance(guided.guide, load_guides(guided.guide, data), "cpu", ALONE)
    made.measure(data, "cpu")
    return made


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_guides_see_real_faces_at_a_common_scale(guidance, faces):
    images = torch.from_numpy(load_packed(faces).images).float().div(127.5).sub(1)
    look = guidance.look(images, rng())
    assert [tuple(part.shape[1:]) for part in look.maps] == [(8, 8, 8), (12, 4, 4)]
    for part in look.maps:  # half of a standard normal: mean 0.4
        assert 0.25 < float(part.mean()) < 0.55
    assert look.features[0].shape == (len(images), 12)


def test_critics_learn_to_tell_real_from_noise(guidance, faces):
    data = load_packed(faces)
    real = torch.from_numpy(data.images[:64]).float().div(127.5).sub(1)
    emotions = torch.from_numpy(data.labels[:64])
    optimizer = torch.optim.Adam(guidance.critics.parameters(), 2e-3)
    for step in range(60):
        looks = (
            guidance.look(real, rng(step)),
            guidance.look(torch.rand(real.shape, generator=rng(step)) * 2 - 1, rng(step)),
        )
        loss, told = guidance.critic_loss(*looks, emotions)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert told["critics_real"].item() > 0.5 > -0.5 > told["critics_fake"].item()


def test_every_part_of_the_guides_loss_reaches_the_faces(guidance, faces, guided):
    batch = BatchSource(load_packed(faces), guided, "cpu").at(0)
    for name in ("critics", "moments", "emotion", "identity"):
        alone = replace(
            guided.guide, **{part: float(part == name) for part in ("critics", "moments", "emotion", "identity")}
        )
        guidance.recipe = alone
        drawn = (batch.images + 0.1 * torch.randn(batch.images.shape, generator=rng())).requires_grad_()
        loss, parts = guidance.generator_loss(guidance.look(drawn, rng()), batch)
        loss.backward()
        assert drawn.grad is not None
        assert float(drawn.grad.abs().sum()) > 0, name
        assert all(torch.isfinite(part) for part in parts.values())


def test_every_guide_counts_alike_whatever_the_scale_of_its_features(guided, faces):
    data = load_packed(faces)
    torch.manual_seed(2)
    quiet, loud = (JudgeNetwork(JudgeConfig(data.emotions, 16, 1, (8, 12))).eval() for _ in range(2))
    with torch.no_grad():
        loud.norm.weight.mul_(50)
    made = Guidance(replace(guided.guide, augment_p=0.0), [quiet, loud], "cpu", ALONE)
    made.measure(data, "cpu")
    images = torch.from_numpy(data.images).float().div(127.5).sub(1)
    with torch.no_grad():
        features = made._sets(made.look(images, rng()))[0]
    spread = [float(part.var(0).sum()) for part in features.split([12, 12], 1)]
    assert spread == pytest.approx([1, 1], rel=0.02)


def test_a_guide_that_is_sure_enough_asks_for_no_more(guidance, faces, guided):
    batch = BatchSource(load_packed(faces), guided, "cpu").at(0)
    for slack, reaches in ((0.0, True), (100.0, False)):
        guidance.recipe = replace(guided.guide, critics=0, moments=0, identity=0, emotion=1.0, slack=slack)
        drawn = batch.images.clone().requires_grad_()
        loss, _ = guidance.generator_loss(guidance.look(drawn, rng()), batch)
        loss.backward()
        assert drawn.grad is not None
        assert bool(drawn.grad.any()) is reaches
        assert (float(loss.detach()) > 0) is reaches


def test_identity_pairs_neighbours(faces, guided):
    batch = BatchSource(load_packed(faces), guided, "cpu").at(0)
    assert torch.equal(batch.latents[0::2], batch.latents[1::2])
    assert not torch.equal(batch.latents[0], batch.latents[2])
    apart = replace(guided, guide=replace(guided.guide, identity=0.0))
    latents = BatchSource(load_packed(faces), apart, "cpu").at(0).latents
    assert len({tuple(row.tolist()) for row in latents}) == len(latents)


def test_identity_is_lost_where_faces_of_a_pair_are_strangers(guidance, faces, guided):
    images = torch.from_numpy(load_packed(faces).images[:40]).float().div(127.5).sub(1)
    guidance.recipe = replace(guided.guide, augment_p=0.0)
    pairs = guidance.look(images.repeat_interleave(2, 0), rng())
    strangers = guidance.look(torch.cat([images, images.flip(0)]), rng())
    assert float(guidance._identity(pairs)) < 0.7 * float(guidance._identity(strangers))


def test_weights_undo_the_balance(faces, tiny):
    data = load_packed(faces)
    source = BatchSource(data, replace(tiny, schedule=replace(tiny.schedule, batch=4000)), "cpu")
    batch = source.at(0)
    assert float(batch.weights.mean()) == pytest.approx(1, abs=0.05)
    natural = torch.from_numpy(data.labels).mean(0)
    plain = replace(tiny, data=replace(tiny.data, hard_labels=0.0), schedule=replace(tiny.schedule, batch=4000))
    batch = BatchSource(data, plain, "cpu").at(0)
    weighted = (batch.emotions * batch.weights.unsqueeze(1)).sum(0) / batch.weights.sum()
    torch.testing.assert_close(weighted, natural, atol=0.02, rtol=0)


def test_a_guided_run_goes_on_exactly_where_it_was(guided, faces, tmp_path):
    whole = replace(guided, schedule=replace(guided.schedule, total_kimg=0.08, decay_from_kimg=1))
    half = replace(guided, schedule=replace(guided.schedule, total_kimg=0.04, decay_from_kimg=1))
    train(whole, faces, tmp_path / "whole", device="cpu")
    train(half, faces, tmp_path / "halves", device="cpu")
    train(whole, faces, tmp_path / "halves", device="cpu")
    from safetensors.torch import load_file

    one, two = (load_file(tmp_path / name / STATE) for name in ("whole", "halves"))
    assert {key.split("/")[0] for key in one} == {
        "generator",
        "discriminator",
        "average",
        "guide",
        "adam-generator",
        "adam-discriminator",
        "adam-guide",
    }
    for key, value in one.items():
        assert torch.equal(value, two[key]), key


def test_a_start_file_brings_what_the_critics_have_learned(guided, faces, tmp_path):
    short = replace(guided, schedule=replace(guided.schedule, total_kimg=0.04))
    train(short, faces, tmp_path / "first", device="cpu")
    still = replace(guided, schedule=replace(guided.schedule, total_kimg=0.008), guide=replace(guided.guide, lr=1e-12))
    train(still, faces, tmp_path / "second", device="cpu", start=tmp_path / "first" / START)
    from safetensors.torch import load_file

    first, second = (load_file(tmp_path / name / STATE) for name in ("first", "second"))
    name = "guide/critics.0.conv1.weight"
    torch.testing.assert_close(first[name], second[name], atol=2e-3, rtol=0)


def test_what_cannot_guide_is_refused(guided, faces, tmp_path, tiny):
    data = load_packed(faces)
    with pytest.raises(JudgeError, match="no judge"):
        load_guides(GuideRecipe(kinds=(str(tmp_path / "none.safetensors"),)), data)
    plain = tmp_path / "plain.safetensors"
    Judge(JudgeNetwork(JudgeConfig(data.emotions, 16, 1, (8, 12))), {}).save(plain)
    with pytest.raises(ValueError, match="knows attributes"):
        load_guides(GuideRecipe(kinds=(str(plain),)), data)
    other = tmp_path / "other.safetensors"
    Judge(JudgeNetwork(JudgeConfig(data.emotions, 24, 1, (8, 12))), {}).save(other)
    with pytest.raises(ValueError, match="another size"):
        load_guides(GuideRecipe(kinds=(str(other),), identity=0.0), data)
    with pytest.raises(RecipeError, match="even"):
        recipe_from_dict({"guide": {"kinds": ["c"]}, "schedule": {"batch": 7}})


def test_rare_emotions_weigh_more_where_the_recipe_wants_it(guided, faces):
    data = load_packed(faces)
    shown = torch.from_numpy(data.labels).mean(0)
    for rare in (0.0, 0.5, 1.0):
        made = Guidance(replace(guided.guide, rare=rare), load_guides(guided.guide, data), "cpu", ALONE)
        made.measure(data, "cpu")
        weights = made._importance
        assert float(weights.mean()) == pytest.approx(1, abs=1e-5)
        there = shown > 1 / len(data)
        ratio = weights[there] * shown[there] ** rare
        assert float(ratio.max() / ratio.min()) == pytest.approx(1, rel=1e-4)
    batch = BatchSource(data, guided, "cpu").at(0)
    made.recipe = replace(guided.guide, critics=0, moments=0, identity=0, emotion=1.0, augment_p=0.0)
    one = data.labels.argmax(1)[0]
    made._importance = torch.nn.functional.one_hot(torch.tensor(one), len(shown)).float()
    asked = replace(batch, emotions=made._importance.repeat(len(batch.images), 1))
    others = replace(batch, emotions=made._importance.roll(1).repeat(len(batch.images), 1))
    look = made.look(batch.images, rng())
    assert float(made.generator_loss(look, asked)[0]) > 0
    assert float(made.generator_loss(look, others)[0]) == 0


def test_guides_in_bfloat16_see_what_they_see_in_float32(guided, faces):
    data = load_packed(faces)
    images = torch.from_numpy(data.images).float().div(127.5).sub(1)
    exact, coarse = (
        Guidance(replace(guided.guide, augment_p=0.0), load_guides(guided.guide, data), "cpu", ALONE, dtype)
        for dtype in (torch.float32, torch.bfloat16)
    )
    looks = []
    for made in (exact, coarse):
        made.measure(data, "cpu")
        looks.append(made.look(images, rng()))
    a, b = (look.features[0] for look in looks)
    assert b.dtype == torch.float32
    assert not torch.equal(a, b)
    assert float((a - b).abs().max()) < 0.05 * float(a.abs().max())


def _captured_and_not(guided, faces, device):
    """Give two equal guidances, of which the first may capture, and a function that makes faces for them."""
    data = load_packed(faces)
    own = replace(guided.guide, critics=0.0, moments_every=4, augment_p=0.0, memory=2 * guided.schedule.batch)
    pair = [Guidance(own, load_guides(own, data), device, ALONE) for _ in range(2)]
    for made, capturable in zip(pair, (True, False), strict=True):
        made.measure(data, device)
        made._capturable = capturable
    source = BatchSource(data, replace(guided, guide=own), device)

    def drawn(step):
        batch = source.at(step * guided.schedule.batch)
        noise = torch.randn(batch.images.shape, generator=rng(step)).to(device)
        return batch, (batch.images + (0.1 + 0.1 * step) * noise)

    return pair, drawn


def _same_steps(pair, drawn, steps=7):
    for step in range(steps):
        batch, seen = drawn(step)
        told = []
        for made in pair:
            x = seen.clone().requires_grad_()
            loss, parts = made.generator_loss(x * 1.0, batch, step)
            loss.backward()
            told.append((loss.detach(), x.grad, parts, dict(made.state_dict())))
        torch.testing.assert_close(told[0], told[1], rtol=2e-3, atol=1e-5)


def test_a_captured_loss_is_the_loss_and_leaves_no_trace_of_its_capture(guided, faces, monkeypatch):
    captures = []

    def pretend(loss, samples):
        for _ in range(3):
            loss(*samples)
        captures.append(1)
        return loss

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", pretend)
    _same_steps(*_captured_and_not(guided, faces, "cpu"))
    assert captures == [1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_graph_of_the_loss_is_the_loss_on_a_gpu(guided, faces):
    _same_steps(*_captured_and_not(guided, faces, "cuda"))


def test_slopes_are_kept_only_once_the_memory_is_full(guided, faces):
    data = load_packed(faces)
    own = replace(guided.guide, critics=0.0, emotion=0.0, identity=0.0, memory=4 * guided.schedule.batch)
    exact, kept = (
        Guidance(replace(own, moments_every=every), load_guides(own, data), "cpu", ALONE) for every in (1, 100)
    )
    source = BatchSource(data, replace(guided, guide=own), "cpu")
    for made in (exact, kept):
        made.measure(data, "cpu")
    for step in range(6):
        batch = source.at(step * guided.schedule.batch)
        seen = batch.images * (1 + 0.2 * step)
        distances = [float(made.generator_loss(seen, batch, step)[1]["frechet"]) for made in (exact, kept)]
        assert (distances[1] == pytest.approx(distances[0], rel=1e-3)) == (step < 4), step


def test_a_run_that_keeps_slopes_stopped_and_continued_equals_one_that_was_not(guided, faces, tmp_path):
    own = replace(guided.guide, critics=0.0, moments_every=4, memory=2 * guided.schedule.batch)
    recipe = replace(guided, guide=own)

    def until(images):
        return replace(recipe, schedule=replace(recipe.schedule, total_kimg=images / 1000, decay_from_kimg=1))

    batch = recipe.schedule.batch
    train(until(10 * batch), faces, tmp_path / "whole", device="cpu")
    train(until(6 * batch), faces, tmp_path / "parts", device="cpu")
    train(until(10 * batch), faces, tmp_path / "parts", device="cpu")
    with safe_open(tmp_path / "whole" / STATE, "pt") as whole, safe_open(tmp_path / "parts" / STATE, "pt") as parts:
        assert any("slope" in name for name in whole.keys())  # noqa: SIM118
        for name in whole.keys():  # noqa: SIM118
            assert torch.equal(whole.get_tensor(name), parts.get_tensor(name)), name
