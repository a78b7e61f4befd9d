"""The losses against their definitions in torch itself."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from training.losses import discriminator_loss, emotion_divergence, emotion_loss, generator_loss, identity_loss

REAL, FAKE = torch.tensor([2.0, -0.5, 0.3]), torch.tensor([-3.0, 0.2, 1.5])


def test_bce_is_binary_cross_entropy_with_real_1_and_fake_0():
    expected = F.binary_cross_entropy(torch.sigmoid(REAL), torch.ones(3)) + F.binary_cross_entropy(
        torch.sigmoid(FAKE), torch.zeros(3)
    )
    torch.testing.assert_close(discriminator_loss("bce", REAL, FAKE), expected)
    towards_real = F.binary_cross_entropy(torch.sigmoid(FAKE), torch.ones(3))
    torch.testing.assert_close(generator_loss("bce", FAKE), towards_real)


def test_hinge_asks_for_a_margin_of_one():
    assert discriminator_loss("hinge", torch.tensor([1.0, 5.0]), torch.tensor([-1.0, -9.0])) == 0
    torch.testing.assert_close(discriminator_loss("hinge", REAL, FAKE), torch.tensor((2.2 + 3.7) / 3))
    torch.testing.assert_close(generator_loss("hinge", FAKE), -FAKE.mean())


@given(st.lists(st.floats(-15, 15), min_size=1, max_size=9), st.lists(st.floats(-15, 15), min_size=1, max_size=9))
def test_bce_is_torchs_on_probabilities_for_any_logits(real, fake):
    a, b = torch.tensor(real, dtype=torch.float64), torch.tensor(fake, dtype=torch.float64)
    towards = torch.nn.BCELoss()
    p, q = torch.sigmoid(a), torch.sigmoid(b)
    expected = towards(p, torch.ones_like(p)) + towards(q, torch.zeros_like(q))
    torch.testing.assert_close(discriminator_loss("bce", a, b), expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(generator_loss("bce", b), towards(q, torch.ones_like(q)), rtol=1e-6, atol=1e-9)


def test_bce_stays_finite_where_probabilities_round_to_0_and_1():
    sure = torch.tensor([200.0])
    assert discriminator_loss("bce", -sure, sure) == 400
    assert generator_loss("bce", -sure) == 200


def test_the_emotion_loss_is_least_at_the_soft_label():
    label = torch.tensor([[0.7, 0.2, 0.1]])
    best = emotion_loss(label.log(), label)
    assert emotion_loss(torch.eye(3)[:1] * 9, label) > best
    torch.testing.assert_close(best, -(label * label.log()).sum())


def test_the_divergence_is_0_at_the_soft_label_and_the_cross_entropy_at_a_hard_one():
    label = torch.tensor([[0.5, 0.3, 0.2]])
    assert emotion_divergence(label.log() + 3, label, 0.0).item() == pytest.approx(0, abs=1e-6)
    hard, logits = torch.eye(3)[:2], torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(emotion_divergence(logits, hard, 0.0), emotion_loss(logits, hard))


def test_the_slack_of_the_divergence_is_granted_to_each_image():
    told, logits = torch.eye(2), torch.tensor([[0.0, 0.0], [-5.0, 0.0]])  # ln 2 and almost nothing
    logits.requires_grad_()
    loss = emotion_divergence(logits, told, 0.3)
    assert loss.item() == pytest.approx((math.log(2) - 0.3) / 2)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().sum() > 0
    assert logits.grad[1].abs().sum() == 0


def test_the_identity_loss_is_the_cross_entropy_of_each_rows_partner():
    vectors = F.normalize(torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64), dim=1)
    losses = []
    for row in range(6):
        partner = row + 1 if row % 2 == 0 else row - 1
        weights = {other: math.exp(float(vectors[row] @ vectors[other]) / 0.2) for other in range(6) if other != row}
        losses.append(-math.log(weights[partner] / sum(weights.values())))
    assert identity_loss(vectors, 0.2).item() == pytest.approx(sum(losses) / 6)


def test_the_identity_loss_is_least_where_neighbours_are_one_person():
    people = torch.eye(4)
    assert identity_loss(people.repeat_interleave(2, dim=0), 0.1) < 0.01
    assert identity_loss(people.repeat(2, 1), 0.1) > 5
    assert identity_loss(people[:1].repeat(8, 1), 0.1).item() == pytest.approx(math.log(7))  # all alike: a guess
