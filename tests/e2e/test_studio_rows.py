"""What is around the face in the studio: rows of faces, morphs, copies, downloads, verification, the visit."""

from __future__ import annotations

import ast
import io
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Download, Locator, expect

from model.provenance import read_claim
from tests.e2e.browsing import HOST
from tests.e2e.processes import Service
from tests.e2e.test_studio import Studio, drawn, served, studio

__all__ = ["served", "studio"]  # fixtures
pytestmark = pytest.mark.browser


def captions(row: Locator) -> list[str]:
    """Return what a row's faces are called, once all are there."""
    for index in range(row.locator("img").count()):
        expect(row.locator("img").nth(index)).to_be_visible()
    expect(row).to_have_attribute("aria-busy", "false")
    return row.locator("button").all_inner_texts()


def saved(download: Download) -> Image.Image:
    return Image.open(io.BytesIO(Path(download.path()).read_bytes()))


def test_rows_show_this_person_and_choose(studio: Studio) -> None:
    studio.open("?emotion=happy&seed=5")
    page = studio.page
    emotions, steps = page.locator("#emotion-faces"), page.locator("#intensity-faces")
    assert captions(emotions) == ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    before = emotions.locator("img").first.get_attribute("src")
    steps.scroll_into_view_if_needed()
    assert captions(steps) == ["0 %", "25 %", "50 %", "75 %", "100 %", "125 %", "150 %"]
    expect(steps.get_by_role("button", name="100 %")).to_have_attribute("aria-pressed", "true")
    steps.get_by_role("button", name="50 %", exact=True).click()
    studio.says(intensity="0.5")
    emotions.get_by_role("button", name="fear").click()
    studio.sees("fear; person 5")
    expect(page.locator("#emotions").get_by_role("button", name="fear")).to_have_attribute("aria-pressed", "true")
    expect(emotions.get_by_role("button", name="fear")).to_have_attribute("aria-pressed", "true")
    studio.waits(lambda: emotions.locator("img").first.get_attribute("src") != before)


def test_a_person_is_chosen_from_a_wall(studio: Studio) -> None:
    studio.open("?emotion=sad&seed=5")
    wall = studio.page.locator("#people-faces")
    wall.scroll_into_view_if_needed()
    assert captions(wall) == [str(seed) for seed in range(24)]
    studio.page.get_by_role("button", name="More people").click()
    studio.says(people="1")
    assert captions(wall) == [str(seed) for seed in range(24, 48)]
    wall.get_by_role("button", name="30").click()
    studio.sees("sad; person 30")
    studio.page.get_by_role("button", name="Previous people").click()
    studio.says(people="0", seed="30")
    expect(studio.page.get_by_role("button", name="Previous people")).to_be_disabled()
    studio.page.get_by_role("button", name="Others at random").click()
    studio.waits(lambda: int(studio.said()["people"]) > 0)
    assert captions(wall)[0] == str(24 * int(studio.said()["people"]))


def test_faces_are_saved_alone_and_on_sheets(studio: Studio, served: Service) -> None:
    studio.open("?emotion=sad=60,fear=40&seed=7&intensity=1.2&size=100")
    page = studio.page
    with page.expect_download() as download:
        page.get_by_role("button", name="Download PNG").click()
    assert download.value.suggested_filename == "sad-fear-7.png"
    face = drawn(served, "/faces/sad=60,fear=40/7.png?intensity=1.2&size=100")
    assert np.array_equal(np.asarray(saved(download.value)), face)
    with page.expect_download() as download:
        page.get_by_role("button", name="Contact sheet").click()
    assert download.value.suggested_filename == "sheet-7.png"
    assert saved(download.value).size == (8 * 128, 128 + 32)  # a name, seven emotions, and their titles
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all").click()
    assert saved(download.value).size == (2 * 128, 24 * 128 + 32)
    page.locator("#seed").fill("Doe, Jane")
    studio.sees("person Doe, Jane")
    page.get_by_role("button", name="Contact sheet").click()
    expect(page.locator("#note-save")).to_contain_text("comma")


def test_a_face_moves_and_is_saved(studio: Studio) -> None:
    studio.open("?emotion=sad&seed=7&size=64")
    page = studio.page
    page.get_by_role("button", name="Add an emotion").click()
    studio.says(morph="neutral,happy,angry")
    page.get_by_label("Emotion 3", exact=True).select_option("surprise")
    studio.says(morph="neutral,happy,surprise")
    play, image = page.locator("#play"), page.locator("#morph-image")
    expect(image).to_have_attribute("alt", "Person 7, neutral")
    play.click()
    expect(play).to_have_text("Stop")
    expect(image).to_have_attribute("alt", "Person 7, moving: neutral, then happy, then surprise")
    assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [256, 256]
    play.click()
    expect(play).to_have_text("Play")
    expect(image).to_have_attribute("alt", "Person 7, neutral")
    page.get_by_label("and back to the first").uncheck()
    studio.says(loop="0")
    for name, kind in (("WebP", "WEBP"), ("GIF", "GIF"), ("APNG", "PNG")):
        page.get_by_label(name, exact=True).check()
        with page.expect_download() as download:
            page.locator("#morph-download").click()
        moving = saved(download.value)
        assert (moving.format, moving.size) == (kind, (64, 64))
        assert getattr(moving, "n_frames", 1) == 25  # twelve from each key frame to the next, and the last
    page.get_by_role("button", name="Remove emotion 2").click()
    studio.says(morph="neutral,surprise")
    # Another person is no longer the one that moves.
    play.click()
    expect(play).to_have_text("Stop")
    page.locator("#dice").click()
    expect(play).to_have_text("Play")


