"""Addresses that others have written, weights that know other things, and work that is overtaken."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Route, expect

from model.networks.checkpoint import save_generator
from model.networks.configs import StyleGeneratorConfig
from tests.e2e.processes import service
from tests.e2e.test_studio import Studio, served, studio, visiting
from tests.model.tiny import style_generator

__all__ = ["served", "studio"]  # fixtures
pytestmark = pytest.mark.browser


def test_other_words_for_an_emotion_are_understood_on_the_way_back_too(studio: Studio) -> None:
    studio.open("?emotion=joy&seed=1&morph=Anger,SAD")
    buttons = studio.page.locator("#emotions")
    expect(buttons.get_by_role("button", name="happy")).to_have_attribute("aria-pressed", "true")
    studio.says(emotion="happy", morph="angry,sad")
    studio.page.goto(f"{studio.url}/?emotion=Happy&seed=1")
    expect(buttons.get_by_role("button", name="happy")).to_have_attribute("aria-pressed", "true")
    buttons.get_by_role("button", name="sad").click()
    studio.sees("sad; person 1")
    studio.page.evaluate("history.replaceState(null, '', '?emotion=sadness&seed=1')")
    buttons.get_by_role("button", name="fear").click()
    studio.sees("fear; person 1")
    studio.page.go_back()
    studio.sees("sad; person 1")
    expect(buttons.get_by_role("button", name="sad")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("query", [f"?seed={'a' * 255}{quote('😀')}b", "?seed=1&emotion=hasOwnProperty"])
def test_no_address_stops_the_page(studio: Studio, query: str) -> None:
    studio.page.goto(f"{studio.url}/{query}")
    expect(studio.page.locator("html")).to_have_attribute("data-ready", "true")
    if "emotion" in query:
        expect(studio.page.locator("#note-emotion")).to_contain_text("Unknown emotion 'hasOwnProperty'")
    studio.page.locator("#emotions").get_by_role("button", name="sad").click()
    studio.sees("A face: sad; person ")
    assert all("422" in line for line in studio.wrong)
    studio.wrong.clear()


def test_weights_that_know_other_emotions_show_one_of_theirs(chromium: Browser, tmp_path: Path) -> None:
    config = StyleGeneratorConfig(
        widths=(16, 16, 8), latent_dim=16, w_dim=16, emotion_dim=8, emotions=("zero", "one", "two")
    )
    save_generator(tmp_path / "digits.safetensors", style_generator(config), {})
    with service(tmp_path / "digits.safetensors") as other, visiting(chromium, other.url) as studio:
        studio.open()
        studio.sees("A face: zero; person 4")
        studio.says(emotion="zero", morph="zero,one")
        expect(studio.page.locator("#note-emotion")).to_be_hidden()
        studio.page.locator("#play").scroll_into_view_if_needed()
        studio.page.locator("#play").click()
        expect(studio.page.locator("#morph-image")).to_have_attribute("alt", "Person 4, moving: zero, then one")


def test_no_face_is_called_by_the_name_of_another(studio: Studio) -> None:
    studio.open("?emotion=happy&seed=1")
    wall = studio.page.locator("#people-faces")
    wall.scroll_into_view_if_needed()
    expect(wall.locator("img").last).to_be_visible()
    studio.page.context.set_offline(True)
    studio.page.locator("#people-after").click()
    expect(studio.page.locator("#note-wall")).to_contain_text("cannot be reached")
    expect(wall.locator("button").first).to_have_text("24")
    expect(wall.locator("img").first).to_be_hidden()
    studio.page.locator("#people-before").click()
    studio.page.context.set_offline(False)
    expect(wall.locator("button").first).to_have_text("0")
    expect(wall.locator("img").first).to_be_visible()
    expect(studio.page.locator("#note-wall")).to_be_hidden()
    studio.wrong.clear()


def test_what_moves_after_a_second_try_can_be_stopped(studio: Studio) -> None:
    full = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "Too many faces wait."}

    def refuse(route: Route) -> None:
        route.fulfill(status=503, json=full, headers={"Retry-After": "1", "Content-Type": "application/problem+json"})

    studio.page.route("**/morph", refuse, times=1)
    studio.open("?emotion=happy&seed=1")
    play = studio.page.locator("#play")
    play.scroll_into_view_if_needed()
    play.click()
    expect(studio.page.locator("#note-morph")).to_contain_text("Too many faces wait.")
    expect(play).to_have_text("Play")
    expect(play).to_have_text("Stop")  # by itself
    expect(studio.page.locator("#note-morph")).to_be_hidden()
    play.click()
    expect(play).to_have_text("Play")
    studio.wrong.clear()


def test_a_file_on_its_way_arrives_whatever_is_shown_meanwhile(studio: Studio) -> None:
    studio.open("?emotion=happy&seed=1")
    held: list[Route] = []
    studio.page.route("**/morph", lambda route: held.append(route), times=1)
    studio.page.locator("#morph-download").scroll_into_view_if_needed()
    studio.page.locator("#morph-download").click()
    studio.waits(lambda: held)
    studio.slide("#truncation", 0.5)
    studio.page.wait_for_timeout(600)  # longer than a change has to rest before the still follows it
    with studio.page.expect_download() as download:
        held[0].continue_()
    assert download.value.suggested_filename == "morph-1.webp"
    assert studio.given_up == []
