"""The page in a real browser, against a real server in a process of its own.

`FO1AGENT_SCREENSHOTS=docs pytest tests/e2e/serve/test_page.py -k screenshots` draws the pictures of docs/page.md anew.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from fo1agent.pictures.drawing import region_color

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import sync_playwright

from tests import segmenting
from tests.e2e.serve.page_server import HARMFUL

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ["disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update"]
ARGUMENTS = ["--no-sandbox", "--disable-sync", *(f"--{name}" for name in QUIET)]
WAIT_MS = 60_000  # for anything: the machine may be busy
READY = 'body[data-state="ready"]'
CAT_QUESTION = "How many remotes are to the right of the cat, and is there a dog?"

NO_BROWSER = "The page needs Chromium: apt-get install chromium, or .venv/bin/playwright install chromium."

pytestmark = pytest.mark.usefixtures("browser")


@contextlib.contextmanager
def server(kind: str, **settings: Any) -> Iterator[str]:
    """A server's address."""
    command = [sys.executable, "-m", "tests.e2e.serve.page_server", kind, json.dumps(settings)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=root) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://"), "the server did not start"
            yield address.removesuffix("/") + "/"
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def nano() -> Iterator[str]:
    """A server of fo1-nano."""
    with server("nano") as address:
        yield address


@pytest.fixture(scope="module")
def signs() -> Iterator[str]:
    """A server whose model knows two buses and reads harmful text."""
    with server("signs") as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The Chromium in PATH, or playwright's own. Without one the tests are skipped, but where CI is set they fail."""
    with sync_playwright() as playwright:
        if not Path(CHROMIUM or playwright.chromium.executable_path).is_file():
            (pytest.fail if os.environ.get("CI") else pytest.skip)(NO_BROWSER)
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """`visit(address, **context)` → the page. At the end: no errors, no broken policy, no request to another host."""
    with contextlib.ExitStack() as stack:
        seen: list[tuple[str, Any, list[str]]] = []

        def opened(address: str, width: int = 1280, height: int = 800, **context: Any) -> Any:
            made = browser.new_context(viewport={"width": width, "height": height}, **context)
            stack.callback(made.close)
            page = made.new_page()
            page.set_default_timeout(WAIT_MS)
            wrong: list[str] = []
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda said: wrong.append(said.text) if broken_policy(said.text) else None)
            page.on("request", lambda request: wrong.append(request.url) if foreign(request.url, address) else None)
            page.goto(address)
            seen.append((address, page, wrong))
            return page

        yield opened
        for _, _, wrong in seen:
            assert wrong == []


def broken_policy(text: str) -> bool:
    return "Content Security Policy" in text or "Refused to" in text


def foreign(url: str, address: str) -> bool:
    return not url.startswith((address, f"blob:{address}", "data:"))


@pytest.fixture(scope="module")
def demo(repo: Path) -> Path:
    """The folder with the photographs."""
    return repo / "fo1agent" / "data" / "demo"


def give(page: Any, picture: Path | bytes) -> None:
    """Give the page a picture and wait until it can be asked about."""
    file: Any = picture
    if isinstance(picture, bytes):
        file = {"name": "photo.png", "mimeType": "image/png", "buffer": picture}
    page.set_input_files("#file", file)
    page.wait_for_selector(READY)


def ask(page: Any, question: str) -> None:
    page.fill("#question", question)
    page.press("#question", "Enter")
    page.wait_for_selector(".turn:first-child .answer:not(.waiting)")
    page.wait_for_selector(READY)


def lit(page: Any) -> list[str]:
    """The regions whose boxes are lit."""
    return sorted(page.eval_on_selector_all(".region.on", "nodes => nodes.map(node => node.dataset.regions)"))


def opened(address: str, file: Path) -> str:
    """A picture's handle."""
    response = httpx.post(f"{address}v1/images", files={"file": file.read_bytes()}, timeout=WAIT_MS / 1000)
    return response.raise_for_status().json()["image"]


def post(address: str, route: str, **body: Any) -> dict[str, Any]:
    """What the server says without the page."""
    return httpx.post(f"{address}v1/{route}", json=body, timeout=WAIT_MS / 1000).raise_for_status().json()


