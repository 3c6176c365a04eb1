"""The page of `ssvh serve` in a real Chromium, as a person uses it: by mouse, by keyboard, on a phone and on
a desk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import SECONDS_TO_SHOW, chromium, find_browser
from tests.serving import TOKEN, Searchable, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.slow

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1400, "height": 1000}


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    if (program := find_browser()) is None:
        pytest.skip("needs Chromium, which is not installed")
    with chromium(program) as started:
        yield started


@pytest.fixture(params=[PHONE, DESK], ids=["phone", "desk"])
def tab(running: Browser, server: Server, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page; it may not say anything to the console but what the network refused."""
    faults: list[str] = []
    context = running.new_context(viewport=request.param, base_url=server.address)
    tab = context.new_page()
    tab.set_default_timeout(SECONDS_TO_SHOW * 1000)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on(
        "console",
        lambda message: (
            faults.append(message.text)
            if message.type == "error" and "Failed to load resource" not in message.text
            else None
        ),
    )
    tab.goto("/")
    tab.wait_for_selector("#results .card")
    yield tab
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
        "the page is wider than the screen"
    )
    context.close()
    assert not faults


def shown(tab: Page) -> list[str]:
    return tab.locator("#results h3").all_inner_texts()


def wait_for_hits(tab: Page, title: str, hits: int) -> None:
    """Wait until so many were found for something."""
    tab.wait_for_function(
        "([title, hits]) => document.getElementById('results-title').innerText === title"
        " && document.querySelectorAll('#results .card').length === hits"
        " && !document.getElementById('results').hasAttribute('aria-busy')",
        arg=[title, hits],
    )


def test_a_clip_is_searched_for_its_neighbours_play_and_filters_leave_some(
    tab: Page, searchable: Searchable
) -> None:
    assert shown(tab) == list(searchable.clips)
    tab.set_input_files("#clip", searchable.clips["dogs/1"])
    wait_for_hits(tab, "Nearest to 1.mp4", 8)
    first = tab.locator("#results .card").first
    assert first.locator(".distance").inner_text() == "0 bits" and shown(tab)[0] == "dogs/1"
    assert "8 videos of 8 videos" in tab.inner_text("#status") and "by index version" in tab.inner_text(
        "#status"
    )
    first.scroll_into_view_if_needed()
    first.locator(".frames", has_text="24 frames").wait_for()
    assert {"dogs", "pets", "3.0 s"} <= set(first.locator(".facts span").all_inner_texts())

    first.locator(".screen").hover()
    tab.wait_for_function(
        "() => { const video = document.querySelector('#results .playing');"
        " return video && (video.tagName === 'IMG' ? video.naturalWidth > 0 : video.currentTime > 0); }"
    )
    tab.mouse.move(0, 0)
    tab.wait_for_function("() => !document.querySelector('#results .playing')")

    tab.select_option("#label", "cats")
    wait_for_hits(tab, "Nearest to 1.mp4", 4)
    tab.fill("#min-seconds", "4")
    tab.fill("#max-seconds", "7")
    wait_for_hits(tab, "Nearest to 1.mp4", 2)
    assert {*shown(tab)} == {"cats/2", "cats/4"}
    tab.fill("#max-distance", "0")
    tab.wait_for_selector("#results .nothing")
    tab.click("#clear")
    wait_for_hits(tab, "All videos", 8)


def test_a_video_of_the_index_is_chosen_opened_and_leads_to_others(tab: Page) -> None:
    tab.fill("#pick", "cats/0")
    wait_for_hits(tab, "Nearest to cats/0", 7)
    assert shown(tab)[0] == "dogs/3"
    tab.locator("#results .screen").first.click()
    dialog = tab.locator("#details")
    dialog.locator("dd", has_text="96 × 96 pixels").wait_for()
    assert "clips/dogs/3.mp4" in dialog.inner_text()
    tab.click("#details-alike")
    wait_for_hits(tab, "Nearest to dogs/3", 7)
    assert shown(tab)[0] == "cats/0"
    tab.click("#hasher")
    tab.locator("#card-text", has_text="Good for nothing").wait_for()
    assert "32" in tab.inner_text("#card-facts")
    tab.keyboard.press("Escape")


