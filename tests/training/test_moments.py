"""The moments of generated faces, remembered over batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.metrics import frechet_distance
from training.moments import Moments

EMOTIONS = torch.eye(3)


def normal(n: int, size: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(n, size, generator=torch.Generator().manual_seed(seed)) * scale + shift


def remembering(real: torch.Tensor, memory: float, *, keeps: bool = False) -> Moments:
    moments = Moments([real.shape[1]], 3, memory, keeps=keeps)
    moments.measure([([part], EMOTIONS[torch.arange(len(part)) % 3]) for part in real.split(100)])
    return moments


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (2.0, 0.0), (0.5, 0.3)])
def test_the_whole_memory_gives_the_metrics_own_distance(scale: float, shift: float) -> None:
    real, fake = normal(600, 5, 0), normal(600, 5, 1, scale, shift)
    asked = EMOTIONS[torch.arange(600) % 3]
    (whole,), _ = remembering(real, 600)([fake], asked, torch.ones(600))
    variance = float(real.var(0, correction=0).sum())
    assert float(whole) * variance == pytest.approx(frechet_distance(fake.numpy(), real.numpy()), rel=0.02, abs=0.01)


def test_equal_parts_of_a_memory_are_the_whole() -> None:
    real, fake = normal(300, 4, 0), normal(300, 4, 2, 1.5)
    asked = EMOTIONS[torch.arange(300) % 3]
    at_once, apart = remembering(real, 1e9), remembering(real, 1e9)
    expected = at_once([fake], asked, torch.ones(300))
    for part, emotions in zip(fake.split(60), asked.split(60), strict=True):
        got = apart([part], emotions, torch.ones(60))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_descending_brings_the_distance_down() -> None:
    real = normal(2000, 4, 0, 1.0, 1.0)
    moments = remembering(real, 500)
    scale, shift = torch.tensor(0.3, requires_grad=True), torch.tensor(-1.0, requires_grad=True)
    optimizer = torch.optim.Adam([scale, shift], 0.03)
    distances = []
    for step in range(200):
        fake = normal(50, 4, step + 10) * scale + shift
        (whole,), _ = moments([fake], EMOTIONS[torch.arange(50) % 3], torch.ones(50))
        optimizer.zero_grad()
        whole.backward()
        optimizer.step()
        distances.append(whole.item())
    assert distances[-1] < 0.05 < 0.5 < distances[0]
    assert float(shift.detach()) == pytest.approx(1.0, abs=0.2)
    assert float(scale.detach()) == pytest.approx(1.0, abs=0.2)


def test_weights_make_rare_faces_common() -> None:
    real = normal(900, 3, 0)
    fake = torch.cat([normal(300, 3, 1), normal(300, 3, 2, 1.0, 5.0)])
    asked = EMOTIONS[torch.arange(600) % 3]
    ignored = torch.cat([torch.full((300,), 2.0), torch.zeros(300)])
    evenly, _ = remembering(real, 600)([fake], asked, torch.ones(600))
    weighted, _ = remembering(real, 600)([fake], asked, ignored)
    assert float(weighted) < 0.1 * float(evenly)


def test_exchanged_emotions_are_seen_in_their_means_alone() -> None:
    real = torch.cat([normal(100, 3, k, 0.1, float(k)) for k in range(3)])
    moments = Moments([3], 3, 300)
    moments.measure([([real], EMOTIONS.repeat_interleave(100, 0))])
    right = moments([real], EMOTIONS.repeat_interleave(100, 0), torch.ones(300))
    moments = Moments([3], 3, 300)
    moments.measure([([real], EMOTIONS.repeat_interleave(100, 0))])
    wrong = moments([real], EMOTIONS.roll(1, 0).repeat_interleave(100, 0), torch.ones(300))
    assert float(right[0]) == pytest.approx(float(wrong[0]), abs=1e-4)
    assert float(right[1]) < 1e-3 < 0.5 < float(wrong[1])


def test_mixed_emotions_count_for_no_emotions_mean() -> None:
    real = normal(300, 2, 0)
    moments = remembering(real, 300)
    mixed = torch.full((300, 3), 1 / 3)
    moments([normal(300, 2, 1)], mixed, torch.ones(300))
    assert float(moments.mass.sum()) == 0
    assert bool(moments.state_dict()["by_emotion0"].isfinite().all())


def test_features_that_never_vary_have_a_finite_gradient() -> None:
    real = torch.cat([normal(200, 2, 0), torch.zeros(200, 1)], 1)
    fake = torch.zeros(50, 3, requires_grad=True)
    whole, means = remembering(real, 50)([fake], EMOTIONS[torch.arange(50) % 3], torch.ones(50))
    (whole + means).sum().backward()
    assert fake.grad is not None
    assert bool(np.isfinite(fake.grad.numpy()).all())


def test_a_kept_slope_is_the_exact_one_while_nothing_moves_and_a_bound_when_it_does() -> None:
    real, fake = normal(600, 5, 0), normal(200, 5, 1, 1.3, 0.2)
    asked, weights = EMOTIONS[torch.arange(200) % 3], torch.ones(200)
    exact, kept = remembering(real, 1000), remembering(real, 1000, keeps=True)
    slopes = []
    for moments in (exact, kept):
        x = fake.clone().requires_grad_()
        whole, _ = moments([x], asked, weights)
        whole.sum().backward()
        slopes.append((whole.detach(), x.grad))
    torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-3, atol=1e-5)
    wider = fake * 2
    exact_whole, _ = exact([wider], asked, weights, anew=False)
    kept_whole, _ = kept([wider], asked, weights, anew=False)
    assert 0.5 * float(exact_whole) < float(kept_whole) < float(exact_whole) - 1e-4  # a concave root's tangent is above
    renewed, _ = kept([wider], asked, weights)
    exact_whole, _ = exact([wider], asked, weights)
    assert float(renewed) == pytest.approx(float(exact_whole), rel=1e-3)
