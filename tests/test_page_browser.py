"""The live page in Chromium, as a person uses it: with a keyboard, in the dark, on a phone, with names that bite."""

import json
import re
import shutil
from collections.abc import Callable, Iterator

import pytest
from integration.helpers import tool, wait_until
from live_page import HORIZON, START_MS, LivePage, answer, channels_answer, records, tick
from playwright.sync_api import Browser, Page, expect, sync_playwright

SWITCH = "#theme"
expect.set_options(timeout=60_000)
HOSTILE = [
    '</script><img src=x onerror="window.hacked=1">',
    "<b>bold</b>&amp;\"'`${1}",
    "\u202egnp.exe\u2066",
    "two\nlines\r\n\ttab\x00\x1b[31m",
    "javascript:alert(1)//%0d%0aX: y",
    "__proto__",
    "🜁" * 250,
    "x" * 1_024,
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=shutil.which(tool("chromium")), args=["--no-sandbox", "--disable-gpu"]
        )
        yield running
        running.close()


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Iterator[LivePage]:
    monkeypatch.setattr("forecaster.web.broadcast.EVERY_S", 0.1)
    with LivePage() as page:
        for name in ("pump-1", "pump-2", "valve-7"):
            page.feed(name, [20.0 + n % 7 for n in range(40)])
        yield page


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, live: LivePage) -> Iterator[Open]:
    """Opens the page; at the end nothing may have gone wrong in it, and no other address have been asked."""
    wrong: list[str] = []
    contexts = []

    def open_page(path: str = "/", **options: object) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if not ours(request.url) else None)
        page.goto(live.address + path)
        return page

    def ours(url: str) -> bool:
        return url.startswith(f"{live.address}/")

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def drawn(page: Page) -> str:
    """The chart as a picture; empty without one."""
    return page.evaluate("document.querySelector('#chart canvas')?.toDataURL() ?? ''")


def test_the_page_opens_within_a_second_with_its_chart_and_its_figures(open_page):
    def opened() -> Page | None:
        page = open_page("/series?name=pump-2")
        page.locator("#chart canvas").wait_for()
        return page if page.evaluate("performance.now()") < 1_000 else None

    # the first time Chromium itself has to start; and what else runs here is not the page's
    page = wait_until(opened, 60, what="a page that opens within a second")
    expect(page.locator("#name")).to_have_text("pump-2")
    expect(page.locator("#status")).to_have_text("Live")
    expect(page.locator("#foot")).to_contain_text("3 series seen")


def test_without_a_choice_the_first_series_is_shown(open_page):
    page = open_page()
    expect(page.locator("#name")).to_have_text("pump-1")
    expect(page.locator("#facts")).to_contain_text("24 now")


def test_a_series_is_searched_for_and_chosen_with_the_keyboard_alone(open_page):
    page = open_page()
    expect(page.locator("#name")).to_have_text("pump-1")
    for _ in range(4):  # past the link to the chart, the brand and the colours
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("PUMP")
    expect(page.get_by_role("option")).to_have_count(2)
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option", selected=True)).to_have_text("pump-2")
    assert page.locator("#search").get_attribute("aria-activedescendant") == "found-1"
    page.keyboard.press("Enter")
    expect(page.locator("#name")).to_have_text("pump-2")
    expect(page).to_have_url(re.compile(r"/series\?name=pump-2$"))
    expect(page.locator("#found")).to_be_hidden()
    page.go_back()
    expect(page.locator("#name")).to_have_text("pump-1")


def test_escape_closes_the_list_and_nothing_found_is_said(open_page):
    page = open_page()
    page.locator("#search").fill("nothing like this")
    expect(page.locator("#count")).to_have_text("0 series")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator("#search")).to_have_attribute("aria-expanded", "false")


def test_the_fan_moves_while_one_watches(open_page, live):
    page = open_page("/series?name=pump-1")
    page.locator("#chart canvas").wait_for()
    before, facts = drawn(page), page.locator("#facts").text_content()
    live.feed("pump-1", [60.0, 61.0], first=40)
    expect(page.locator("#facts")).to_contain_text("61 now")
    assert facts != page.locator("#facts").text_content()
    wait_until(lambda: drawn(page) != before, what="another picture")