def names(ids: Iterable[str]) -> list[str]:
    return sorted(one.rpartition("/")[2] for one in ids)


def picture(width: int = 400, height: int = 230, **save: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 90)).save(file, save.pop("format", "PNG"), **save)
    return file.getvalue()


# ---- asking ----------------------------------------------------------------------------------------------------------


def test_a_question_is_answered_with_steps_and_regions(nano: str, visit: Any, demo: Path) -> None:
    page = visit(nano)
    give(page, demo / "cat.jpg")
    ask(page, CAT_QUESTION)

    image = opened(nano, demo / "cat.jpg")
    expected = post(nano, "ask", image=image, question=CAT_QUESTION)["answer"]
    assert page.inner_text(".answer") == expected["text"]
    assert page.locator(".step").count() == len(expected["steps"])
    strong = page.eval_on_selector_all(".region.strong", "nodes => nodes.map(node => node.dataset.regions)")
    assert sorted(strong) == names(expected["evidence"])
    told = page.inner_text("#live")
    assert "Step 1: find" in told
    assert f"Answer: {expected['text']}" in told

    # Words and steps light what they speak of, and nothing else.
    labels = {region["id"]: region["label"] for region in expected["regions"]}
    page.hover(".answer .word:text-is('remotes')")
    assert lit(page) == names(region for region in expected["evidence"] if labels[region] == "remote")
    page.hover(".step:nth-child(2) .tool")
    assert lit(page) == names(expected["steps"][1]["regions"])
    page.mouse.move(2, 2)
    assert lit(page) == []


def test_a_clicked_region_can_be_asked_about(nano: str, visit: Any, demo: Path) -> None:
    page = visit(nano)
    give(page, demo / "cat.jpg")
    cat = post(nano, "tools/ground", image=opened(nano, demo / "cat.jpg"), phrase="cat")["result"]["regions"][0]
    x1, y1, x2, y2 = cat["box"]
    click(page, ((x1 + x2) / 2, (y1 + y2) / 2))
    assert page.locator("#panel").is_visible()
    assert "cat" in page.inner_text("#panel h2")
    assert lit(page) == [cat["id"]]
    shown = '#panel .result:not(:has(.waiting)):has-text("{}")'
    for button in ("What is this?", "More like this"):
        page.click(f"#panel button:text-is('{button}')")
        page.wait_for_selector(shown.format(button))
    page.fill("#panel input", "What colour is it?")
    page.press("#panel input", "Enter")
    page.wait_for_selector(shown.format("What colour is it?"))
    assert page.inner_text("#panel .result p:nth-child(2)")
    page.keyboard.press("Escape")
    assert page.locator("#panel").is_hidden()
    page.mouse.move(2, 2)  # the focus is back at the box, which lights it until something is pointed at
    assert lit(page) == []


def click(page: Any, point: tuple[float, float]) -> None:
    """Click a point of the picture, in its own pixels."""
    page.mouse.click(*at(page, point))


def at(page: Any, point: tuple[float, float]) -> tuple[float, float]:
    """Where on the screen a point of the picture is."""
    box = page.locator("#canvas").bounding_box()
    unit = box["width"] / page.evaluate("document.getElementById('canvas').viewBox.baseVal.width")
    return box["x"] + point[0] * unit, box["y"] + point[1] * unit


def test_a_box_drawn_by_hand_can_be_asked_about(signs: str, visit: Any) -> None:
    page = visit(signs)
    give(page, picture())
    page.mouse.move(*at(page, (30, 30)))
    page.mouse.down()
    page.mouse.move(*at(page, (180, 190)), steps=4)
    page.mouse.up()
    assert "A part of the picture" in page.inner_text("#panel h2")
    [name] = lit(page)
    assert re.fullmatch(r"b\d+_\d+_\d+_\d+", name)
    assert all(abs(int(got) - want) <= 2 for got, want in zip(name[1:].split("_"), (30, 30, 180, 190), strict=True))
    page.click("#panel button:text-is('What is this?')")
    page.wait_for_selector("#panel .said:has-text('bus')")