@pytest.fixture
def many(tab: Page, server: Server, searchable: Searchable) -> Iterator[None]:
    """The page in front of 68 videos."""
    searchable.use(0, {f"more/{number}": "" for number in range(60)})
    server.await_version(searchable.index)
    tab.reload()
    tab.locator("#index-said", has_text="68 videos").wait_for()
    yield
    searchable.use(0)
    server.await_version(searchable.index)


def test_more_shows_the_next_ones_and_a_reader_goes_on_from_there(tab: Page, many: None) -> None:
    tab.fill("#pick", "cats/0")
    wait_for_hits(tab, "Nearest to cats/0", 24)
    first, more = shown(tab), tab.get_by_role("button", name="Show more")
    tab.evaluate("document.querySelector('#results .card').id = 'stays'")
    for hits in (48, 67):
        more.focus()
        tab.keyboard.press("Enter")
        wait_for_hits(tab, "Nearest to cats/0", hits)
        tab.wait_for_function(
            "number => document.activeElement === document.querySelectorAll('#results > li')[number]",
            arg=24 if hits == 48 else 48,
        )
        assert shown(tab)[:24] == first and len(set(shown(tab))) == hits
    assert more.is_hidden() and tab.locator("#stays").count() == 1
    assert "67 videos of 68 videos" in tab.inner_text("#status")
    tab.keyboard.press("Tab")  # a card has its buttons next
    assert tab.evaluate("document.activeElement.closest('#results > li') !== null")
    tab.select_option("#label", "dogs")  # another question begins with the nearest
    wait_for_hits(tab, "Nearest to cats/0", 4)
    tab.select_option("#label", "")
    wait_for_hits(tab, "Nearest to cats/0", 24)
    tab.click("#clear")
    wait_for_hits(tab, "All videos", 24)
    tab.click("#more")
    wait_for_hits(tab, "All videos", 48)
    assert len(set(shown(tab))) == 48


def test_more_ends_where_the_service_gives_no_more(tab: Page, many: None) -> None:
    def fewer(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "most_hits": 30})

    tab.route("**/index", fewer)
    tab.reload()
    tab.locator("#index-said", has_text="68 videos").wait_for()
    tab.fill("#pick", "cats/0")
    wait_for_hits(tab, "Nearest to cats/0", 24)
    tab.click("#more")
    wait_for_hits(tab, "Nearest to cats/0", 30)
    assert tab.locator("#more").is_hidden() and "More than these are not shown" in tab.inner_text("#status")


def test_moving_frames_are_of_the_video_that_has_the_id_now(tab: Page, server: Server) -> None:
    code = server.client.get("/videos/cats/0").json()["video"]["code"]
    tab.route("**/files/**", lambda route: route.abort())  # as where a browser can't play it
    with tab.expect_request("**/previews/cats%2F0*") as asked:
        tab.get_by_role("button", name="Open cats/0").click()
    assert asked.value.url.endswith(f"?of={code}")


def test_a_clip_is_added_with_the_token_and_removed(
    tab: Page, server: Server, searchable: Searchable
) -> None:
    tab.set_input_files("#clip", searchable.clips["cats/2"])
    wait_for_hits(tab, "Nearest to 2.mp4", 8)
    tab.get_by_role("button", name="Add it to the index").click()
    tab.fill("#adding-id", "from the page")
    tab.fill("#adding-label", "new")
    tab.locator("#adding").get_by_role("button", name="Add", exact=True).click()
    tab.fill("#token-value", "wrong")
    tab.keyboard.press("Enter")
    tab.locator("#token-why", has_text="not the token").wait_for()
    assert server.client.get("/index").json()["index"]["videos"] == 8
    tab.fill("#token-value", TOKEN)
    tab.keyboard.press("Enter")
    wait_for_hits(tab, "Nearest to 2.mp4", 9)
    assert "from the page" in shown(tab)[:2]
    tab.locator("#index-said", has_text="9 videos").wait_for()

    tab.get_by_role("button", name="Open from the page").click()
    tab.once("dialog", lambda dialog: dialog.accept())
    tab.click("#details-remove")
    wait_for_hits(tab, "Nearest to 2.mp4", 8)
    assert server.client.get("/index").json()["index"]["videos"] == 8


