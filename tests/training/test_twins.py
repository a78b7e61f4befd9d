"""Twins: the loss is least for features that agree within pairs and differ between features."""

from __future__ import annotations

import pytest
import torch

from training.twins import twins_loss


def _features(n: int = 512, d: int = 6) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0))


def test_it_is_the_barlow_twins_loss_written_out():
    first, second = _features(), _features() + 0.5 * torch.randn(512, 6, generator=torch.Generator().manual_seed(1))
    correlation = torch.corrcoef(torch.cat([first, second], dim=1).T)[:6, 6:]
    own = (1 - correlation.diagonal()).square().sum()
    others = (correlation - torch.diag(correlation.diagonal())).square().sum()
    torch.testing.assert_close(twins_loss(first, second), (own + 0.05 * others) / 6, rtol=1e-4, atol=1e-6)


def test_equal_and_independent_features_cost_nothing_and_scale_does_not_matter():
    first = _features(20000)
    assert twins_loss(first, first) < 1e-3
    torch.testing.assert_close(twins_loss(first, first), twins_loss(5 * first + 3, first), atol=1e-4, rtol=1e-3)


def test_other_people_and_features_that_say_the_same_cost_something():
    first, other = _features(), _features().roll(1, dims=0)
    assert twins_loss(first, other) > 0.8
    same = first[:, :1].expand(-1, 6) + 0.01 * first
    assert twins_loss(same, same) == pytest.approx(0.05 * 5, rel=0.05)


def test_a_feature_that_is_dead_is_no_trouble():
    first = torch.cat([_features(8), torch.zeros(8, 2)], dim=1).requires_grad_()
    twins_loss(first, first.detach()).backward()
    assert first.grad is not None
    assert first.grad.isfinite().all()