def test_everything_can_be_done_with_the_keyboard(signs: str, visit: Any) -> None:
    page = visit(signs)
    give(page, picture())
    page.focus("#another")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.region')"):
            break
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "r0, bus, 95 percent"
    assert lit(page) == ["r0"]
    page.keyboard.press("ArrowRight")
    assert lit(page) == ["r1"]
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "panel"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "×"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#panel .said:has-text('bus')")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.regions") == "r1"


def test_photographs_and_questions_are_offered_to_begin_with(signs: str, visit: Any) -> None:
    page = visit(signs)
    page.click("[data-demo='bus.jpg']")
    page.wait_for_selector(READY)
    assert page.locator("#found .chip").all_inner_texts() == ["r0 bus", "r1 bus"]
    questions = page.locator("#examples button").all_inner_texts()
    page.click("#examples button")
    page.wait_for_selector(f".turn h2:text-is('{questions[0]}')")
    assert page.locator("#examples button").all_inner_texts() == questions[1:]


def test_what_was_found_is_named_in_full_when_it_is_wished(signs: str, visit: Any, demo: Path) -> None:
    things = [{"id": f"img_1/r{k}", "label": "cup" if k else "bus", "score": 0.9, "box": [9 * k, 0, 9 * k + 8, 8]}
              for k in range(15)]  # fmt: skip
    page = visit(signs)
    told = {"image": "img_1", "width": 640, "height": 480, "model": "m", "note": "", "regions": things}
    page.route("**/v1/images", lambda route: route.fulfill(json=told))
    page.route("**/pixels", lambda route: route.fulfill(path=demo / "bus.jpg"))
    page.set_input_files("#file", {"name": "mine.jpg", "mimeType": "image/jpeg", "buffer": b"x"})
    page.wait_for_selector(READY)
    assert page.locator("#found .chip").count() == 12
    # One bus and fourteen cups: "the bus", but not "the cup".
    assert page.locator("#examples button").all_inner_texts()[:2] == [
        "How many cups are there?",
        "How many cups are to the left of the bus?",
    ]
    page.click("#found button:text-is('and 3 more')")
    assert page.locator("#found .chip").count() == 15
    assert page.locator("#found button:has-text('more')").count() == 0


def test_every_proposal_can_be_shown(nano: str, visit: Any, demo: Path) -> None:
    page = visit(nano)
    give(page, demo / "bus.jpg")
    few = page.locator(".region").count()
    page.click("#all")
    assert page.inner_text("#all") == "Show each thing once"
    assert page.locator(".region").count() > 10 * few
    page.click("#all")
    assert page.locator(".region").count() == few


def test_pictures_are_also_dropped_and_pasted(signs: str, visit: Any) -> None:
    page = visit(signs)
    send = """([kind, bytes]) => {
        const moved = new DataTransfer();
        moved.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
        const event = kind === "drop"
            ? new DragEvent("drop", { dataTransfer: moved, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: moved, bubbles: true });
        document.body.dispatchEvent(event);
    }"""
    for kind, width in (("drop", 400), ("paste", 420)):
        page.evaluate(send, [kind, list(picture(width))])
        page.wait_for_selector(f"#status:has-text('{width} × 230')")


def test_a_picture_is_shown_upright(signs: str, visit: Any) -> None:
    page = visit(signs)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    give(page, picture(400, 300, format="JPEG", exif=exif))
    shown = page.evaluate("(() => { const { naturalWidth: w, naturalHeight: h } = photo; return [w, h]; })()")
    assert shown == [300, 400]
    assert page.get_attribute("#canvas", "viewBox") == "0 0 300 400"


# ---- what can go wrong -----------------------------------------------------------------------------------------------


def test_markup_in_a_picture_is_shown_as_text(signs: str, visit: Any) -> None:
    page = visit(signs)
    give(page, picture())
    ask(page, f"What is written on the bus? {HARMFUL}")
    ask(page, "What is written on the bus?")
    assert HARMFUL in page.inner_text(".turn:first-child .answer")
    assert HARMFUL in page.inner_text(".turn:first-child .steps")
    assert HARMFUL in page.inner_text(".turn:last-child h2")
    page.locator(".region").first.focus()
    page.keyboard.press("Enter")
    page.click("#panel button:text-is('Read it')")
    page.wait_for_selector("#panel .said")
    assert HARMFUL in page.inner_text("#panel .said")
    assert page.locator("#turns img, #panel img, #live img, main script").count() == 0
    assert page.title() == "fo1agent"


