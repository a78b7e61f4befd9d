"""A real browser opens /docs, executes the example and sees a face, with no other host at hand."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.e2e.processes import Service

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A name that is not localhost, so that nothing is switched off because the page believes itself at home.
HOST = "emoface.test"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {HOST} 127.0.0.1, MAP * ~NOTFOUND",
]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert path, f"the browser tests need one of {', '.join(BROWSERS)} on the PATH (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@dataclass(frozen=True, slots=True)
class Watched:
    """A page, and what went wrong on it."""

    page: Page
    wrong: list[str] = field(default_factory=list)


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """Fail the test on a console error, a failed request, or a request to another host."""
    watched = Watched(browser.new_page(viewport={"width": 1200, "height": 1600}))
    page, wrong = watched.page, watched.wrong

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            wrong.append(message.text)

    def on_request(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != HOST:
            wrong.append(f"another host: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
    page.on("request", on_request)
    yield watched
    page.close()
    assert not wrong


def test_a_face_is_one_click_away(watched: Watched, running: Service, tmp_path: Path) -> None:
    page = watched.page
    page.goto(running.url.replace("127.0.0.1", HOST) + "/docs", wait_until="networkidle")
    assert page.title() == "emoface - Swagger UI"
    operation = page.locator("#operations-faces-generate")
    operation.locator(".opblock-summary-control").click()
    # The example is in the editor already: "Try it out" is on by default.
    expect(operation.locator("textarea.body-param__text")).to_contain_text('"emotion": "happy"')
    operation.get_by_role("button", name="Execute").click()
    face = operation.locator(".live-responses-table img")
    expect(face).to_be_visible()
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=face.element_handle())
    assert face.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [256, 256]
    page.screenshot(path=tmp_path / "docs.png", full_page=True)
    headers = operation.locator(".live-responses-table .headerline").all_text_contents()
    assert any("x-seed: 2" in line for line in headers), headers


def test_a_mistake_is_explained_in_the_page(watched: Watched, running: Service) -> None:
    page = watched.page
    page.goto(running.url.replace("127.0.0.1", HOST) + "/docs", wait_until="networkidle")
    operation = page.locator("#operations-faces-generate")
    operation.locator(".opblock-summary-control").click()
    operation.locator("textarea.body-param__text").fill('{"emotion": "hapy"}')
    with page.expect_response("**/generate") as answered:
        operation.get_by_role("button", name="Execute").click()
    assert answered.value.status == 422
    expect(operation.locator(".live-responses-table")).to_contain_text("did you mean 'happy'?")
    # Chromium writes every answer that is an error to the console; this one was asked for.
    (line,) = watched.wrong
    assert "422" in line
    watched.wrong.clear()