# What a browser does that is short of time: the event comes long after the dialog has closed.
CLOSE_IS_TOLD_LATE = """
addEventListener("close", (event) => {
    if (!event.isTrusted) return;
    event.stopImmediatePropagation();
    setTimeout(() => event.target.dispatchEvent(new Event("close")), 2000);
}, true)
"""


def test_a_wrong_token_is_asked_for_again_also_where_the_browser_is_slow(
    tab: Page, server: Server, searchable: Searchable
) -> None:
    tab.evaluate(CLOSE_IS_TOLD_LATE)
    tab.set_input_files("#clip", searchable.clips["cats/2"])
    wait_for_hits(tab, "Nearest to 2.mp4", 8)
    tab.get_by_role("button", name="Add it to the index").click()
    tab.fill("#adding-id", "slowly")
    tab.keyboard.press("Enter")
    tab.fill("#token-value", "wrong")
    tab.keyboard.press("Enter")
    tab.locator("#token-why", has_text="not the token").wait_for()
    tab.wait_for_timeout(3000)  # the first closing is told of
    tab.fill("#token-value", TOKEN)
    tab.keyboard.press("Enter")
    wait_for_hits(tab, "Nearest to 2.mp4", 9)
    removed = server.client.delete("/videos/slowly", headers={"Authorization": f"Bearer {TOKEN}"})
    assert removed.json()["index"]["videos"] == 8


def test_duplicates_are_reviewed_by_keyboard_and_nothing_is_decided_without_the_token(
    tab: Page, server: Server
) -> None:
    tab.click("nav a[href='#duplicates']")
    tab.locator("#pair-title", has_text="Group 1 of").wait_for()
    tab.fill("#radius", "32")
    tab.keyboard.press("Enter")
    tab.locator("#pair-title", has_text="Group 1 of 1, pair 1 of 7").wait_for()
    assert tab.inner_text("#pair-bits").startswith("0 bits apart")
    tab.focus("#review")

    tab.keyboard.press("d")
    tab.wait_for_selector("#token-value")
    tab.keyboard.press("Escape")
    tab.locator("#fault", has_text="Nothing was changed").wait_for()
    assert server.client.get("/duplicates/decisions").json() == {"decisions": []}

    tab.keyboard.press("d")
    tab.fill("#token-value", TOKEN)
    tab.keyboard.press("Enter")
    tab.locator("#pair-title", has_text="pair 2 of 7").wait_for()
    tab.keyboard.press("x")
    tab.locator("#pair-title", has_text="pair 3 of 7").wait_for()
    tab.keyboard.press("ArrowLeft")
    tab.locator("#pair-title", has_text="pair 2 of 7").wait_for()
    assert tab.get_attribute("#no-duplicate", "aria-pressed") == "true"
    second = tab.locator("#side-candidate .name").inner_text()
    decided = server.client.get("/duplicates/decisions").json()["decisions"]
    assert {(one["first"], one["second"], one["decision"]) for one in decided} == {
        ("cats/0", "dogs/3", "duplicate"),
        ("cats/0", second, "not a duplicate"),
    }
    tab.fill("#radius", "32")  # who comes back goes on where nobody has decided yet
    tab.keyboard.press("Enter")
    tab.locator("#pair-title", has_text="pair 3 of 7").wait_for()
    tab.focus("#review")
    tab.keyboard.press("ArrowLeft")
    tab.locator("#pair-title", has_text="pair 2 of 7").wait_for()
    tab.keyboard.press("u")
    tab.locator("#no-duplicate[aria-pressed=false]").wait_for()
    tab.keyboard.press("ArrowLeft")
    tab.locator("#is-duplicate[aria-pressed=true]").wait_for()
    tab.keyboard.press("u")
    tab.locator("#is-duplicate[aria-pressed=false]").wait_for()
    assert server.client.get("/duplicates/decisions").json() == {"decisions": []}
    with tab.expect_download() as export:
        tab.click("#export")
    assert export.value.suggested_filename == "decisions.json"