def test_it_says_when_it_cannot_tell(signs: str, visit: Any) -> None:
    page = visit(signs)
    give(page, picture())
    ask(page, "How many ostriches are there?")
    assert page.locator(".turn.abstained:not(.failed)").count() == 1
    ask(page, "Bus so what where the?")
    question = page.inner_text(".turn:first-child .actions button")
    page.click(".turn:first-child .actions button")
    page.wait_for_selector(f".turn:first-child h2:text-is('{question.removeprefix('Ask: ')}')")


def test_what_it_could_not_judge_stands_below_the_answer(signs: str, visit: Any) -> None:
    page = visit(signs)
    give(page, picture())
    ask(page, "How many stolen buses are there?")
    assert page.inner_text(".turn:first-child .open") == "Not judged: “stolen” · 0 to 2"
    assert "not judged: stolen" in page.inner_text(".step:first-child")
    assert "Not judged: “stolen” · 0 to 2" in page.inner_text("#live")
    chips = page.eval_on_selector_all(
        ".turn:first-child .actions .chip", "nodes => nodes.map(node => node.textContent)"
    )
    assert chips == ["r0 bus", "r1 bus"]
    ask(page, "How many buses are there?")
    assert page.locator(".turn:first-child .open").is_hidden()


def test_a_question_goes_back_to_those_on_the_page(signs: str, visit: Any) -> None:
    page = visit(signs)
    give(page, picture())
    ask(page, "How many buses are there?")
    ask(page, "Which of them is the largest?")
    assert page.inner_text(".turn:first-child .answer") == "The largest bus is r0."
    with page.expect_request("**/v1/ask") as sent:
        ask(page, "And where are they?")
    assert sent.value.post_data_json["before"] == ["How many buses are there?", "Which of them is the largest?"]
    assert page.inner_text(".turn:first-child .answer").startswith("The buses are")
    give(page, picture(420, 240))  # of another photo nothing was asked yet
    with page.expect_request("**/v1/ask") as sent:
        ask(page, "Where are they?")
    assert sent.value.post_data_json["before"] == []
    assert "“they”" in page.inner_text(".turn:first-child .answer")


def test_a_question_that_is_tried_again_does_not_go_back_to_itself(signs: str, visit: Any) -> None:
    page = visit(signs)
    give(page, picture())
    ask(page, "How many buses are there?")
    page.route("**/v1/ask", answering("event: error\ndata: {}\n\n"))
    ask(page, "Which of them is the largest?")
    page.unroute("**/v1/ask")
    with page.expect_request("**/v1/ask") as sent:
        page.click(".turn .actions button:text-is('Try again')")
        page.wait_for_selector(".turn:first-child .answer:has-text('The largest bus')")
    assert sent.value.post_data_json["before"] == ["How many buses are there?"]


def test_a_file_that_is_no_picture_is_refused_in_words(signs: str, visit: Any, tmp_path: Path) -> None:
    page = visit(signs)
    (tmp_path / "notes.png").write_bytes(b"no picture at all")
    page.set_input_files("#file", tmp_path / "notes.png")
    page.wait_for_selector("#notice:visible")
    assert page.locator("#start").is_visible()
    give(page, picture())
    assert page.locator("#notice").is_hidden()
    # The next failure leaves the picture that is there.
    page.set_input_files("#file", tmp_path / "notes.png")
    page.wait_for_selector("#notice:visible")
    assert page.locator("#frame").is_visible()
    ask(page, "How many buses are there?")


