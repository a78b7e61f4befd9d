"""What holds for every point of the pad and every state, and how the page bears a hand that moves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page

from model.emotions import FERPLUS, EmotionMix, read_mix
from tests.e2e.processes import Service
from tests.e2e.test_studio import Studio, served, studio, visiting

__all__ = ["served", "studio"]  # fixtures
pytestmark = pytest.mark.browser

COORDINATES = st.floats(-1, 1, allow_subnormal=False)
STATES = st.fixed_dictionaries(
    {
        "mix": st.dictionaries(st.sampled_from(FERPLUS), st.integers(1, 100), min_size=1),
        "seed": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
        "intensity": st.integers(0, 30).map(lambda step: step / 20),
        "truncation": st.integers(0, 20).map(lambda step: step / 20),
        "size": st.integers(48, 1024),
        "people": st.integers(0, 1000),
        "morph": st.lists(st.sampled_from(FERPLUS), min_size=2, max_size=6),
        "loop": st.booleans(),
    }
)


@pytest.fixture(scope="module")
def page(chromium: Browser, served: Service) -> Iterator[Page]:
    with visiting(chromium, served.url) as studio:
        studio.open()
        yield studio.page


def call(page: Page, module: str, code: str, argument: Any) -> Any:
    """Run ``code`` in the page, with one of its modules as ``m`` and an ``x``."""
    return page.evaluate(f"async x => {{ const m = await import('/studio/{module}.js'); return {code}; }}", argument)


@settings(deadline=None, max_examples=60)
@given(valence=COORDINATES, arousal=COORDINATES)
def test_a_point_is_a_mix_of_at_most_three_that_the_service_reads(page: Page, valence: float, arousal: float) -> None:
    text = call(
        page, "affect", "(await import('/studio/state.js')).writeMix(m.mixAt(...x))", [valence, arousal, FERPLUS]
    )
    mix = call(page, "affect", "m.mixAt(...x)", [valence, arousal, FERPLUS])
    assert 1 <= len(mix) <= 3
    assert sum(mix.values()) == 100
    assert all(isinstance(share, int) and share > 0 for share in mix.values())
    text = call(page, "state", "m.writeMix(x)", mix)
    weights = dict(EmotionMix.parse(read_mix(text), FERPLUS).weights)
    assert weights == pytest.approx({name: share / 100 for name, share in mix.items()})


@settings(deadline=None, max_examples=60)
@given(valence=COORDINATES, arousal=COORDINATES, angle=st.floats(0, 2 * math.pi))
def test_a_small_step_on_the_pad_is_a_small_step_of_the_mix(
    page: Page, valence: float, arousal: float, angle: float
) -> None:
    step = 1e-4
    near = [valence + step * math.cos(angle), arousal + step * math.sin(angle)]
    both = "[m.mixAt(x[0], x[1], x[4]), m.mixAt(x[2], x[3], x[4])]"
    here, there = call(page, "affect", both, [valence, arousal, *near, FERPLUS])
    # Shares below 2 percent are dropped, and the rest is whole percent.
    assert all(abs(here.get(name, 0) - there.get(name, 0)) <= 7 for name in FERPLUS)


def test_at_its_own_place_an_emotion_is_alone(page: Page) -> None:
    places = call(page, "affect", "m.PLACES", None)
    assert set(places) == set(FERPLUS)
    for name, place in places.items():
        assert call(page, "affect", "m.mixAt(...x)", [*place, FERPLUS]) == {name: 100}
        assert call(page, "affect", "m.placeOf(x)", {name: 100}) == place


@settings(deadline=None, max_examples=80)
@given(state=STATES)
def test_an_address_gives_back_the_state_that_it_was_made_of(page: Page, state: dict[str, Any]) -> None:
    again = call(page, "state", "m.read(m.write(x))", state)
    if len(state["mix"]) == 1:  # one emotion is all of the face, whatever its share
        state = {**state, "mix": dict.fromkeys(state["mix"], 100)}
    assert again == state


def test_a_hand_on_the_pad_sees_faces_as_it_moves_and_is_one_step_for_back(studio: Studio) -> None:
    studio.open("?emotion=neutral&seed=1")
    page, shown = studio.page, set[str]()
    before = page.url
    steps = page.evaluate("history.length")
    box = page.locator("#pad").bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    for step in range(40):
        page.mouse.move(box["x"] + (0.5 + step / 100) * box["width"], box["y"] + (0.5 - step / 150) * box["height"])
        page.wait_for_timeout(25)
        shown.add(page.locator("#portrait").get_attribute("alt") or "")
    assert len(shown) > 3, "the face does not follow before the hand rests"
    page.mouse.up()
    studio.waits(lambda: "happy" in studio.said()["emotion"])
    studio.sees("happy")
    assert page.evaluate("history.length") == steps + 1
    page.go_back()
    studio.sees("A face: neutral; person 1")
    assert page.url == before


@pytest.mark.parametrize("end", ["touchEnd", "touchCancel"])
def test_a_finger_on_the_pad_moves_the_face_and_not_the_page(chromium: Browser, served: Service, end: str) -> None:
    with visiting(chromium, served.url, width=390, height=700, touch=True) as studio:
        studio.open("?emotion=neutral&seed=1")
        page = studio.page
        page.locator("#pad").scroll_into_view_if_needed()
        steps, scrolled = page.evaluate("history.length"), page.evaluate("scrollY")
        box = page.locator("#pad").bounding_box()
        assert box
        finger = page.context.new_cdp_session(page)

        def touch(kind: str, across: float, down: float) -> None:
            at = {"x": box["x"] + across * box["width"], "y": box["y"] + down * box["height"]}
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [] if kind == end else [at]})

        touch("touchStart", 0.5, 0.5)
        for step in range(20):
            touch("touchMove", 0.5 + step / 50, 0.5 - step / 75)
            page.wait_for_timeout(25)
        touch(end, 0, 0)
        studio.waits(lambda: "happy" in studio.said()["emotion"])
        studio.sees("happy")
        assert page.evaluate("history.length") == steps + 1
        assert page.evaluate("scrollY") == scrolled
        page.go_back()
        studio.says(emotion="neutral")


def test_moving_the_same_slider_by_keyboard_is_one_step_for_back(studio: Studio) -> None:
    studio.open("?emotion=happy&seed=1&intensity=1")
    steps = studio.page.evaluate("history.length")
    studio.page.locator("#intensity").focus()
    for _ in range(6):
        studio.page.keyboard.press("ArrowLeft")
    studio.says(intensity="0.7")
    assert studio.page.evaluate("history.length") == steps + 1
    studio.page.go_back()
    studio.says(intensity="1")
