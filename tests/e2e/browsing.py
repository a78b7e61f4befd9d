"""A real browser for which there is no other host than the service."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Page, Request

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: A name that is not localhost, so that nothing is switched off because the page believes itself at home.
HOST: Final = "emoface.test"
FLAGS: Final = [
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


def by_name(url: str) -> str:
    """Return a service's address as the browser is to know it."""
    return url.replace("127.0.0.1", HOST)


@contextmanager
def watching(page: Page, wrong: list[str], levels: Collection[str]) -> Iterator[None]:
    """Collect in ``wrong`` what a page says on its console at these ``levels``, its exceptions, and its requests to
    other hosts; at the end of the block the page is closed, and nothing may be left there."""

    def on_console(message: ConsoleMessage) -> None:
        if message.type in levels:
            wrong.append(message.text)

    def on_request(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != HOST:
            wrong.append(f"another host: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", on_request)
    try:
        yield
    finally:
        page.close()
    assert not wrong
