"""The vocabulary and the mixes: what users type, and what the networks get."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.emotions import ALIASES, FER2013, FERPLUS, EmotionError, EmotionMix, UnknownEmotion, read_mix

WEIGHTS = st.dictionaries(
    st.sampled_from([*FERPLUS, *ALIASES]), st.floats(0, 1e300, allow_nan=False), min_size=1, max_size=8
)


def test_aliases_lead_into_the_vocabulary_and_hide_no_emotion():
    assert set(ALIASES.values()) <= set(FERPLUS)
    assert not set(ALIASES) & set(FERPLUS)


@pytest.mark.parametrize("text", ["happy", " Happy ", "HAPPINESS", "joy"])
def test_names_are_read_in_any_case_and_by_alias(text):
    assert EmotionMix.parse(text, FER2013) == EmotionMix((("happy", 1.0),))


@pytest.mark.parametrize(
    ("typed", "meant"), [("hapy", "happy"), ("suprise", "surprise"), ("angr", "angry"), ("sadnes", "sad")]
)
def test_a_slip_gets_the_nearest_name(typed, meant):
    with pytest.raises(UnknownEmotion, match=f"did you mean '{meant}'") as caught:
        EmotionMix.parse(typed, FER2013)
    assert caught.value.suggestion == meant
    assert caught.value.allowed == FER2013


def test_nothing_near_gets_the_list_alone():
    with pytest.raises(UnknownEmotion) as caught:
        EmotionMix.parse("xyzzy", FER2013)
    assert caught.value.suggestion is None
    assert "did you mean" not in str(caught.value)
    assert "angry, disgust, fear" in str(caught.value)


def test_contempt_is_unknown_to_weights_without_it():
    with pytest.raises(UnknownEmotion):
        EmotionMix.parse("contempt", FER2013)
    assert EmotionMix.parse("contempt", FERPLUS).weights == (("contempt", 1.0),)


@given(WEIGHTS)
def test_a_mix_sums_to_one_and_its_scale_and_order_do_not_matter(weights):
    if not any(weights.values()):
        with pytest.raises(EmotionError, match="sums to nothing"):
            EmotionMix.parse(weights, FERPLUS)
        return
    mix = EmotionMix.parse(weights, FERPLUS)
    assert math.isclose(math.fsum(weight for _, weight in mix.weights), 1.0, rel_tol=1e-12)
    assert [name for name, _ in mix.weights] == [name for name in FERPLUS if name in dict(mix.weights)]
    assert all(weight > 0 for _, weight in mix.weights)
    halved = {name: weight / 2 for name, weight in reversed(weights.items())}
    if all(weight == 0 or weight > 1e-300 for weight in weights.values()):
        again = EmotionMix.parse(halved, FERPLUS)
        assert again.vector(FERPLUS) == pytest.approx(mix.vector(FERPLUS), abs=1e-6)


def test_names_of_one_emotion_are_added_up():
    mix = EmotionMix.parse({"happy": 1, "joy": 1, "sad": 2}, FER2013)
    assert dict(mix.weights) == {"happy": 0.5, "sad": 0.5}


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf, -math.inf, True])
def test_weights_that_are_none_are_refused(weight):
    with pytest.raises(EmotionError, match="'happy' must be a finite number"):
        EmotionMix.parse({"happy": weight, "sad": 1.0}, FER2013)


@given(WEIGHTS.filter(lambda weights: any(weights.values())), st.floats(0, 1.5))
def test_intensity_is_the_line_from_neutral_and_keeps_the_sum(weights, intensity):
    mix = EmotionMix.parse(weights, FERPLUS)
    vector = mix.vector(FERPLUS, intensity)
    assert vector.dtype == np.float32
    assert vector.sum() == pytest.approx(1.0, abs=1e-5)
    neutral, full = np.eye(len(FERPLUS))[FERPLUS.index("neutral")], mix.vector(FERPLUS)
    assert vector == pytest.approx(neutral + intensity * (full - neutral), abs=1e-6)


def test_a_vocabulary_of_its_own_names_comes_before_our_aliases():
    assert EmotionMix.parse("Anger", ("anger", "joy")).weights == (("anger", 1.0),)


def test_without_neutral_there_is_no_intensity():
    seven = EmotionMix.parse("7", ("1", "7"))
    assert seven.vector(("1", "7")).tolist() == [0, 1]
    with pytest.raises(EmotionError, match="intensity"):
        seven.vector(("1", "7"), 0.5)


def test_weights_that_overflow_together_are_still_one_mix():
    mix = EmotionMix.parse({"happy": 1e308, "joy": 1e308, "sad": 1e308}, FER2013)
    assert dict(mix.weights) == pytest.approx({"happy": 2 / 3, "sad": 1 / 3})


def test_a_mix_is_a_key_and_prints_as_the_command_line_reads_it():
    assert len({EmotionMix.parse("sad", FER2013), EmotionMix.parse({"sadness": 3}, FER2013)}) == 1
    assert str(EmotionMix.parse("joy", FER2013)) == "happy"
    assert str(EmotionMix.parse({"surprise": 1, "happy": 3}, FER2013)) == "happy=0.75,surprise=0.25"


_mixes = st.dictionaries(st.sampled_from(FER2013), st.floats(0.01, 10), min_size=1, max_size=4)


@given(_mixes, _mixes, st.floats(0, 1), st.floats(0, 1.5), st.floats(0, 1.5))
@example({"happy": 1, "sad": 1}, {"fear": 1}, 0.0, 5e-324, 0.0)
def test_the_way_from_mix_to_mix_is_the_straight_line_of_conditions(one, other, part, weak, strong):
    here, there = (EmotionMix.parse(mix, FER2013) for mix in (one, other))
    mix, intensity = here.towards(there, part, (weak, strong), FER2013)
    line = (1 - part) * here.vector(FER2013, weak) + part * there.vector(FER2013, strong)
    np.testing.assert_allclose(mix.vector(FER2013, intensity), line, atol=1e-5)
    assert 0 <= intensity <= max(weak, strong)


def test_what_a_mix_writes_is_read_again():
    for text in ("happy", "happy=0.7,surprise=0.3"):
        assert str(EmotionMix.parse(read_mix(text), FER2013)) == text
    assert read_mix(" happy = 1 , sad=2,happy=3") == {"happy": 4.0, "sad": 2.0}
    with pytest.raises(EmotionError, match="'sad=' is no emotion=weight"):
        read_mix("happy=1,sad=")
