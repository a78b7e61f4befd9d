"""What makes a seed a person: its one spelling, its number, and the latents that the number draws."""

from __future__ import annotations

import hashlib
import math
import secrets
import threading
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_SEED: Final = 2**63 - 1
MAX_SEED_TEXT: Final = 256
# Second word of the Philox key: latents share no numbers with any other use of the same seed.
_LATENT_STREAM: Final = 0x656D6F66616365
_WORDS: Final = 4  # numbers that one turn of Philox's counter gives
_EMPTY: Final = np.zeros(_WORDS, np.uint64)
_own = threading.local()  # each thread's bit generator


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


def candidates(
    seed: int | str, size: int, count: int, begin: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return latents of a seed, the same on every machine, and a number to draw lots with for each.

    Philox4x64-10 (Salmon et al. 2011) counts, and Box-Muller in float64 makes the numbers normal; numpy promises the
    stream of its bit generators for good, but not that of its own normal distribution (NEP 19).

    Args:
        size: entries of a latent.
        count: how many latents.
        begin: which of the seed's endless row of latents is the first.

    Returns:
        Standard-normal latents, float32 ``[count, size]``, and uniform numbers between 0 and 1, float64 ``[count]``.

    Raises:
        ValueError: as :func:`canonical_seed`.
    """
    half = (size + 1) // 2
    row = -(-(2 * half + 1) // _WORDS) * _WORDS  # numbers a latent uses up; whole turns of the counter
    uniform = _uniform(seed_number(seed), begin * row // _WORDS, count * row).reshape(count, row)
    radius = np.log(uniform[:, :half])
    radius *= -2.0
    np.sqrt(radius, out=radius)
    angle = 2.0 * math.pi * uniform[:, half : 2 * half]
    normal = np.empty((count, 2 * half), np.float32)
    np.multiply(radius, np.cos(angle), out=normal[:, :half], casting="same_kind")
    np.multiply(radius, np.sin(angle), out=normal[:, half:], casting="same_kind")
    return normal[:, :size], uniform[:, 2 * half]


def _uniform(number: int, turn: int, count: int) -> NDArray[np.float64]:
    """Return the numbers, inside (0, 1), that Philox gives of a seed from a turn of its counter on."""
    philox: np.random.Philox | None = getattr(_own, "philox", None)
    if philox is None:  # it takes longer to make than to use
        philox = _own.philox = np.random.Philox(0)
    philox.state = {
        "bit_generator": "Philox",
        "state": {
            "counter": np.array([turn, 0, 0, 0], np.uint64),
            "key": np.array([number, _LATENT_STREAM], np.uint64),
        },
        "buffer": _EMPTY,
        "buffer_pos": _WORDS,  # nothing is left of the turn before
        "has_uint32": 0,
        "uinteger": 0,
    }
    bits = philox.random_raw(count)
    bits >>= np.uint64(11)
    uniform: NDArray[np.float64] = bits.astype(np.float64)
    uniform += 0.5
    uniform *= 2.0**-53
    return uniform
