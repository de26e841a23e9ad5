"""index.html of explain in headless Chromium: from disk, by keyboard and pointer, light, dark and narrow."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

import mipin_ref as mr
from mipin_ref.report.explained import ExplainedFolder, ShownSample
from tests.chromium import assert_silent, contrast, look, opened, press, running
from tests.report.explained.samples import NAMES, TOLD, classes, images, of_kind

pytestmark = [pytest.mark.browser, pytest.mark.slow]

KINDS = ("image", "signal", "table", "tokens")
ROWS = 4


@pytest.fixture(scope="module")
def made() -> list[ShownSample]:
    """Gray images, whose mean over channels and luminance are one, the last of which has two classes."""
    rng = np.random.default_rng(3)
    samples = [
        replace(sample, value=np.kron(rng.integers(0, 256, (4, 4, 1)), np.ones((16, 16, 3))).astype(np.uint8))
        for sample in images(ROWS, maps=(64, 64))
    ]
    blocks = [np.kron(rng.standard_normal((4, 4)), np.ones((16, 16))) for _ in range(3)]
    made = [[replace(one, map=block) for one, block in zip(s.classes, blocks, strict=True)] for s in samples]
    samples = [replace(sample, classes=shown) for sample, shown in zip(samples, made, strict=True)]
    return [*samples[:-1], replace(samples[-1], classes=samples[-1].classes[:2])]


@pytest.fixture(scope="module")
def folder(made: list[ShownSample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder a kind."""
    out = tmp_path_factory.mktemp("explained")
    for kind in KINDS:
        with ExplainedFolder(out / kind, TOLD, kind=kind) as one:  # type: ignore[arg-type]
            one.add(made if kind == "image" else of_kind(kind), {})
            one.finish()
    return out


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with running(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def browser(chromium: webdriver.Chrome, folder: Path) -> Iterator[webdriver.Chrome]:
    """The page of images just opened, wide and light; afterwards nothing was fetched and nothing went wrong."""
    look(chromium, 1280, "light")
    page = (folder / "image" / "index.html").as_uri()
    opened(chromium, page)
    yield chromium
    assert_silent(chromium, page)
    assert "broken" not in chromium.title


def rows(driver: webdriver.Chrome) -> list[WebElement]:
    return driver.find_elements(By.CLASS_NAME, "row")


def chosen(driver: webdriver.Chrome) -> list[str]:
    """The number of the class that each row explains, as its button, its map and the map over the input have it."""
    script = """return [...document.querySelectorAll(".row")].map(row => {
        const button = row.querySelector(".class[aria-checked=true]").dataset.rank;
        const shown = row.querySelector("figure[data-rank]:not([hidden]) .alone");
        const same = row.querySelector(".veil").src === shown.src;
        return [button, shown.closest("figure").dataset.rank, same]})"""
    found = driver.execute_script(script)
    assert all(one[0] == one[1] and one[2] for one in found), found
    return [one[0] for one in found]


def focused(driver: webdriver.Chrome) -> tuple[int, str]:
    """The row and the class of the button that has the focus."""
    script = """const e = document.activeElement, row = e.closest(".row");
        return [[...document.querySelectorAll(".row")].indexOf(row), e.dataset.rank]"""
    row, rank = driver.execute_script(script)
    return int(row), str(rank)


def test_arrows_move_rows_and_digits_switch_classes(browser: webdriver.Chrome) -> None:
    press(browser, Keys.ARROW_DOWN)
    assert focused(browser) == (0, "0")
    press(browser, Keys.ARROW_DOWN, "2")
    assert focused(browser) == (1, "1")
    assert chosen(browser) == ["0", "1", "0", "0"]
    assert not any(one.is_selected() for one in browser.find_elements(By.NAME, "rank"))
    press(browser, Keys.ARROW_RIGHT)
    assert chosen(browser) == ["0", "2", "0", "0"]
    press(browser, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert (focused(browser), chosen(browser)[1]) == ((1, "2"), "2")
    press(browser, *[Keys.ARROW_DOWN] * 5)
    assert focused(browser) == (ROWS - 1, "0")
    # This row has two classes.
    press(browser, "3")
    assert chosen(browser) == ["0", "2", "0", "0"]
    press(browser, *[Keys.ARROW_UP] * 9)
    assert focused(browser) == (0, "0")
    box = browser.execute_script("return document.activeElement.closest('.row').getBoundingClientRect().top")
    assert 0 <= box < 900


def test_a_digit_outside_of_rows_is_for_all_of_them(browser: webdriver.Chrome) -> None:
    press(browser, "2")
    assert chosen(browser) == ["1"] * ROWS
    assert browser.find_elements(By.NAME, "rank")[1].is_selected()
    browser.find_elements(By.NAME, "rank")[2].click()
    assert chosen(browser) == ["2", "2", "2", "1"]
    press(browser, "8", "0", "x")
    assert chosen(browser) == ["2", "2", "2", "1"]


def test_tab_goes_from_control_to_control_and_row_to_row(browser: webdriver.Chrome) -> None:
    reached = []
    for _ in range(2 + 2 * ROWS):
        press(browser, Keys.TAB)
        script = """const e = document.activeElement; const s = getComputedStyle(e);
            return [e.name || e.id || e.dataset.rank || e.tagName, s.outlineStyle, parseFloat(s.outlineWidth)]"""
        name, style, width = browser.execute_script(script)
        reached.append(name)
        assert style == "solid", name
        assert width >= 2
    assert reached == ["rank", "overlay", *["0", "A"] * ROWS]


def test_a_click_switches_the_class_of_its_row(browser: webdriver.Chrome) -> None:
    rows(browser)[2].find_elements(By.CLASS_NAME, "class")[1].click()
    assert chosen(browser) == ["0", "0", "1", "0"]
    veil = rows(browser)[2].find_element(By.CLASS_NAME, "veil")
    assert "what speaks for class 1" in str(veil.get_attribute("alt"))
    visible = [one for one in rows(browser)[2].find_elements(By.CLASS_NAME, "alone") if one.is_displayed()]
    assert ["map of class 1" in str(one.get_attribute("alt")) for one in visible] == [True]
    # The source signal is of the first row alone.
    assert [len(row.find_elements(By.CSS_SELECTOR, "figure:not([hidden])")) for row in rows(browser)] == [4, 3, 3, 3]


def centres(element: WebElement) -> np.ndarray:
    """[4, 4, 3]: colours at the centres of sixteen squares of an element."""
    picture = np.asarray(Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB")).astype(int)
    at = [[round((k + 0.5) * length / 4) for k in range(4)] for length in picture.shape[:2]]
    return np.asarray(picture[np.ix_(*at)])


def test_the_map_over_the_input_is_that_of_the_file_and_goes_with_a_key(
    browser: webdriver.Chrome, made: list[ShownSample]
) -> None:
    cut = float(np.quantile(np.abs([one.map for one in made[1].classes]), 0.995))
    cell = rows(browser)[1].find_element(By.CSS_SELECTOR, ".over .picture")
    expected = mr.overlay(made[1].value, made[1].classes[0].map, scale=cut)[8::16, 8::16].astype(int)
    assert np.abs(centres(cell) - expected).max() <= 3
    press(browser, "o")
    assert browser.find_element(By.ID, "overlay").get_attribute("aria-pressed") == "false"
    assert np.abs(centres(cell) - made[1].value[8::16, 8::16]).max() <= 3
    press(browser, "o")
    assert np.abs(centres(cell) - expected).max() <= 3
    alone = [one for one in rows(browser)[1].find_elements(By.CLASS_NAME, "alone") if one.is_displayed()]
    clipped = np.clip(made[1].classes[0].map, -cut, cut)[8::16, 8::16] / cut
    faded = np.rint(255 * (1 - np.abs(clipped)))
    full = np.stack([np.where(clipped < 0, faded, 255), faded, np.where(clipped > 0, faded, 255)], axis=-1)
    assert np.abs(centres(alone[0]) - full).max() <= 3


def test_what_a_screen_reader_is_told(browser: webdriver.Chrome) -> None:
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = [(one["role"]["value"], one.get("name", {}).get("value", "").strip()) for one in tree if not one["ignored"]]
    groups = [name for role, name in named if role == "radiogroup"]
    assert len(groups) == ROWS
    assert f"Class explained of {NAMES[1]}" in groups
    assert ("radio", "class 1 59%") in named
    assert ("button", "Map over the picture") in named
    pictures = [name for role, name in named if role == "image"]
    assert all(pictures)
    assert len(pictures) == 1 + 3 * ROWS + 1
    assert all(name for role, name in named if role in ("link", "heading"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [1280, 390])
def test_light_and_dark_differ_and_nothing_overflows(
    chromium: webdriver.Chrome, folder: Path, kind: str, width: int
) -> None:
    page = (folder / kind / "index.html").as_uri()
    opened(chromium, page)
    corners = []
    for scheme in ("light", "dark"):
        look(chromium, width, scheme)
        picture = Image.open(io.BytesIO(chromium.get_screenshot_as_png())).convert("RGB")
        corners.append(np.asarray(picture)[2, 2])
        assert contrast(chromium, "h1") > 7
        for place in (".how", "figcaption", ".facts dt", ".class", ".class span", ".scale", "a", ".lines p"):
            assert contrast(chromium, place) > 4.5, place
        assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
    assert corners[0].min() > 200
    assert corners[1].max() < 60
    press(chromium, "2")
    texts = [one.text for one in chromium.find_elements(By.TAG_NAME, "figcaption") if one.is_displayed()]
    assert sum("logit 4.5" in text for text in texts) == len(rows(chromium))
    assert_silent(chromium, page)


def test_without_a_script_the_first_class_is_there(chromium: webdriver.Chrome, folder: Path) -> None:
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        chromium.get((folder / "image" / "index.html").as_uri())
        shown = [one for one in chromium.find_elements(By.CLASS_NAME, "alone") if one.is_displayed()]
        assert len(shown) == ROWS
        assert not any(one.is_enabled() for one in chromium.find_elements(By.CLASS_NAME, "class"))
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_long_words_leave_a_narrow_page_narrow(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    long = "x" * 400
    rng = np.random.default_rng(0)
    told = replace(TOLD, model=long, method=long, lines=[long], facts=[(long, long)])
    shown = [replace(one, name=long, score="100.0%") for one in classes(rng, (4, 4))]
    with ExplainedFolder(tmp_path / "out", told, kind="image") as folder:
        folder.add([ShownSample(long, np.zeros((4, 9, 3), np.uint8), shown)], {})
        folder.finish()
    look(chromium, 390, "dark")
    chromium.get((tmp_path / "out" / "index.html").as_uri())
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= 390
