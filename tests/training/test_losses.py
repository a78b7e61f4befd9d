"""The losses against their definitions in torch itself."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from training.losses import discriminator_loss, emotion_loss, generator_loss

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


def test_the_emotion_loss_is_least_at_the_soft_label():
    label = torch.tensor([[0.7, 0.2, 0.1]])
    best = emotion_loss(label.log(), label)
    assert emotion_loss(torch.eye(3)[:1] * 9, label) > best
    torch.testing.assert_close(best, -(label * label.log()).sum())
