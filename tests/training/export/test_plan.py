"""Which faces there are: counts that add up, nobody twice, splits and orders that are fair."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.emotions import FERPLUS, EmotionError, EmotionMix
from training.data.errors import DataError
from training.export.plan import Plan, make_plan

SHARES = st.lists(st.floats(0, 10), min_size=1, max_size=3).filter(lambda shares: sum(shares) > 0.01)
LEVELS = st.lists(st.floats(0, 1.5), min_size=1, max_size=4)
EMOTIONS = st.lists(st.sampled_from(FERPLUS), max_size=4)


def places(plan: Plan) -> list[tuple[str, int, int, int]]:
    """Return (split, number, cell, rank) of every face in order."""
    return [
        (part.split, slot.number, slot.cell, slot.rank) for part, slots in plan.slots(plan.parts()) for slot in slots
    ]


@given(n=st.integers(1, 40), emotions=EMOTIONS, levels=LEVELS, shares=SHARES, part=st.integers(1, 50))
def test_every_emotion_has_as_many_faces_as_asked_and_every_face_a_person_of_its_own(n, emotions, levels, shares, part):
    plan = make_plan(FERPLUS, per_emotion=n, emotions=emotions, intensities=levels, splits=shares, part=part)
    found = places(plan)
    assert [number for _, number, _, _ in found] == list(range(plan.faces))
    labels = Counter(plan.cells[cell].label for _, _, cell, _ in found)
    assert labels == dict.fromkeys(set(emotions) or set(FERPLUS), n)
    assert len({plan.person(cell, rank) for _, _, cell, rank in found}) == plan.faces
    for cell in range(len(plan.cells)):
        assert sorted(rank for _, _, own, rank in found if own == cell) == list(
            range(sum(own == cell for _, _, own, _ in found))
        )
    assert all(0 < p.size <= part for p in plan.parts())


@given(total=st.integers(1, 300), shares=st.dictionaries(st.sampled_from(FERPLUS), st.floats(0.01, 1), min_size=1))
def test_a_mix_has_all_faces_and_each_emotion_its_share(total, shares):
    mix = EmotionMix.parse(shares, FERPLUS)
    plan = make_plan(FERPLUS, mix=mix, faces=total)
    labels = Counter(plan.cells[cell].label for _, _, cell, _ in places(plan))
    assert labels.total() == total
    assert all(abs(labels[name] - total * share) < 1 for name, share in mix.weights)


@given(people=st.integers(1, 30), emotions=EMOTIONS, levels=LEVELS, shares=SHARES, part=st.integers(1, 100))
def test_a_crossed_set_has_everybody_in_every_emotion_and_intensity_in_one_part_alone(
    people, emotions, levels, shares, part
):
    plan = make_plan(FERPLUS, identities=people, emotions=emotions, intensities=levels, splits=shares, part=part)
    labels = set(emotions) or set(FERPLUS)
    levels = {level + 0.0 for level in levels}
    wanted = {(label, level) for label in labels - {"neutral"} for level in levels}
    wanted |= {("neutral", 1.0)} & {(label, 1.0) for label in labels}
    homes: dict[int, set[object]] = {}
    asked: dict[int, Counter[object]] = {}
    for part_, slots in plan.slots(plan.parts()):
        for slot in slots:
            person, cell = plan.person(slot.cell, slot.rank), plan.cells[slot.cell]
            homes.setdefault(person, set()).add(part_)
            asked.setdefault(person, Counter())[cell.label, cell.intensity] += 1
    assert homes.keys() == set(range(people))
    assert all(len(parts) == 1 for parts in homes.values())
    assert all(counts == dict.fromkeys(wanted, 1) for counts in asked.values())


@given(n=st.integers(3, 60), shares=SHARES)
def test_emotions_are_split_alike_and_nobody_is_in_two_splits(n, shares):
    plan = make_plan(FERPLUS, per_emotion=n, splits=shares)
    for split, counts in plan.counts.items():
        assert len(set(counts.tolist())) == 1
        k = ("train", "validation", "test").index(split)
        assert abs(counts[0] - n * shares[k] / sum(shares)) < 1
    assert sum(int(counts[0]) for counts in plan.counts.values()) == n


@given(a=st.integers(1, 40), b=st.integers(1, 40))
def test_rare_emotions_are_spread_evenly(a, b):
    mix = EmotionMix.parse({"happy": a, "fear": b}, FERPLUS)
    plan = make_plan(FERPLUS, mix=mix, faces=a + b)
    seen: Counter[str] = Counter()
    for n, (_, _, cell, _) in enumerate(places(plan), 1):
        seen[plan.cells[cell].label] += 1
        assert abs(seen["happy"] - n * a / (a + b)) <= 1


def test_the_order_of_a_balanced_set_is_emotions_in_turn_and_seeds_that_count_up():
    plan = make_plan(FERPLUS, per_emotion=3, emotions=["sad", "joy", "fear"], seed=100)
    found = places(plan)
    assert plan.classes == ("fear", "happy", "sad")
    assert [plan.cells[cell].label for _, _, cell, _ in found] == ["fear", "happy", "sad"] * 3
    assert [plan.person(cell, rank) for _, _, cell, rank in found] == list(range(100, 109))


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({}, "say how many faces"),
        ({"per_emotion": 1, "identities": 1}, "say how many faces"),
        ({"faces": 3}, "say how many faces"),
        ({"mix": EmotionMix.parse("sad", FERPLUS)}, "say how many faces"),
        ({"mix": EmotionMix.parse("sad", FERPLUS), "faces": 1, "emotions": ["sad"]}, "leave out either"),
        ({"per_emotion": 1, "intensities": []}, "from 0 to 1.5"),
        ({"per_emotion": 1, "intensities": [float("nan")]}, "from 0 to 1.5"),
        ({"per_emotion": 1, "intensities": [1.6]}, "from 0 to 1.5"),
        ({"per_emotion": 1, "splits": [1, 1, 1, 1]}, "one to three shares"),
        ({"per_emotion": 1, "splits": [1, -1]}, "one to three shares"),
        ({"per_emotion": 1, "splits": [0, 0]}, "sum to nothing"),
        ({"per_emotion": 1, "seed": 2**63 - 1}, "the first seed must be"),
        ({"per_emotion": 1, "seed": -1}, "the first seed must be"),
        ({"per_emotion": 1, "truncation": 1.1}, "truncation must be"),
        ({"per_emotion": 1, "part": 0}, "a shard must have"),
        ({"per_emotion": 10**9}, "from 1 to 10,000,000 faces"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(wish: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        make_plan(FERPLUS, **wish)


def test_emotions_that_the_weights_do_not_know_are_named():
    with pytest.raises(EmotionError, match="did you mean 'happy'"):
        make_plan(FERPLUS, per_emotion=1, emotions=["hapy"])
    with pytest.raises(EmotionError, match="know no 'neutral'"):
        make_plan(("0", "1"), per_emotion=1, intensities=[0.5])
