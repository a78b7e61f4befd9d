"""What the studio says when something is wrong: next to what caused it, and no longer than it lasts."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, expect

from service.access.keys import new_key
from tests.e2e.processes import Service, Wire, post, service
from tests.e2e.test_studio import Studio, served, studio, visiting
from tests.e2e.trials import FAULTY

__all__ = ["served", "studio"]  # fixtures
pytestmark = pytest.mark.browser


def test_mistakes_are_explained_next_to_what_caused_them(studio: Studio) -> None:
    studio.open("?seed=1")
    page = studio.page
    page.goto(studio.url + "/?emotion=hapy")
    expect(page.locator("#note-emotion")).to_contain_text("did you mean 'happy'?")
    page.locator("#emotions").get_by_role("button", name="happy").click()
    studio.sees("happy")
    expect(page.locator("#note-emotion")).to_be_hidden()
    page.locator("#size").fill("20")
    page.keyboard.press("Enter")
    expect(page.locator("#note-size")).to_contain_text("from 48 to 1024")
    page.locator("#seed").fill("")
    expect(page.locator("#note-seed")).to_contain_text("needs a seed")
    studio.slide("#mix label:has-text('happy') input", 0)
    expect(page.locator("#note-mix")).to_contain_text("at least one emotion above 0")
    studio.sees("A face: happy; person 4")
    # Chromium writes every answer that is an error to the console; the unknown emotion was asked for three times.
    assert all("422" in line for line in studio.wrong)
    studio.wrong.clear()


def test_a_full_service_is_a_sentence_until_it_is_not(chromium: Browser, weights: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    extra = {"FAULTS_GATE": str(gate), "EMOFACE_QUEUE_LIMIT": "64"}
    with service(weights, extra, FAULTY) as full, visiting(chromium, full.url) as studio:
        studio.open("?emotion=happy&seed=1")
        expect(studio.page.locator("#emotion-faces")).to_have_attribute("aria-busy", "false")
        with Wire(full.url) as wire, Wire(full.url) as others:
            wire.send(*post("/generate", emotion="happy", seed="wait"))
            studio.waits(gate.with_suffix(".reached").exists)
            many = [{"emotion": "happy", "seed": f"other {k}"} for k in range(63)]
            others.send(*post("/generate/batch", requests=many))
            studio.waits(
                lambda: "emoface_unanswered_faces 64" in httpx.get(full.url + "/metrics", trust_env=False).text
            )
            studio.page.locator("#emotions").get_by_role("button", name="sad").click()
            expect(studio.page.locator("#note-face")).to_contain_text("Too many faces are waiting; try again in")
            expect(studio.page.locator("#portrait")).to_have_attribute("data-emotion", "happy")
            gate.touch()
            # By itself, after as long as it was asked to wait.
            expect(studio.page.locator("#portrait")).to_have_attribute("data-emotion", "sad", timeout=30_000)
            studio.sees("sad; person 1")
            expect(studio.page.locator("#caption")).to_have_text("A face: sad; person 1")
            expect(studio.page.locator("#note-face")).to_be_hidden()
        assert all("503" in line for line in studio.wrong)
        studio.wrong.clear()


def test_a_service_that_cannot_be_reached_is_a_sentence_until_it_can(studio: Studio) -> None:
    studio.open("?emotion=happy&seed=1")
    studio.page.context.set_offline(True)
    studio.page.locator("#emotions").get_by_role("button", name="surprise").click()
    expect(studio.page.locator("#note-face")).to_contain_text("cannot be reached")
    expect(studio.page.locator("#portrait")).to_have_attribute("data-emotion", "happy")
    studio.page.context.set_offline(False)
    studio.sees("surprise; person 1")
    expect(studio.page.locator("#note-face")).to_be_hidden()
    assert all("ERR_INTERNET_DISCONNECTED" in line or line.startswith(studio.url) for line in studio.wrong)
    studio.wrong.clear()


def test_a_key_is_asked_for_where_one_is_needed(chromium: Browser, weights: Path) -> None:
    key, line = new_key("alice")
    with (
        service(weights, {"EMOFACE_API_KEYS": line}) as guarded,
        visiting(chromium, guarded.url) as studio,
    ):
        page = studio.page
        page.goto(studio.url)
        expect(page.locator("#key")).to_contain_text("needs a key")
        page.get_by_label("Key").fill("a guess")
        page.get_by_role("button", name="Use this key").click()
        expect(page.locator("#key")).to_contain_text("not known here")
        page.get_by_label("Key").fill(key)
        page.get_by_role("button", name="Use this key").click()
        studio.sees("happy; person 4")
        expect(page.locator("#key")).to_be_hidden()
        expect(page.locator("#emotion-faces img").first).to_be_visible()
        expect(page.locator("#snippet")).to_contain_text("X-API-Key: $EMOFACE_KEY")
        assert key not in page.content()
        assert quote(key) not in page.url
        page.reload()
        studio.sees("happy; person 4")  # the tab remembers it
        assert all("401" in line for line in studio.wrong)
        studio.wrong.clear()


def test_a_service_with_other_weights_than_before_is_asked_for_its_own(studio: Studio, served: Service) -> None:
    models = httpx.get(served.url + "/models", trust_env=False).json()
    tag = models["models"][0]["tag"]
    before = {"models": [{**models["models"][0], "tag": "tiny@000000000000"}]}
    studio.page.route("**/models", lambda route: route.fulfill(json=before), times=1)
    studio.open("?emotion=sad&seed=1")
    studio.sees("sad; person 1")
    expect(studio.page.locator("#weights")).to_have_text(tag)
    expect(studio.page.locator("#note-face")).to_be_hidden()
    assert studio.wrong
    assert all("422" in line for line in studio.wrong)
    studio.wrong.clear()


@pytest.mark.parametrize(
    ("section", "note", "slider"),
    [("all-emotions", "emotions", "#intensity"), ("intensities", "intensities", "#truncation")],
)
def test_a_row_that_cannot_be_drawn_says_so_beside_itself_and_comes_by_itself(
    studio: Studio, section: str, note: str, slider: str
) -> None:
    studio.open("?emotion=happy&seed=1")
    row = studio.page.locator(f"#{section}")
    row.scroll_into_view_if_needed()
    expect(row.locator("img").last).to_be_visible()
    before = row.locator("img").first.get_attribute("src")
    studio.page.context.set_offline(True)
    studio.slide(slider, 0.5)
    row.scroll_into_view_if_needed()
    expect(studio.page.locator(f"#note-{note}")).to_contain_text("cannot be reached")
    expect(row.locator("img").first).to_be_visible()  # the last ones stay
    studio.page.context.set_offline(False)
    expect(studio.page.locator(f"#note-{note}")).to_be_hidden()
    studio.waits(lambda: row.locator("img").first.get_attribute("src") != before)
    studio.wrong.clear()


def test_a_sheet_that_cannot_be_had_says_so_beside_its_button(studio: Studio) -> None:
    studio.open("?emotion=happy&seed=1")
    button = studio.page.locator("#people-sheet")
    button.scroll_into_view_if_needed()
    studio.page.context.set_offline(True)
    button.click()
    expect(studio.page.locator("#note-people")).to_contain_text("cannot be reached")
    studio.page.context.set_offline(False)
    with studio.page.expect_download() as download:
        button.click()
    assert download.value.suggested_filename == "people.png"
    expect(studio.page.locator("#note-people")).to_be_hidden()
    studio.wrong.clear()