def test_while_the_page_skips_records_it_says_so_where_one_sees_it(open_page, live):
    live.fleet.skip(7)  # long ago
    page = open_page()
    expect(page.locator("#foot")).to_contain_text("7 records skipped")
    expect(page.locator("#notice")).to_be_hidden()
    live.fleet.skip(1_000)
    expect(page.locator("#notice")).to_contain_text("shows pieces of it")
    expect(page.locator("#foot")).to_contain_text("1,007 records skipped")


def test_arrow_keys_read_the_chart_aloud(open_page):
    page = open_page("/series?name=pump-1")
    page.locator("#chart canvas").wait_for()
    page.locator("#chart").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#readout")).to_contain_text("forecast 24")
    expect(page.locator("#readout")).to_contain_text("80 %: 23 to 26")
    expect(page.locator("#readout")).to_have_attribute("aria-live", "polite")
    page.keyboard.press("Home")
    expect(page.locator("#readout")).to_contain_text("observed 20")


def test_the_forecast_is_there_in_numbers_too(open_page):
    page = open_page("/series?name=pump-1")
    page.locator("summary").click()
    expect(page.locator("#numbers tbody tr")).to_have_count(HORIZON)
    assert page.locator("#numbers tbody tr").first.locator("td").all_text_contents()[1:] == ["23", "24", "26"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_colours_are_the_systems_until_others_are_chosen_and_those_stay(open_page, scheme):
    def ground() -> int:
        red, *_ = re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))
        return int(red)

    page = open_page(color_scheme=scheme)
    page.locator("#chart canvas").wait_for()
    assert (ground() > 128) == (scheme == "light")
    before = drawn(page)
    presses = 2 if scheme == "light" else 1  # automatic, light, dark
    for _ in range(presses):
        page.locator(SWITCH).click()
    expect(page.locator(SWITCH)).to_have_text("Dark" if scheme == "light" else "Light")
    assert (ground() > 128) == (scheme == "dark")
    wait_until(lambda: drawn(page) != before, what="the chart in other colours")
    page.reload()
    assert (ground() > 128) == (scheme == "dark")


