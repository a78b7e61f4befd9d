"""The studio in a real browser: the face follows the controls, the address holds it all, and what fails is said."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, Request, Route, expect

from model.sampler import DEFAULT_TRUNCATION
from tests.e2e.browsing import HOST, by_name, watching
from tests.e2e.processes import Service, service

pytestmark = pytest.mark.browser


@dataclass(frozen=True, slots=True)
class Studio:
    """The studio on a page, what went wrong on it, and which requests it gave up itself."""

    page: Page
    url: str
    wrong: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)

    def open(self, query: str = "") -> None:
        """Load the page and wait for a face."""
        self.page.goto(f"{self.url}/{query}")
        self.sees()

    def sees(self, *words: str) -> None:
        """Wait until the face that is shown is called so."""
        for word in words:
            expect(self.page.locator("#portrait")).to_have_attribute("alt", re.compile(re.escape(word)))
        expect(self.page.locator("#portrait")).to_be_visible()
        expect(self.page.locator("#face")).to_have_attribute("aria-busy", "false")

    def said(self) -> dict[str, str]:
        """Return what the address says."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.page.url).query).items()}

    def says(self, **wanted: str) -> None:
        """Wait until the address says so."""
        self.waits(lambda: wanted.items() <= self.said().items())

    def waits(self, condition: Callable[[], object]) -> None:
        """Wait until ``condition()`` holds, while the page goes on."""
        for _ in range(500):
            if condition():
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"waited in vain; the address says {self.said()}")

    def slide(self, selector: str, value: float) -> None:
        """Move a slider, as a finger does: it moves, and then it rests."""
        self.page.locator(selector).fill(str(value))
        self.page.locator(selector).dispatch_event("change")

    def pixels(self) -> NDArray[np.uint8]:
        """Return the face that is shown, [H, W]."""
        script = """image => {
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            canvas.getContext("2d").drawImage(image, 0, 0);
            return canvas.toDataURL("image/png");
        }"""
        data = self.page.locator("#portrait").evaluate(script).partition(",")[2]
        return np.asarray(Image.open(io.BytesIO(b64decode(data))).convert("L"))


def drawn(service: Service, path: str) -> NDArray[np.uint8]:
    """Return a face that the service draws, [H, W]."""
    answer = httpx.get(service.url + path, timeout=30, trust_env=False)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


@contextmanager
def visiting(browser: Browser, url: str, width: int = 1280, height: int = 900, touch: bool = False) -> Iterator[Studio]:
    """Watch a studio: fail on a console error, a request that fails, or one to another host."""
    page = browser.new_page(viewport={"width": width, "height": height}, has_touch=touch)
    page.set_default_timeout(20_000)
    studio = Studio(page, by_name(url))

    def on_failed(request: Request) -> None:
        given_up = request.failure == "net::ERR_ABORTED"
        (studio.given_up if given_up else studio.wrong).append(request.url)

    page.on("requestfailed", on_failed)
    with watching(page, studio.wrong, ("error", "warning")):
        yield studio


@pytest.fixture(scope="module")
def served(weights: Path) -> Iterator[Service]:
    with service(weights) as started:
        yield started


@pytest.fixture
def studio(chromium: Browser, served: Service) -> Iterator[Studio]:
    with visiting(chromium, served.url) as studio:
        yield studio


def test_the_page_shows_the_face_that_its_address_says(studio: Studio, served: Service) -> None:
    studio.open("?emotion=sad=60,fear=40&seed=Ada%20Lovelace&intensity=1.25&truncation=0.5&size=160")
    studio.sees("sad 60, fear 40", "person Ada Lovelace")
    face = drawn(served, "/faces/sad=60,fear=40/Ada%20Lovelace.png?intensity=1.25&truncation=0.5&size=160")
    assert np.array_equal(studio.pixels(), face)
    page = studio.page
    expect(page.locator("#seed")).to_have_value("Ada Lovelace")
    expect(page.locator("#intensity")).to_have_value("1.25")
    expect(page.locator("#truncation")).to_have_value("0.5")
    expect(page.locator("#size")).to_have_value("160")
    expect(page.get_by_role("slider", name="fear")).to_have_value("40")


def test_what_an_address_lacks_or_cannot_mean_is_as_usual_and_other_words_are_known(studio: Studio) -> None:
    studio.open("?emotion=joy&intensity=99&size=abc&morph=happy")
    studio.sees("A face: happy; person 4")
    studio.page.locator("#dice").click()
    studio.says(emotion="happy", intensity="1.5", size="384", morph="neutral,happy")


def test_every_control_changes_the_face_and_the_address(studio: Studio, served: Service) -> None:
    studio.open("?size=64")
    page, before = studio.page, studio.pixels()

    def changed(**says: str) -> None:
        nonlocal before
        studio.says(**says)
        studio.sees()
        now = studio.pixels()
        assert now.shape != before.shape or not np.array_equal(now, before)
        before = now

    page.locator("#emotions").get_by_role("button", name="angry").click()
    studio.sees("angry;")
    changed(emotion="angry")
    studio.slide("#mix label:has-text('sad') input", 50)
    studio.sees("angry 100, sad 50")
    changed(emotion="angry=100,sad=50")
    studio.slide("#intensity", 0.5)
    changed(intensity="0.5")
    studio.slide("#truncation", 0.25)
    changed(truncation="0.25")
    page.locator("#seed").fill("somebody, / else?")
    studio.sees("person somebody, / else?")
    changed(seed="somebody, / else?")
    page.locator("#dice").click()
    studio.waits(lambda: studio.said()["seed"].isdecimal())
    studio.sees(f"person {studio.said()['seed']}")
    changed()
    page.locator("#size").fill("100")
    page.keyboard.press("Enter")
    changed(size="100")
    assert before.shape == (100, 100)
    seed = studio.said()["seed"]
    assert np.array_equal(
        before, drawn(served, f"/faces/angry=100,sad=50/{seed}.png?intensity=0.5&truncation=0.25&size=100")
    )
    page.locator("#reset").click()
    studio.says(intensity="1", truncation=str(DEFAULT_TRUNCATION), size="384")