def test_limits_and_tokens_are_told(visit: Any) -> None:
    with server("signs", token="a secret", body_bytes=50_000) as address:
        page = visit(address)
        page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": picture()})
        page.fill("#token-field", "ein „Wort“")  # what no header can hold
        page.press("#token-field", "Enter")
        assert page.locator("#token-field:invalid").count() == 1
        page.fill("#token-field", "a guess")
        page.press("#token-field", "Enter")
        page.wait_for_selector("#token:has-text('does not take')")
        page.fill("#token-field", "a secret")
        page.press("#token-field", "Enter")
        page.wait_for_selector(READY)
        ask(page, "How many buses are there?")
        assert page.evaluate("JSON.stringify({ ...localStorage }) + document.cookie") == "{}"
        assert page.evaluate("Object.values(sessionStorage)") == ["a secret"]

        large = {"name": "a.png", "mimeType": "image/png", "buffer": os.urandom(300_000)}
        page.set_input_files("#file", large)
        page.wait_for_selector("#notice:has-text('too large')")


def test_a_busy_server_is_asked_again(signs: str, visit: Any) -> None:
    page = visit(signs)
    give(page, picture())
    busy = {"error": {"message": "Too many requests wait.", "type": "overloaded", "code": "queue_full"}}
    refusals = iter([{"status": status, "headers": {"Retry-After": "1"}, "json": busy} for status in (429, 503)])

    def answer(route: Any) -> None:
        refusal = next(refusals, None)
        route.fulfill(**refusal) if refusal else route.continue_()

    page.route("**/v1/ask", answer)
    page.fill("#question", "How many buses are there?")
    page.press("#question", "Enter")
    page.wait_for_selector(".answer:has-text('server is busy')")
    page.wait_for_selector(".answer:has-text('2 buses')")


def test_a_question_can_be_stopped(signs: str, visit: Any) -> None:
    page = visit(signs)
    give(page, picture())
    page.route("**/v1/ask", lambda route: None)
    page.fill("#question", "How many buses are there?")
    page.press("#question", "Enter")
    page.click("#submit:text-is('Stop')")
    page.wait_for_selector(".turn.failed .answer:text-is('Stopped.')")
    page.unroute("**/v1/ask")
    ask(page, "How many buses are there?")
    assert page.locator(".turn").count() == 2


def test_a_forgotten_picture_is_sent_again(signs: str, visit: Any) -> None:
    page = visit(signs)
    with page.expect_response("**/v1/images") as sent:
        give(page, picture())
    httpx.delete(f"{signs}v1/images/{sent.value.json()['image']}").raise_for_status()
    ask(page, "How many buses are there?")
    assert "2 buses" in page.inner_text(".answer")


def test_no_connection_and_a_broken_one_can_be_tried_again(signs: str, visit: Any) -> None:
    page = visit(signs)
    give(page, picture())
    page.context.set_offline(True)
    page.wait_for_selector("#offline:visible")
    ask(page, "How many buses are there?")
    assert "cannot be reached" in page.inner_text(".turn.failed .answer")
    page.context.set_offline(False)
    page.wait_for_selector("#offline", state="hidden")

    half = 'event: step_start\ndata: {"type":"step_start","number":1,"id":"s1","tool":"find","args":{}}\n\n'
    failed = half + 'event: error\ndata: {"error":{"message":"The deadline has passed.","type":"timeout"}}\n\n'
    for body, said in ((half, "ended before the answer"), (failed, "The deadline has passed.")):
        page.route("**/v1/ask", answering(body))
        page.click(".turn .actions button:text-is('Try again')")
        page.wait_for_selector(f".turn.failed .answer:has-text('{said}')")
        page.unroute("**/v1/ask")
    page.click(".turn .actions button:text-is('Try again')")
    page.wait_for_selector(".answer:has-text('2 buses')")
    assert page.locator(".turn").count() == 1


def answering(stream: str) -> Any:
    return lambda route: route.fulfill(body=stream, content_type="text/event-stream")


# ---- how it looks ----------------------------------------------------------------------------------------------------


def test_regions_have_their_colours_of_everywhere(signs: str, visit: Any) -> None:
    page = visit(signs)
    ids = [f"r{number}" for number in range(41)] + ["img_3fa9c1d2/r7", "b10_20_110_220", "b0_0_1_1"]
    got = page.evaluate("async (ids) => ids.map((await import('/static/colors.js')).regionColor)", ids)
    assert got == [region_color(one) for one in ids]


