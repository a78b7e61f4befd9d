"""Plans of faces that move: the key frames are there, and what is between them is on the line."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model import EmotionMix
from model.animate import plan_frames
from model.emotions import FER2013

_MIXES = st.dictionaries(st.sampled_from(FER2013), st.floats(0.01, 1), min_size=1, max_size=3).map(
    lambda mix: EmotionMix.parse(mix, FER2013)
)
_MOMENTS = st.lists(st.tuples(_MIXES, st.floats(0, 1.5)), min_size=2, max_size=4)


@given(_MOMENTS, st.integers(1, 8), st.booleans())
def test_frames_are_even_steps_from_one_key_frame_to_the_next(keys, frames, closed):
    planned = plan_frames(keys, frames, closed=closed, vocabulary=FER2013)
    corners = [*keys, keys[0]] if closed else keys
    assert len(planned) == frames * (len(corners) - 1) + (not closed)
    assert planned[::frames] == (keys if closed else corners)
    shown = [mix.vector(FER2013, intensity) for mix, intensity in planned]
    for place, (here, there) in enumerate(pairwise(mix.vector(FER2013, strength) for mix, strength in corners)):
        for step in range(frames):
            expected = here + (there - here) * (step / frames)
            np.testing.assert_allclose(shown[place * frames + step], expected, atol=1e-5)