def test_the_map_is_walked_by_keyboard_and_clicked(tab: Page) -> None:
    tab.click("nav a[href='#map']")
    tab.wait_for_selector("#legend button")
    assert sorted(tab.locator("#legend button").all_inner_texts()) == ["cats\n4", "dogs\n4"]
    tab.focus("#map")
    tab.keyboard.press("ArrowRight")
    tab.locator("#here .name", has_text="cats/0").wait_for()
    assert {"cats/0", "dogs/3"} <= set(tab.locator("#here .name").all_inner_texts())  # at the same place
    tab.keyboard.press("Enter")
    tab.locator("#details-title", has_text="cats/0").wait_for()
    tab.keyboard.press("Escape")
    for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"):  # somewhere there is another one
        tab.keyboard.press(key)
    tab.wait_for_function("() => !document.getElementById('status').innerText.startsWith('cats/0')")
    # The label of all points of a kind is switched off and on again.
    tab.locator("#legend button").first.click()
    assert tab.locator("#legend button").first.get_attribute("aria-pressed") == "false"


def colours(tab: Page) -> int:
    """How many colours the map shows well: grey is none."""
    found: int = tab.evaluate(
        """() => {
            const canvas = document.getElementById("map");
            const seen = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            const hues = new Map();
            for (let at = 0; at < seen.length; at += 4) {
                const [red, green, blue, alpha] = seen.slice(at, at + 4);
                if (alpha < 170 || Math.max(red, green, blue) - Math.min(red, green, blue) < 40) continue;
                const key = [red, green, blue].map((one) => one >> 4).join();
                hues.set(key, (hues.get(key) ?? 0) + 1);
            }
            return [...hues.values()].filter((pixels) => pixels > 20).length;
        }"""
    )
    return found


def test_the_map_is_coloured_by_cluster_with_the_keyboard_alone(tab: Page) -> None:
    tab.click("nav a[href='#map']")
    tab.wait_for_selector("#legend button")
    by = tab.get_by_label("colour by")
    assert by.input_value() == "label"
    tab.locator("#legend button").first.click()  # what is switched off comes back with other colours
    by.focus()
    tab.keyboard.press("ArrowDown")
    tab.locator("#status", has_text="Coloured by cluster: 2 clusters.").wait_for()
    assert tab.inner_text("#legend-title") == "Clusters" and tab.locator("#legend-note").is_visible()
    legend = tab.locator("#legend button")
    texts = [text.split("\n") for text in legend.all_inner_texts()]
    assert [name for name, _ in texts] == ["cluster 1", "cluster 2"]
    assert sum(int(number) for _, number in texts) == 8 and int(texts[0][1]) >= int(texts[1][1])
    assert {one.get_attribute("aria-pressed") for one in legend.all()} == {"true"} and colours(tab) >= 2
    tab.focus("#map")
    tab.keyboard.press("ArrowRight")
    tab.locator("#status", has_text="cats/0, cluster").wait_for()  # what the colour says, in words
    by.focus()
    tab.keyboard.press("ArrowUp")
    tab.locator("#status", has_text="Coloured by label: 2 labels.").wait_for()
    assert tab.inner_text("#legend-title") == "Labels" and tab.locator("#legend-note").is_hidden()