WEAK_TEXT = """(background) => {
    const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const painted = (colors) => {
        for (const color of colors) { pen.fillStyle = color; pen.fillRect(0, 0, 1, 1); }
        return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const linear = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const light = (rgb) => rgb.reduce((sum, value, i) => sum + linear(value / 255) * [0.2126, 0.7152, 0.0722][i], 0);
    const contrast = (back, text) => {
        const [dark, bright] = [light(painted(back)), light(painted([...back, text]))].sort((a, b) => a - b);
        return (bright + 0.05) / (dark + 0.05);
    };
    const weak = [];
    const judge = (text, ratio) => ratio < 4.5 && weak.push(`${text}: ${ratio.toFixed(2)}`);
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node; (node = walker.nextNode()); ) {
        const element = node.parentElement;
        const apart = element.closest("svg, .hidden, .skip, :disabled");
        if (apart || !node.data.trim() || !element.checkVisibility()) continue;
        const layers = [];
        for (let at = element; at; at = at.parentElement) layers.unshift(getComputedStyle(at).backgroundColor);
        judge(node.data.trim(), contrast([background, ...layers], getComputedStyle(element).color));
    }
    for (const tag of document.querySelectorAll(".tag:not(.faint)")) {
        const [back, text] = ["rect", "text"].map((part) => getComputedStyle(tag.querySelector(part)).fill);
        judge(tag.textContent, contrast([back], text));
    }
    return weak;
}"""
"""Texts on the page whose contrast with what lies behind them is below 4.5, as WCAG's level AA wants it."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(signs: str, visit: Any, scheme: str) -> None:
    page = visit(signs, color_scheme=scheme, reduced_motion="reduce")
    background = "white" if scheme == "light" else "black"
    assert page.evaluate(WEAK_TEXT, background) == []
    give(page, picture())
    ask(page, "How many ostriches are there?")
    ask(page, "How many buses are there?")
    page.locator(".region").first.focus()
    page.keyboard.press("Enter")
    page.click("#panel button:text-is('More like this')")
    page.wait_for_selector("#panel .result:not(:has(.waiting))")
    assert page.evaluate(WEAK_TEXT, background) == []
    assert page.evaluate("document.getAnimations().length") == 0


def test_light_and_dark_can_be_chosen_and_are_kept(signs: str, visit: Any) -> None:
    page = visit(signs, color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.click("#theme")
    dark = page.evaluate(paper)
    assert dark != light
    page.reload()
    assert page.evaluate(paper) == dark
    assert page.get_attribute("#theme", "aria-pressed") == "true"


def test_it_works_where_the_browser_may_remember_nothing(signs: str, visit: Any) -> None:
    page = visit(signs, color_scheme="light")
    forbidden = "Object.defineProperty(window, '{}', {{ get() {{ throw new DOMException('no', 'SecurityError'); }} }})"
    for area in ("localStorage", "sessionStorage"):
        page.add_init_script(forbidden.format(area))
    page.reload()
    page.click("#theme")
    assert page.get_attribute("#theme", "aria-pressed") == "true"
    give(page, picture())
    ask(page, "How many buses are there?")


@pytest.mark.parametrize("width", [360, 768])
def test_a_narrow_screen_is_enough(signs: str, visit: Any, width: int) -> None:
    page = visit(signs, width, 740, has_touch=True, is_mobile=True)
    assert page.locator("#camera-label").is_visible()
    assert page.get_attribute("#camera", "capture") == "environment"
    give(page, picture(300, 600))
    ask(page, "How many buses are there?")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.touchscreen.tap(*at(page, (100, 100)))
    assert page.locator("#panel").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # The picture stays in sight while its regions are talked of.
    box = page.locator("#frame").bounding_box()
    assert box["y"] >= 0
    assert box["y"] + box["height"] < 500


def test_everything_has_a_name_for_screen_readers(signs: str, visit: Any) -> None:
    page = visit(signs)
    give(page, picture())
    ask(page, "How many buses are there?")
    page.locator(".region").first.focus()
    page.keyboard.press("Enter")
    tree = page.locator("body").aria_snapshot()
    assert re.findall(r"- (?:button|textbox|link|img|group|region|article)$", tree, re.MULTILINE) == []
    assert '- button "r0, bus, 95 percent"' in tree


SCENES: dict[str, dict[str, Any]] = {
    "page-wide": {"width": 1280, "height": 800, "photo": "cat.jpg", "question": CAT_QUESTION},
    "page-narrow": {"width": 390, "height": 844, "photo": "bus.jpg", "question": "Who is nearest to the bus?"},
    "page-dark": {"width": 1280, "height": 800, "photo": "cat.jpg", "question": CAT_QUESTION},
}


@pytest.mark.parametrize("name", SCENES)
def test_screenshots_are_small_enough_for_the_documentation(
    nano: str, visit: Any, demo: Path, tmp_path: Path, name: str
) -> None:
    """The pictures of docs/page.md; FO1AGENT_SCREENSHOTS=docs writes them there."""
    scene = SCENES[name]
    scheme = "dark" if name == "page-dark" else "light"
    page = visit(nano, scene["width"], scene["height"], color_scheme=scheme, reduced_motion="reduce")
    give(page, demo / scene["photo"])
    ask(page, scene["question"])
    if name == "page-dark":
        page.locator(".answer .word").first.hover()
    file = Path(os.environ.get("FO1AGENT_SCREENSHOTS", tmp_path)) / f"{name}.png"
    page.screenshot(path=file)
    small(Image.open(file).convert("RGB")).save(file, optimize=True)
    assert file.stat().st_size < 300_000


def small(shot: Image.Image) -> Image.Image:
    """The picture in 256 colours, the regions' exactly among them."""
    strip = Image.new("RGB", (shot.width, 9 * 24))
    for number in range(9):
        strip.paste(region_color(f"r{number}"), (0, 24 * number, shot.width, 24 * number + 24))
    both = Image.new("RGB", (shot.width, shot.height + strip.height))
    both.paste(strip, (0, 0))
    both.paste(shot, (0, strip.height))
    return both.quantize(256).crop((0, strip.height, both.width, both.height))