CONTRAST = """() => {
    const light = (part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    const luminance = ([red, green, blue]) => 0.2126 * light(red) + 0.7152 * light(green) + 0.0722 * light(blue);
    const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const ground = (one) => {
        const [...colour] = parts(getComputedStyle(one).backgroundColor);
        return colour.length > 3 && colour[3] === 0 ? ground(one.parentElement) : colour;
    };
    const contrast = (colour, one) => {
        const [low, high] = [luminance(parts(colour)), luminance(ground(one))].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const texts = [...document.querySelectorAll("body *")].filter((one) => one.checkVisibility() &&
        [...one.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.textContent.trim()));
    const told = texts.map((one) => [one.textContent, contrast(getComputedStyle(one).color, one)]);
    const search = document.getElementById("search");
    told.push(["hint", contrast(getComputedStyle(search, "::placeholder").color, search)]);
    const controls = [...document.querySelectorAll("input, select, .quiet")];
    return [told, controls.map((one) => [one.id, contrast(getComputedStyle(one).borderTopColor, one.parentElement)])];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_controls_stand_out_as_wcag_aa_asks(open_page, live, scheme):
    live.now_ms += 10_000_000  # so that some are stale
    live.feed("bad", [float(n) for n in range(2 * HORIZON + 1)], off_by=50.0)
    page = open_page("/series?name=bad", color_scheme=scheme)
    expect(page.locator("#worst button")).to_have_count(4)
    page.locator("summary").click()
    page.locator("#search").fill("p")
    expect(page.get_by_role("option")).to_have_count(2)
    texts, controls = page.evaluate(CONTRAST)
    assert len(texts) > 40
    assert [one for one in texts if one[1] < 4.5] == []
    assert [one for one in controls if one[1] < 3] == []


def test_on_paper_all_is_light_whatever_the_colours_of_the_screen(open_page):
    page = open_page("/series?name=pump-1", color_scheme="light")
    page.locator("#chart canvas").wait_for()
    light = drawn(page)
    for _ in range(2):  # automatic, light, dark
        page.locator(SWITCH).click()
    assert drawn(page) != light
    page.emulate_media(media="print")
    wait_until(lambda: drawn(page) == light, what="the chart in light colours")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(24, 33, 43)"
    expect(page.locator("#search")).to_be_hidden()


def test_where_the_system_forces_its_colours_the_chart_keeps_its_own(open_page):
    forced, free = (open_page("/series?name=pump-1", forced_colors=one) for one in ("active", "none"))
    for page in (forced, free):
        page.locator("#chart canvas").wait_for()
    wait_until(lambda: drawn(forced) == drawn(free), what="the same chart")


@pytest.mark.parametrize("width", [320, 390, 768, 1440])
def test_nothing_is_wider_than_the_screen(open_page, live, width):
    live.feed("x" * 300, [1.0])
    page = open_page(f"/series?name={'x' * 300}", viewport={"width": width, "height": 844})
    page.locator("#chart canvas").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#chart canvas").bounding_box()
    assert 200 < box["width"] <= width


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_is_text_wherever_it_stands(open_page, live, name):
    live.feed(name, [float(n) for n in range(2 * HORIZON + 1)], off_by=50.0)  # so it is the worst one as well
    page = open_page()
    expect(page.locator("#worst button")).to_have_count(4)
    assert page.locator("#worst button span").first.text_content() == name
    page.locator("#worst button").first.click()
    expect(page.locator("#facts")).to_contain_text("now")
    assert page.locator("#name").text_content() == name
    page.locator("#search").fill(name[:3].strip() or name)
    expect(page.get_by_role("option").filter(visible=True).first).to_be_visible()
    assert name in page.get_by_role("option").evaluate_all("all => all.map((one) => one.textContent)")
    assert page.evaluate("[window.hacked, document.querySelectorAll('main img, main b b').length]") == [None, 0]
    page.reload()
    expect(page.locator("#facts")).to_contain_text("now")
    assert page.locator("#name").text_content() == name


def test_a_name_of_a_megabyte_is_no_series(live):
    live.feed("y" * 2**20, [1.0])
    assert json.loads(live.get("/search?q=yyy")[2])["total"] == 0


def test_a_series_without_a_forecast_yet_and_kinds_that_are_not_drawn_say_so(open_page, live):
    live.fleet.take_ticks(records([tick("early", 0, 1.0)]), live.now_ms)
    live.fleet.take_answers(records([answer("odd", 0, 1.0, kind="shapes")]), live.now_ms)
    chances = {
        "kind": "class",
        "series": "coded",
        "origin": live.now_ms,
        "probabilities": {"<i>up": 0.75, "down": 0.25},
    }
    live.fleet.take_answers(records([json.dumps(chances).encode()]), live.now_ms)
    page = open_page("/series?name=odd")
    expect(page.locator("#empty")).to_contain_text("“shapes” are not drawn")
    page = open_page("/series?name=coded")
    expect(page.locator("#chances li").first).to_contain_text("<i>up")
    expect(page.locator("#chances li").first).to_contain_text("75 %")
    page = open_page("/series?name=early")
    expect(page.locator("#facts")).to_have_text("1 now")


def test_a_stream_without_a_step_counts_its_observations(open_page, live):
    ticks = [tick("irregular", n * n, float(n)) for n in range(12)]
    live.fleet.take_ticks(records(ticks), live.now_ms)
    live.fleet.take_answers(records([answer("irregular", 121, 11.0, step_ms=None)]), live.now_ms)
    page = open_page("/series?name=irregular")
    page.locator("#chart canvas").wait_for()
    page.locator("#chart").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#readout")).to_contain_text("step +1")


def test_where_hours_are_closed_the_steps_ahead_are_read_at_their_times(open_page, live):
    night_ms = 14 * 3_600_000
    times = [START_MS + 12_000 + night_ms + 1_000 * n for n in range(HORIZON)]
    live.fleet.take_ticks(records([tick("stock", n, float(n)) for n in range(12)]), live.now_ms)
    live.fleet.take_answers(records([answer("stock", 11, 11.0, times=times)]), live.now_ms)
    page = open_page("/series?name=stock")
    page.locator("#chart canvas").wait_for()
    page.locator("#chart").focus()
    expect(page.locator("#readout")).to_contain_text("1 May 2024, 08:00:11 UTC  ·  observed 11")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#readout")).to_contain_text("1 May 2024, 22:00:12 UTC  ·  forecast 11")
    page.locator("summary").click()
    assert "22:00:12 UTC" in page.locator("#numbers tbody td").first.text_content()


@pytest.mark.parametrize("width", [390, 1280])
def test_one_channel_of_a_series_is_shown_and_another_chosen_with_the_keyboard(browser, width):
    with LivePage(channels=("heat", "power", "never")) as live:
        for n in range(2 * HORIZON + 1):
            live.fleet.take_ticks(records([tick("pump", n, {"heat": float(n), "power": 100.0 - n})]), live.now_ms)
            middles = {"heat": n + 1.0, "power": 103.0 - n, "never": None}
            live.fleet.take_answers(records([channels_answer("pump", n, middles)]), live.now_ms)
        page = browser.new_page(viewport={"width": width, "height": 844})
        page.goto(live.address)
        expect(page.locator("#facts")).to_contain_text("8 now")
        chosen = page.get_by_label("Channel")
        expect(chosen).to_have_value("heat")
        chosen.focus()
        chosen.press("p")
        expect(page.locator("#facts")).to_contain_text("92 now")
        expect(page).to_have_url(re.compile(r"/series\?name=pump&channel=power$"))
        expect(page.locator("#worst button")).to_have_text("pump · power2.2")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        chosen.press("ArrowDown")
        expect(page.locator("#empty")).to_contain_text("no value yet")
        page.go_back()
        expect(page.locator("#facts")).to_contain_text("92 now")
        page.close()


@pytest.mark.parametrize(
    ("values", "told"),
    [([1e6, 1e6 + 0.01, 1e6 + 0.02], "1,000,000.02 now"), ([-3e-13, 2e-13], "2E-13 now"), ([1e30, 3e30], "3E30 now"),
     ([0.0, 0.0], "0 now"), ([5.0, 5.0, 5.0], "5 now"), ([1.0, 123456.789], "123,457 now")],
)  # fmt: skip
def test_numbers_are_short_and_yet_told_apart_and_their_axis_has_labels(open_page, live, values, told):
    ticks = [tick("odd", n, value) for n, value in enumerate(values)]
    live.fleet.take_ticks(records([*ticks, *(tick("odd", n, None) for n in range(len(values), 8))]), live.now_ms)
    page = open_page("/")
    page.evaluate("""() => {
        const [draw, canvas] = [CanvasRenderingContext2D.prototype.fillText, CanvasRenderingContext2D.prototype];
        window.labels = [];
        canvas.fillText = function (text, ...at) { labels.push(text); draw.call(this, text, ...at); };
    }""")
    page.locator("#search").fill("odd")
    page.get_by_role("option").click()
    expect(page.locator("#facts")).to_contain_text(told)
    page.wait_for_function("labels.some((label) => label.includes(':'))")
    numbers = page.evaluate("labels.filter((label) => /^[-\\d.,E]+$/.test(label))")
    assert len(set(numbers)) >= 3
    assert max(map(len, numbers)) <= 14


def test_a_name_of_a_thousand_letters_leaves_room_for_the_chart(open_page, live):
    live.feed("x" * 1_000, [1.0, 2.0])
    page = open_page(f"/series?name={'x' * 1_000}", viewport={"width": 390, "height": 844})
    page.locator("#chart canvas").wait_for()
    assert page.locator("#name").bounding_box()["height"] < 100
    expect(page.locator("#name")).to_have_attribute("title", "x" * 1_000)


def test_the_lists_keep_the_focus_while_their_numbers_change(open_page, live):
    page = open_page()
    page.locator("#worst button").first.focus()
    live.feed("pump-1", [99.0 + n for n in range(9)], first=40)
    expect(page.locator("#facts")).to_contain_text("107 now")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"


def test_behind_an_ingress_that_takes_a_path_away_every_part_is_found(browser):
    live = LivePage()
    site = live.server.config.app

    async def below(scope: dict, receive: object, send: object) -> None:
        assert scope["path"].startswith("/deep/down/")
        await site(scope | {"path": scope["path"].removeprefix("/deep/down")}, receive, send)

    live.server.config.app = below
    with live:
        for name in ("pump-1", "pump-2"):
            live.feed(name, [1.0, 2.0])
        page = browser.new_page()
        page.goto(f"{live.address}/deep/down/")
        page.locator("#search").fill("pump-2")
        page.get_by_role("option").click()
        page.locator("#chart canvas").wait_for()
        expect(page).to_have_url(f"{live.address}/deep/down/series?name=pump-2")
        page.reload()
        page.locator("#chart canvas").wait_for()
        page.goto(f"{live.address}/deep/down/series?name=nobody")
        page.get_by_role("link").click()
        expect(page.locator("#name")).to_have_text("pump-1")
        page.close()


def test_a_page_that_is_empty_says_what_it_waits_for(browser):
    with LivePage() as live:
        page = browser.new_page()
        page.goto(live.address)
        expect(page.locator("#empty")).to_contain_text("No series yet")
        page.close()


def test_when_the_server_is_gone_the_page_says_that_it_has_lost_it(browser, live):
    page = browser.new_page()
    page.goto(live.address)
    expect(page.locator("#status")).to_have_text("Live")
    live.server.should_exit = True
    expect(page.locator("#status")).to_have_text("Reconnecting…")
    expect(page.locator("#status")).to_have_attribute("data-state", "lost")
    page.close()


def test_a_connection_that_has_gone_silent_is_given_up_for_another(open_page, live, monkeypatch):
    page = open_page("/series?name=pump-1")
    expect(page.locator("#status")).to_have_text("Live")
    monkeypatch.setattr(live.broadcast, "turn", lambda: None)
    (before,) = live.viewers
    page.evaluate("const now = performance.now.bind(performance); performance.now = () => now() + 20_000")
    wait_until(lambda: page.wait_for_timeout(20) or before not in list(live.viewers), what="its leaving")
    wait_until(lambda: page.wait_for_timeout(20) or len(live.viewers) == 1, what="its coming back")
    expect(page.locator("#status")).to_have_text("Live")


def test_a_tab_that_nobody_sees_leaves_its_connection_to_others(open_page, live):
    page = open_page("/series?name=pump-1")
    expect(page.locator("#status")).to_have_text("Live")
    hide = "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
    page.evaluate(hide + " document.dispatchEvent(new Event('visibilitychange')); }", arg=True)
    wait_until(lambda: len(live.viewers) == 0, what="its leaving")
    live.feed("pump-1", [77.0], first=40)
    page.evaluate(hide + " document.dispatchEvent(new Event('visibilitychange')); }", arg=False)
    expect(page.locator("#facts")).to_contain_text("77 now")


def test_a_page_that_has_been_started_again_says_of_a_silent_series_that_it_has_seen_nothing(open_page, live):
    live.caught_up = False
    page = open_page("/series?name=gone")
    live.caught_up = True
    expect(page.locator("#empty")).to_contain_text("Nothing has been seen")
    expect(page.locator("#status")).to_have_text("Live")
    live.fleet.take_ticks(records([tick("gone", 0, 5.0)]), live.now_ms)
    expect(page.locator("#facts")).to_contain_text("5 now")


def test_a_series_that_nobody_has_seen_has_a_plain_page_with_a_way_back(browser, live):
    page = browser.new_page()
    page.goto(f"{live.address}/series?name=nobody")
    expect(page.locator("h1")).to_have_text("No such series")
    page.get_by_role("link").click()
    expect(page.locator("#name")).to_have_text("pump-1")
    page.close()