def test_the_map_of_videos_without_labels_is_coloured_by_cluster(
    tab: Page, server: Server, searchable: Searchable
) -> None:
    try:
        searchable.use(0, labelled=False)
        server.await_version(searchable.index)
        tab.click("nav a[href='#map']")
        tab.locator("#legend button", has_text="cluster 2").wait_for()
        assert tab.get_by_label("colour by").input_value() == "cluster"
        assert tab.locator("#colour-by option", has_text="label").is_disabled()
        assert colours(tab) >= 2
    finally:
        searchable.use(0)
        server.await_version(searchable.index)


def test_the_interface_describes_itself_with_nothing_from_elsewhere(tab: Page, server: Server) -> None:
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.click("footer a[href='/docs']")
    for path in ("/search", "/videos/{id}", "/duplicates/decisions"):
        tab.locator(f"[data-path='{path}']").first.wait_for()
    tab.set_viewport_size(DESK)  # its tables are made for a desk
    assert asked and all(address.startswith((server.address, "data:")) for address in asked)


def test_a_search_that_is_refused_says_why(tab: Page, searchable: Searchable) -> None:
    broken = searchable.folder / "broken.mp4"
    broken.write_bytes(b"no video at all")
    tab.set_input_files("#clip", broken)
    tab.locator("#fault", has_text="can't be read as a video").wait_for()
    large = searchable.folder / "large.mp4"
    large.write_bytes(bytes(1_100_000))
    tab.set_input_files("#clip", large)
    tab.locator("#fault", has_text="allowed are 1 MB").wait_for()


def test_a_new_version_of_the_index_is_noticed(tab: Page, server: Server, searchable: Searchable) -> None:
    try:
        searchable.use(1)
        server.await_version(searchable.index)
        tab.locator("#results .alike").first.click()
        tab.locator("#hasher-name", has_text="48 bits").wait_for()
        tab.wait_for_function("() => document.getElementById('max-distance').max === '48'")
    finally:
        searchable.use(0)
        server.await_version(searchable.index)


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "light"), (DESK, "dark")])
def test_nothing_keeps_people_out(running: Browser, server: Server, size: Any, scheme: Any) -> None:
    """No serious or critical fault by axe-core, in any view and dialog."""
    from axe_playwright_python.sync_playwright import Axe

    context = running.new_context(
        viewport=size, base_url=server.address, color_scheme=scheme, bypass_csp=True
    )
    tab = context.new_page()
    tab.set_default_timeout(SECONDS_TO_SHOW * 1000)
    tab.goto("/")
    tab.wait_for_selector("#results .card")
    for view, there in (("search", ".card"), ("map", "#legend button"), ("duplicates", "#strip button")):
        tab.click(f"nav a[href='#{view}']")
        tab.wait_for_selector(there)
        assert not serious(Axe().run(tab).response), view
    tab.click("nav a[href='#map']")
    tab.select_option("#colour-by", "cluster")
    tab.locator("#legend button", has_text="cluster 1").wait_for()
    assert not serious(Axe().run(tab).response)
    tab.click("nav a[href='#search']")
    tab.locator("#results .screen").first.click()
    tab.locator("#details dd", has_text="pixels").wait_for()
    assert not serious(Axe().run(tab).response)
    tab.keyboard.press("Escape")
    tab.click("#hasher")
    tab.locator("#card-text", has_text="Good for nothing").wait_for()
    assert not serious(Axe().run(tab).response)
    # It does look.
    tab.evaluate(
        "document.getElementById('card-title').style.color = '#ddd'; document.querySelector('.close').remove()"
    )
    tab.evaluate("document.getElementById('card').style.background = '#fff'")
    assert any(fault.startswith("color-contrast") for fault in serious(Axe().run(tab).response))
    context.close()


def serious(found: dict[str, Any]) -> list[str]:
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
