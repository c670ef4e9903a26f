"""The review as a person meets it: keys in a real browser, on a server started as `influence review` starts it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from flows.review.serving import serving
from tasks.artifacts import FLAGS, read_table, write_table
from tasks.reviews import store
from tasks.workspace import Workspace

pytestmark = pytest.mark.slow
MakeFlagged = Callable[..., Workspace]
Opening = Callable[..., Page]
PATIENCE = 30_000  # milliseconds, for a busy machine
ATTACKS = [
    "<script>window.hacked=1;alert(1)</script>",
    '"><img src=x onerror="window.hacked=2">',
    "</strong></div><svg onload=window.hacked=3><style>*{display:none}</style>",
    "**bold** [link](javascript:window.hacked=4) `code` :red[red] $x$ # heading",
    "\u202ereversed \u05e9\u05dc\u05d5\u05dd",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f600 " + "very long " * 40,
    "null\x00 and bell\x07",
]


@pytest.fixture
def open_review(browser: Browser) -> Iterator[Opening]:
    """Serves a workspace and opens its page; when the test ends, there may have been no complaint of any kind."""
    complaints: list[str] = []
    with ExitStack() as stack:

        def open_page(workspace: Workspace, **settings: Any) -> Page:
            url = stack.enter_context(serving(workspace.root, "ann")).url
            page = browser.new_context(**settings).new_page()
            stack.callback(page.context.close)
            page.set_default_timeout(PATIENCE)

            def on_request(request: Any) -> None:
                if urlsplit(request.url).scheme != "data" and not request.url.startswith(url):
                    complaints.append(f"request: {request.url}")

            def on_console(message: Any) -> None:
                if message.type in ("error", "warning"):
                    complaints.append(f"console: {message.text}")

            def on_dialog(dialog: Any) -> None:
                complaints.append(f"dialog: {dialog.message}")
                dialog.dismiss()

            page.on("request", on_request)
            page.on("console", on_console)
            page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
            page.on("dialog", on_dialog)
            page.goto(url)
            wait_for_keys(page)
            return page

        yield open_page
    assert complaints == []


def wait_for_keys(page: Page) -> None:
    page.locator("[class*=st-key-press-n-] button").wait_for()
    page.wait_for_function("window.influenceKeys")


def press(page: Page, key: str, shown: str) -> None:
    """Press a key, and wait for the example that is shown then."""
    page.keyboard.press(key)
    expect(page.locator(".iv-id")).to_have_text(shown, timeout=PATIENCE)


def test_keys_lead_to_rows(make_flagged: MakeFlagged, open_review: Opening) -> None:
    workspace = make_flagged()
    flags = read_table(workspace.flags).to_pylist()
    ids = [row["example_id"] for row in flags]
    page = open_review(workspace)
    expect(page.locator(".iv-id")).to_have_text(ids[0])
    picture = page.locator(".iv-example img")
    assert picture.evaluate("image => [image.naturalWidth, getComputedStyle(image).imageRendering]") == [
        28,
        "pixelated",
    ]
    assert picture.get_attribute("src").startswith("data:image/png")
    press(page, "k", ids[1])
    press(page, "r", ids[2])
    press(page, "d", ids[3])
    press(page, "u", ids[4])
    press(page, "z", ids[3])
    press(page, "d", ids[4])
    press(page, "ArrowRight", ids[5])
    press(page, "p", ids[4])
    page.keyboard.press("l")
    other = page.get_by_role("option").filter(has_not_text=flags[4]["suggested_label"]).first
    name = other.inner_text()
    other.click()
    page.wait_for_function("document.activeElement === document.body")  # the key after it judges again
    press(page, "r", ids[5])
    page.locator("input[aria-label=Reviewer]").focus()
    page.keyboard.type("kdr")  # what is typed into a field judges nothing
    write_table(workspace.flags, read_table(workspace.flags).slice(6), FLAGS)
    page.get_by_text("A run has finished.").wait_for()  # without a key or click
    expect(page.locator(".iv-id")).to_have_text(ids[6])
    suggested = flags[1]["suggested_label"]
    assert [(one.example_id, one.verdict, one.new_label) for one in store.read(workspace)] == [
        (ids[0], "keep", None),
        (ids[1], "relabel", suggested),
        (ids[2], "drop", None),
        (ids[3], "unsure", None),
        (ids[3], "withdrawn", None),
        (ids[3], "drop", None),
        (ids[4], "relabel", name),
    ]


@pytest.mark.parametrize("kind", ["table", "text"])
def test_hostile_values_are_shown_as_text(kind: str, make_flagged: MakeFlagged, open_review: Opening) -> None:
    workspace = make_flagged(
        kind=kind,
        classes=ATTACKS,
        texts=ATTACKS * 20,
        ids=[f"{place} {text}" for place in range(20) for text in ATTACKS],
        slices={ATTACKS[1]: ATTACKS},
    )
    page = open_review(workspace, viewport={"width": 390, "height": 800}, color_scheme="dark")
    parts = page.locator(".iv-heading, .iv-example, .iv-evidence")
    for _ in range(4):
        expect(page.locator(".iv-id")).to_contain_text(" ")
        assert parts.locator("script, svg, style, a, [onerror], [onload], h1, em, code").count() == 0
        assert page.locator("img").count() == 0
        before = page.locator(".iv-id").inner_text()
        page.keyboard.press("n")
        expect(page.locator(".iv-id")).not_to_have_text(before, timeout=PATIENCE)
    page.keyboard.press("l")
    options = page.get_by_role("option")
    options.first.wait_for()
    assert {ATTACKS[0], ATTACKS[1]} & set(options.all_inner_texts())
    page.keyboard.press("Escape")
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator("strong", has_text="window.hacked").count() > 0