def test_what_the_weights_cannot_draw_cannot_be_chosen(studio: Studio) -> None:
    studio.open()
    buttons = studio.page.locator("#emotions button")
    assert buttons.all_text_contents() == [
        "angry",
        "disgust",
        "fear",
        "happy",
        "sad",
        "surprise",
        "neutral",
        "contempt",
    ]
    expect(buttons.last).to_be_disabled()
    assert studio.page.locator("#mix input").count() == 7
    tag = httpx.get(studio.url.replace(HOST, "127.0.0.1") + "/models", trust_env=False).json()["models"][0]["tag"]
    expect(studio.page.locator("#weights")).to_have_text(tag)


def test_the_pad_gives_an_emotion_alone_at_its_place_and_mixes_between(studio: Studio) -> None:
    studio.open("?emotion=neutral")
    pad = studio.page.locator("#pad")
    box = pad.bounding_box()
    assert box

    def click(valence: float, arousal: float) -> None:
        pad.click(position={"x": (1 + valence) / 2 * box["width"], "y": (1 - arousal) / 2 * box["height"]})

    click(-0.63, -0.27)  # where Russell and Mehrabian have "sad"
    studio.sees("sad")
    studio.waits(lambda: studio.said()["emotion"].startswith("sad"))
    click(0.6, 0.6)  # between surprise and happy
    studio.sees("happy", "surprise")
    shares = dict(part.split("=") for part in studio.said()["emotion"].split(","))
    assert {"happy", "surprise"} <= set(shares)
    assert sum(map(int, shares.values())) == 100
    assert len(shares) <= 3
    studio.slide("#valence", 0)
    studio.slide("#arousal", 0)
    studio.sees("A face: neutral;")


def test_back_and_forward_go_through_faces(studio: Studio) -> None:
    studio.open("?emotion=happy&seed=1")
    page = studio.page
    page.locator("#emotions").get_by_role("button", name="sad").click()
    studio.sees("sad; person 1")
    page.locator("#seed").fill("3")
    page.locator("#seed").blur()
    studio.sees("sad; person 3")
    studio.says(seed="3")
    page.go_back()
    studio.sees("sad; person 1")
    expect(page.locator("#seed")).to_have_value("1")
    page.go_back()
    studio.sees("happy; person 1")
    expect(page.locator("#emotions").get_by_role("button", name="happy")).to_have_attribute("aria-pressed", "true")
    page.go_forward()
    studio.sees("sad; person 1")
    page.reload()
    studio.sees("sad; person 1")


def test_a_face_that_is_wanted_no_more_is_given_up_and_the_last_one_stays(studio: Studio) -> None:
    studio.open("?emotion=happy&seed=1")
    page, held = studio.page, list[Route]()
    page.route("**/faces/sad/**", lambda route: held.append(route))
    page.locator("#emotions").get_by_role("button", name="sad").click()
    studio.waits(lambda: held)
    expect(page.locator("#face")).to_have_attribute("aria-busy", "true")
    expect(page.locator("#portrait")).to_be_visible()
    expect(page.locator("#portrait")).to_have_attribute("data-emotion", "happy")
    page.locator("#emotions").get_by_role("button", name="fear").click()
    studio.sees("fear; person 1")
    assert any("/faces/sad/" in url for url in studio.given_up)
    for route in held:  # the browser has forgotten it; Playwright still waits to be told what becomes of it
        route.abort()


def test_its_files_need_nothing_from_elsewhere_and_are_kept_by_browsers(served: Service) -> None:
    with httpx.Client(base_url=served.url, timeout=30, trust_env=False) as client:
        page = client.get("/")
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        addresses = set(re.findall(r'(?:src|href)="(studio/[^"]+)"', page.text))
        assert {"studio/main.js", "studio/base.css", "studio/parts.css", "studio/icon.svg"} <= addresses
        todo, seen = [f"/{address}" for address in addresses] + ["/"], set[str]()
        while todo:
            address = todo.pop()
            if address in seen:
                continue
            seen.add(address)
            answer = client.get(address)
            assert answer.status_code == 200, address
            assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", answer.text), address
            tag = answer.headers["etag"]
            assert client.get(address, headers={"If-None-Match": tag}).status_code == 304
            assert client.head(address).headers["content-length"] == str(len(answer.content))
            todo += [f"/studio/{name}" for name in re.findall(r'from "\./([^"]+)"', answer.text)]
        files = {file.name for file in (Path(__file__).parents[2] / "service" / "studio").iterdir()}
        served_names = {address.removeprefix("/studio/") for address in seen if address != "/"}
        assert served_names == {name for name in files if name.endswith((".js", ".css", ".svg"))}, "a file nobody uses"
        refused = client.post("/")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
        assert client.get("/studio/page.py").status_code == 404
        assert client.get("/studio/..%2f..%2fsettings.py").status_code == 404
        assert not any(address.startswith("/studio") for address in client.get("/openapi.json").json()["paths"])