def test_the_masks_of_an_answer_are_drawn_over_the_picture(visit: Any) -> None:
    file = io.BytesIO()
    segmenting.drawn().save(file, "PNG")
    with server("masks") as address:
        page = visit(address)
        give(page, file.getvalue())
        ask(page, "Where is the frisbee?")
        assert page.locator(".region .mask").count() == 0
        ask(page, "Outline the frisbee.")
        page.wait_for_selector('.region.strong[data-regions="r0"] polygon.mask', state="attached")
        width = page.eval_on_selector(".region .mask", "node => node.getBBox().width")
        assert width == pytest.approx(80, abs=3)  # of the disc, in pixels of the picture
        ask(page, "Where is the tie?")
        assert page.locator(".region .mask").count() == 0
        ask(page, "Where is the frisbee?")  # whose mask is known by now
        page.wait_for_selector('.region.strong[data-regions="r0"] polygon.mask', state="attached")
        ask(page, "Is the tie larger than the apple?")  # measured by masks
        page.wait_for_selector('.region.strong[data-regions="r1"] polygon.mask', state="attached")
        page.context.close()


def test_where_to_click_is_a_dot_on_the_region(visit: Any) -> None:
    file = io.BytesIO()
    segmenting.drawn().save(file, "PNG")
    with server("masks") as address:
        page = visit(address)
        give(page, file.getvalue())
        ask(page, "Where do I click to select the frisbee and the apple?")
        dots = {
            name: page.locator(f'.region.strong[data-regions="{name}"] .dot').evaluate_all(
                "nodes => nodes.map((node) => [node.getBBox().x, node.getBBox().y, getComputedStyle(node).stroke])"
            )
            for name in ("r0", "r2")
        }
        assert {name: (x, y) for name, ((x, y, _), *_) in dots.items()} == {"r0": (80, 80), "r2": (315, 55)}
        red, green, blue = bytes.fromhex(region_color("r0")[1:])
        assert [color for *_, color in dots["r0"]][-1] == f"rgb({red}, {green}, {blue})"
        ask(page, "Where is the frisbee?")
        assert page.locator(".region .dot").count() == 0
        page.context.close()
