"""Seeds: their one spelling, their number, and the latent that the number draws."""

from __future__ import annotations

import hashlib
import math
import secrets
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_SEED: Final = 2**63 - 1
MAX_SEED_TEXT: Final = 256
# Second word of the Philox key: latents share no numbers with any other use of the same seed.
_LATENT_STREAM: Final = 0x656D6F66616365


def canonical_seed(seed: int | str) -> int | str:
    """Return the seed itself, checked; a text that spells a number 0..MAX_SEED becomes that number.

    So ``"7"`` from a header, a URL or a shell is the person that ``7`` is. Only the number's own spelling counts:
    ``"007"`` stays a text.

    Raises:
        ValueError: out of range, empty or too long; one sentence.
    """
    if isinstance(seed, str):
        if not 0 < len(seed) <= MAX_SEED_TEXT:
            raise ValueError(f"a seed that is a text must have 1 to {MAX_SEED_TEXT} characters.")
        try:
            seed.encode()
        except UnicodeEncodeError:
            raise ValueError("a seed that is a text must be valid Unicode.") from None
        if len(seed) <= 19 and seed.isascii() and seed.isdecimal() and str(int(seed)) == seed and int(seed) <= MAX_SEED:
            return int(seed)
        return seed
    if isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
        raise ValueError(f"a seed must be a whole number from 0 to {MAX_SEED}, or a text.")
    return seed


def drawn_seed() -> int:
    """Return a seed for somebody who gave none."""
    # Below 2**53, so that a client whose numbers are doubles (JavaScript) can send it back.
    return secrets.randbelow(2**53)


def seed_number(seed: int | str) -> int:
    """Map a seed to the integer 0..MAX_SEED that keys its latent; texts are hashed with SHA-256.

    Raises:
        ValueError: as :func:`canonical_seed`.
    """
    seed = canonical_seed(seed)
    if isinstance(seed, str):
        return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "little") >> 1
    return seed


def latent(seed: int | str, size: int) -> NDArray[np.float32]:
    """Return the latent of a seed, float32 ``[size]``, standard normal, the same on every machine.

    Philox4x64-10 (Salmon et al. 2011) counts, and Box-Muller in float64 makes the numbers normal; numpy promises the
    stream of its bit generators for good, but not that of its own normal distribution (NEP 19).

    Raises:
        ValueError: as :func:`canonical_seed`.
    """
    half = (size + 1) // 2
    uniform = _uniform(seed_number(seed), 2 * half)
    radius = np.sqrt(-2.0 * np.log(uniform[:half]))
    angle = 2.0 * math.pi * uniform[half:]
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return normal[:size].astype(np.float32)


def _uniform(number: int, count: int) -> NDArray[np.float64]:
    """Return ``count`` numbers inside (0, 1) that Philox gives for the key ``number``."""
    bits = np.random.Philox(key=[number, _LATENT_STREAM]).random_raw(count)
    bits >>= np.uint64(11)
    uniform: NDArray[np.float64] = bits.astype(np.float64)
    uniform += 0.5
    uniform *= 2.0**-53
    return uniform
