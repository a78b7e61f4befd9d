"""Seeds: one person each, the same on every machine."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.emotions import FER2013, EmotionMix
from model.sampler import FaceRequest
from model.seeds import MAX_SEED, canonical_seed, drawn_seed, latent, seed_number

HAPPY = EmotionMix.parse("happy", FER2013)
SEEDS = st.one_of(st.integers(0, MAX_SEED), st.text(min_size=1, max_size=256))


def test_latents_are_these_numbers_on_every_machine():
    # Recomputed here from the definition, with Philox4x64-10 written out: neither numpy's version nor ours may drift.
    key = (7, 0x656D6F66616365)
    words = [word for counter in range(1, 3) for word in _philox((counter, 0, 0, 0), key)]
    uniform = [((word >> 11) + 0.5) / 2**53 for word in words]
    expected: list[float] = []
    for trig in (np.cos, np.sin):
        expected += [np.sqrt(-2 * np.log(uniform[i])) * trig(2 * np.pi * uniform[4 + i]) for i in range(4)]
    np.testing.assert_allclose(latent(7, 8), np.array(expected, np.float32), rtol=1e-6)


def _philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    mask = 2**64 - 1
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(p1 >> 64) ^ c[1] ^ k[0], p1 & mask, (p0 >> 64) ^ c[3] ^ k[1], p0 & mask]
        k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
    return tuple(c)


@pytest.mark.parametrize(
    ("seed", "size", "sha256"),
    [
        (0, 128, "7e3888f239006cf5"),
        (7, 128, "b8da24e56b08d2e2"),
        (MAX_SEED, 128, "1d6a1163a64b8cee"),
        ("Ada", 128, "0125625249e9cbd5"),
        ("é 👩", 5, "224bfca1665531d3"),
    ],
)
def test_the_latents_of_published_seeds_never_change(seed, size, sha256):
    assert hashlib.sha256(latent(seed, size).tobytes()).hexdigest()[:16] == sha256


def test_latents_are_standard_normal_and_differ_by_seed():
    z = np.stack([latent(seed, 129) for seed in range(500)])
    assert abs(z.mean()) < 0.02
    assert abs(z.std() - 1) < 0.01
    assert abs(np.corrcoef(z[:, 0], z[:, 65])[0, 1]) < 0.15
    assert len({row.tobytes() for row in z}) == 500


@given(SEEDS, st.integers(1, 140))
def test_a_latent_is_finite_float32_of_the_size_asked_for_and_always_the_same(seed, size):
    first = latent(seed, size)
    assert first.dtype == np.float32
    assert first.shape == (size,)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(latent(canonical_seed(seed), size), first)


def test_seeds_for_those_who_name_none_differ_and_fit_into_a_double():
    drawn = {drawn_seed() for _ in range(100)}
    assert len(drawn) == 100
    assert all(0 <= seed < 2**53 for seed in drawn)


@given(SEEDS)
def test_every_seed_becomes_one_number_in_range(seed):
    assert 0 <= seed_number(seed) <= MAX_SEED
    assert canonical_seed(canonical_seed(seed)) == canonical_seed(seed)
    assert FaceRequest(HAPPY, seed) == FaceRequest(HAPPY, canonical_seed(seed))


def test_texts_are_hashed_and_numbers_may_be_written_as_text():
    assert seed_number("Ada") == int.from_bytes(hashlib.sha256(b"Ada").digest()[:8], "little") >> 1
    assert canonical_seed("7") == 7
    assert canonical_seed(str(MAX_SEED)) == MAX_SEED
    for text in ("007", "-1", "+7", "7.0", "٧", str(MAX_SEED + 1)):
        assert canonical_seed(text) == text


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, "", "x" * 257, "\udcff", True])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(ValueError, match="seed"):
        FaceRequest(HAPPY, seed)
