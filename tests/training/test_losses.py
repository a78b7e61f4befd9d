"""The losses against their definitions in torch itself."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from training.losses import discriminator_loss, divergence, emotion_loss, generator_loss, realness

REAL, FAKE = torch.tensor([2.0, -0.5, 0.3]), torch.tensor([-3.0, 0.2, 1.5])


def test_bce_is_binary_cross_entropy_with_real_1_and_fake_0():
    expected = F.binary_cross_entropy(torch.sigmoid(REAL), torch.ones(3)) + F.binary_cross_entropy(
        torch.sigmoid(FAKE), torch.zeros(3)
    )
    torch.testing.assert_close(discriminator_loss("bce", REAL, FAKE), expected)
    towards_real = F.binary_cross_entropy(torch.sigmoid(FAKE), torch.ones(3))
    torch.testing.assert_close(generator_loss("bce", FAKE, REAL), towards_real)


def test_hinge_asks_for_a_margin_of_one():
    assert discriminator_loss("hinge", torch.tensor([1.0, 5.0]), torch.tensor([-1.0, -9.0])) == 0
    torch.testing.assert_close(discriminator_loss("hinge", REAL, FAKE), torch.tensor((2.2 + 3.7) / 3))
    torch.testing.assert_close(generator_loss("hinge", FAKE, REAL), -FAKE.mean())


def test_the_emotion_loss_is_least_at_the_soft_label():
    label = torch.tensor([[0.7, 0.2, 0.1]])
    best = emotion_loss(label.log(), label)
    assert emotion_loss(torch.eye(3)[:1] * 9, label) > best
    torch.testing.assert_close(best, -(label * label.log()).sum())


@given(st.lists(st.floats(-15, 15), min_size=1, max_size=9), st.lists(st.floats(-15, 15), min_size=1, max_size=9))
def test_bce_is_torchs_on_probabilities_for_any_logits(real, fake):
    a, b = torch.tensor(real, dtype=torch.float64), torch.tensor(fake, dtype=torch.float64)
    towards = torch.nn.BCELoss()
    p, q = torch.sigmoid(a), torch.sigmoid(b)
    expected = towards(p, torch.ones_like(p)) + towards(q, torch.zeros_like(q))
    torch.testing.assert_close(discriminator_loss("bce", a, b), expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(generator_loss("bce", b, a), towards(q, torch.ones_like(q)), rtol=1e-6, atol=1e-9)


def test_bce_stays_finite_where_probabilities_round_to_0_and_1():
    sure = torch.tensor([200.0])
    assert discriminator_loss("bce", -sure, sure) == 400
    assert generator_loss("bce", -sure, sure) == 200


def test_the_relativistic_loss_asks_each_real_image_to_beat_the_generated_one_in_its_place():
    loss = discriminator_loss("relativistic", REAL, FAKE)
    torch.testing.assert_close(loss, F.binary_cross_entropy(torch.sigmoid(REAL - FAKE), torch.ones(3)))
    assert discriminator_loss("relativistic", REAL, FAKE[[1, 2, 0]]) != loss  # pairs, not means


@given(st.lists(st.tuples(st.floats(-15, 15), st.floats(-15, 15)), min_size=1, max_size=9), st.floats(-9, 9))
def test_the_relativistic_loss_is_antisymmetric(pairs, shift):
    real, fake = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    loss = discriminator_loss("relativistic", real, fake)
    torch.testing.assert_close(
        generator_loss("relativistic", real, fake), loss, rtol=1e-9, atol=1e-9
    )  # the roles exchanged
    torch.testing.assert_close(
        loss - discriminator_loss("relativistic", fake, real), (fake - real).mean(), rtol=1e-9, atol=1e-9
    )
    torch.testing.assert_close(
        discriminator_loss("relativistic", real + shift, fake + shift), loss, rtol=1e-9, atol=1e-9
    )


def test_a_relativistic_discriminator_is_read_by_its_differences():
    assert realness("hinge", REAL, FAKE) == (REAL, FAKE)
    real, fake = realness("relativistic", REAL + 100, FAKE + 100)
    torch.testing.assert_close(torch.sigmoid(real) + torch.sigmoid(fake), torch.ones(3))
    torch.testing.assert_close(real, REAL - FAKE, atol=1e-4, rtol=1e-4)


def test_the_divergence_is_0_at_the_soft_label_and_the_cross_entropy_at_a_hard_one():
    label = torch.tensor([[0.5, 0.3, 0.2]])
    torch.testing.assert_close(divergence(label.log() + 3, label), torch.zeros(1), atol=1e-6, rtol=0)
    hard, logits = torch.eye(3)[:2], torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(divergence(logits, hard).mean(), emotion_loss(logits, hard))