class _Image(HTMLParser):
    attributes: dict[str, str | None]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "img"
        self.attributes = dict(attrs)


def test_what_is_copied_gives_this_very_face(studio: Studio, served: Service, tmp_path: Path) -> None:
    studio.open("?emotion=sad=60,fear=40&seed=O%27Brien%20%22%24x%22%20%26%20%3Csons%3E&intensity=1.2&size=100")
    page = studio.page
    snippet = page.locator("#snippet")
    wanted = studio.pixels()

    def text(way: str) -> str:
        page.get_by_label(way, exact=True).check()
        return snippet.inner_text()

    def is_wanted(picture: bytes) -> None:
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture)).convert("L")), wanted)

    def local(code: str) -> str:
        return code.replace(HOST, "127.0.0.1")  # the name is known to the browser alone

    environment = {"PATH": os.environ["PATH"], "no_proxy": "*"}
    curl = text("curl")
    if shutil.which("curl"):
        subprocess.run(["sh", "-c", local(curl)], cwd=tmp_path, env=environment, check=True, timeout=60)
        (file,) = tmp_path.iterdir()
        is_wanted(file.read_bytes())
        file.unlink()
    python = text("Python")
    ast.parse(python)
    subprocess.run([sys.executable, "-c", local(python)], cwd=tmp_path, env=environment, check=True, timeout=60)
    (file,) = tmp_path.iterdir()
    is_wanted(file.read_bytes())
    image = _Image()
    image.feed(text("<img>"))
    assert image.attributes["alt"] == "sad and fear face, generated"
    is_wanted(httpx.get(local(image.attributes["src"] or ""), trust_env=False).content)
    link = text("Link to this page")
    assert urlsplit(link).path == "/"
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator("#copied")).to_have_text("Copied.")
    page.locator("#seed").fill("")
    page.locator("#seed").focus()
    page.keyboard.press("Control+v")
    expect(page.locator("#seed")).to_have_value(link[:256])
    page.goto("about:blank")
    page.goto(link)
    studio.sees("sad 60, fear 40", "person O'Brien")
    assert np.array_equal(studio.pixels(), wanted)


def test_pictures_are_verified(studio: Studio, served: Service) -> None:
    picture = httpx.get(served.url + "/faces/angry/Ada.png?size=96&intensity=0.75", trust_env=False).content
    studio.open("?emotion=happy&seed=1")
    page = studio.page
    choose = page.get_by_label("Choose a picture")
    choose.set_input_files({"name": "ada.png", "mimeType": "image/png", "buffer": picture})
    expect(page.locator("#verified")).to_have_text("Verified")
    facts = dict(
        zip(page.locator("#facts dt").all_inner_texts(), page.locator("#facts dd").all_inner_texts(), strict=True)
    )
    assert facts["emotion"] == "angry"
    assert facts["person"] == "Ada"
    assert facts["differs"] == "not one pixel"
    assert facts["weights"] == read_claim(picture, 1024).facts["model"]
    page.get_by_role("button", name="Show this face").click()
    studio.sees("angry; person Ada")
    studio.says(emotion="angry", seed="Ada", intensity="0.75", size="96")
    bare = io.BytesIO()
    Image.open(io.BytesIO(picture)).save(bare, "PNG")
    # Dropped, and not anywhere in particular.
    dropped = page.evaluate_handle(
        """bytes => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(bytes)], "bare.png", { type: "image/png" }));
            return files;
        }""",
        list(bare.getvalue()),
    )
    page.dispatch_event("header", "drop", {"dataTransfer": dropped})
    expect(page.locator("#verified")).to_have_text("Not verified")
    expect(page.locator("#reason")).to_contain_text("does not say which face it is")
    expect(page.locator("#open-face")).to_be_hidden()
    choose.set_input_files({"name": "no.png", "mimeType": "image/png", "buffer": b"no picture"})
    expect(page.locator("#note-verify")).not_to_be_empty()
    expect(page.locator("#verdict")).to_be_hidden()
    (line,) = studio.wrong
    assert "400" in line
    studio.wrong.clear()


def test_the_visit_is_remembered_until_it_is_forgotten(studio: Studio) -> None:
    studio.open("?emotion=happy&seed=1")
    page, visited = studio.page, studio.page.locator("#visited")
    expect(visited.get_by_role("button")).to_have_text(["happy · 1"])
    page.locator("#emotions").get_by_role("button", name="sad").click()
    expect(visited.get_by_role("button")).to_have_text(["sad · 1", "happy · 1"])
    page.reload()
    expect(visited.get_by_role("button")).to_have_text(["sad · 1", "happy · 1"])
    visited.get_by_role("button", name="happy · 1").click()
    studio.sees("happy; person 1")
    studio.says(emotion="happy", seed="1")
    page.get_by_role("button", name="Forget them").click()
    expect(page.locator("#visit")).to_be_hidden()
