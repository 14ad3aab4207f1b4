"""Debian's Chromium, driven by playwright, as an annotator's browser."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from annotation.accounts import ADMIN, account_file
from annotation.connection import Connection

CHROMIUM = shutil.which("chromium")
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
SIZE = {"width": 1600, "height": 1000}
ANSWERS = "window.Htx.annotationStore.selected.serializeAnnotation().map(each => [each.from_name, each.value])"


@contextmanager
def signed_in(connection: Connection, email: str = ADMIN) -> Iterator[Any]:
    """A page of a browser in which a member is signed in, the one who runs Dailies unless another is named."""
    if CHROMIUM is None:
        pytest.skip("no `chromium` on the PATH; `apt-get install chromium` brings it")
    from playwright.sync_api import sync_playwright

    assert connection.home is not None
    account = json.loads(account_file(connection.home, email).read_text())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(120_000)
        page.goto(f"{connection.client.url}/user/login")
        page.fill("input[name=email]", account["email"])
        page.fill("input[name=password]", account["password"])
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/user/login" not in url)
        try:
            yield page
        finally:
            browser.close()


def open_stream(page: Any, url: str) -> None:
    """The first task that waits, its video ready to play."""
    page.goto(url)
    page.wait_for_selector("video", state="attached")
    page.wait_for_function("() => document.querySelector('video').readyState === 4")


def given(page: Any) -> dict[str, Any]:
    """Question -> value as the page would submit it now."""
    return dict(page.evaluate(f"() => {ANSWERS}"))


def submit(page: Any) -> None:
    """Submit with the key, and wait for the server to have it."""
    with page.expect_response(
        lambda answer: "/annotations" in answer.url and answer.request.method == "POST"
    ) as caught:
        page.keyboard.press("Control+Enter")
    assert caught.value.status == 201
