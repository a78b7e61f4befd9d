"""The studio for everybody: by keyboard alone, on a phone, in the dark, without motion, with a screen reader."""

from __future__ import annotations

import io
import os
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from service.access.keys import new_key
from tests.e2e.processes import Service, service
from tests.e2e.test_studio import Studio, served, studio, visiting

__all__ = ["served", "studio"]  # fixtures
pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]


def all_seen(studio: Studio) -> None:
    """Scroll through the page, so that every row is drawn."""
    for row in ("#emotion-faces", "#intensity-faces", "#people-faces"):
        studio.page.locator(row).scroll_into_view_if_needed()
        expect(studio.page.locator(f"{row} img").last).to_be_visible()
    studio.page.locator("header").scroll_into_view_if_needed()


def is_accessible(page: Page) -> None:
    """Let axe-core look at what the page shows now; it finds nothing."""
    found = Axe().run(page)
    assert [(broken["id"], [node["html"] for node in broken["nodes"]]) for broken in found.response["violations"]] == []
    assert len(found.response["passes"]) > 20


@pytest.fixture(params=["light", "dark"])
def shaded(request: pytest.FixtureRequest, studio: Studio) -> Studio:
    studio.page.emulate_media(color_scheme=request.param)
    return studio


def test_an_accessibility_checker_finds_nothing(shaded: Studio) -> None:
    shaded.open("?emotion=happy=60,sad=40&seed=1")
    all_seen(shaded)
    expect(shaded.page.locator("#visited button")).to_have_count(1)
    shaded.page.locator("#note-seed").evaluate(
        "note => { note.hidden = false; note.textContent = 'Something is wrong.' }"
    )
    is_accessible(shaded.page)
    shaded.page.set_viewport_size({"width": 390, "height": 844})
    is_accessible(shaded.page)


def test_it_finds_nothing_in_verdicts_either(shaded: Studio, served: Service) -> None:
    shaded.open("?emotion=happy&seed=1")
    picture = httpx.get(f"{served.url}/faces/happy/1.png", trust_env=False).content
    foreign = io.BytesIO()
    Image.new("L", (48, 48)).save(foreign, "PNG")
    for content, verdict in ((picture, "Verified"), (foreign.getvalue(), "Not verified")):
        shaded.page.locator("#picture").set_input_files(
            {"name": "face.png", "mimeType": "image/png", "buffer": content}
        )
        expect(shaded.page.locator("#verified")).to_have_text(verdict)
        is_accessible(shaded.page)


def test_it_finds_nothing_where_a_key_is_needed(chromium: Browser, weights: Path) -> None:
    with (
        service(weights, {"EMOFACE_API_KEYS": new_key("alice")[1]}) as guarded,
        visiting(chromium, guarded.url) as studio,
    ):
        for scheme in ("light", "dark"):
            studio.page.emulate_media(color_scheme=scheme)
            studio.page.goto(studio.url)
            expect(studio.page.locator("#key")).to_contain_text("needs a key")
            is_accessible(studio.page)
        studio.wrong.clear()


def test_everything_is_reached_and_used_by_keyboard(studio: Studio) -> None:
    studio.open("?emotion=happy&seed=1")
    page = studio.page
    focused = "document.activeElement.id || document.activeElement.textContent.trim()"
    reached = []
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(focused))
        if reached[-1] == "forget":
            break
    wanted = ["angry", "valence", "arousal", "seed", "dice", "intensity", "truncation", "size", "download", "sheet"]
    wanted += [
        "people-after",
        "people-any",
        "play",
        "morph-download",
        "frame-add",
        "loop",
        "snippet",
        "copy",
        "picture",
    ]
    assert set(wanted) <= set(reached)
    # What looks pressed is what the keyboard pressed.
    page.locator("#emotions button").nth(0).focus()
    page.keyboard.press("Enter")
    studio.sees("angry; person 1")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    studio.sees("disgust; person 1")
    page.locator("#intensity").focus()
    page.keyboard.press("ArrowRight")
    studio.says(intensity="1.05")
    page.locator("#arousal").focus()
    page.keyboard.press("End")
    studio.waits(lambda: studio.said()["emotion"] != "disgust")
    page.locator("#mix input").first.focus()
    page.keyboard.press("End")
    studio.sees("angry 100")
    outlined = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outlined == "solid"


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_screen_has_it_all_without_scrolling_sideways(chromium: Browser, served: Service, width: int) -> None:
    with visiting(chromium, served.url, width, 700) as studio:
        studio.open("?emotion=happy&seed=1")
        all_seen(studio)
        assert studio.page.evaluate("document.documentElement.scrollWidth") <= width
        if width < 760:  # the face stays in sight while the sliders move
            studio.page.locator("#intensity").scroll_into_view_if_needed()
            expect(studio.page.locator("#portrait")).to_be_in_viewport()
        small = (
            "[...document.querySelectorAll('button, select, input:not([type=file])')].filter(e => e.checkVisibility())"
        )
        heights = studio.page.evaluate(f"{small}.map(e => e.closest('label')?.offsetHeight ?? e.offsetHeight)")
        assert min(heights) >= 24  # WCAG 2.2, 2.5.8


def test_who_asked_for_less_motion_gets_none(studio: Studio) -> None:
    studio.page.emulate_media(reduced_motion="reduce")
    studio.open("?emotion=happy&seed=1")
    moving = """[...document.querySelectorAll("*")].filter(element => {
        const { animationName, transitionDuration } = getComputedStyle(element);
        return animationName !== "none" || transitionDuration !== "0s";
    }).length"""
    assert studio.page.evaluate(moving) == 0
    assert studio.page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    studio.page.emulate_media(reduced_motion="no-preference")
    assert studio.page.evaluate(moving) > 0


def test_pictures_of_the_page(chromium: Browser, served: Service, tmp_path: Path) -> None:
    """Written to a folder that EMOFACE_SCREENSHOTS names, with the weights that ship; to be looked at."""
    asked = os.environ.get("EMOFACE_SCREENSHOTS")
    folder = Path(asked) if asked else tmp_path
    shipped = ROOT / "weights" / "fer48.safetensors"
    with service(shipped) as real, visiting(chromium, real.url) as studio:
        for name, width, scheme in (("studio", 1280, "light"), ("dark", 1280, "dark"), ("phone", 390, "light")):
            studio.page.set_viewport_size({"width": width, "height": 1080})
            studio.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            studio.open("?emotion=happy=70,surprise=30&seed=4")
            all_seen(studio)
            expect(studio.page.locator("#visited button").first).to_be_visible()
            studio.page.screenshot(path=folder / f"{name}.png", full_page=name != "studio")
            assert (folder / f"{name}.png").stat().st_size > 50_000
