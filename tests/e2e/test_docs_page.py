"""A real browser opens /docs, executes the example and sees a face, with no other host at hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browsing import by_name, watching
from tests.e2e.processes import Service

pytestmark = pytest.mark.browser


@dataclass(frozen=True, slots=True)
class Watched:
    """A page, and what went wrong on it."""

    page: Page
    wrong: list[str] = field(default_factory=list)


@pytest.fixture
def watched(chromium: Browser) -> Iterator[Watched]:
    """Fail the test on a console error, a failed request, or a request to another host."""
    watched = Watched(chromium.new_page(viewport={"width": 1200, "height": 1600}))
    watched.page.on("requestfailed", lambda request: watched.wrong.append(f"failed: {request.url}"))
    with watching(watched.page, watched.wrong, ("error",)):
        yield watched


def test_a_face_is_one_click_away(watched: Watched, running: Service, tmp_path: Path) -> None:
    page = watched.page
    page.goto(by_name(running.url) + "/docs", wait_until="networkidle")
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
    assert any("x-seed: 4" in line for line in headers), headers


def test_a_mistake_is_explained_in_the_page(watched: Watched, running: Service) -> None:
    page = watched.page
    page.goto(by_name(running.url) + "/docs", wait_until="networkidle")
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
