"""The page of `mipin compare` in headless Chromium: from disk, by pointer, tap and keyboard, light, dark and narrow."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

import mipin_ref as mr
from mipin_ref.cli import main
from mipin_ref.report.compare_page import compare_page
from tests.chromium import assert_silent, contrast, look, opened, running
from tests.cli.test_explain import residual
from tests.networks import to_onnx
from tests.report.test_compare_page import comparison

pytestmark = [pytest.mark.browser, pytest.mark.slow]

IMAGES, METHODS = 3, ("gradient", "lrp-epsilon", "grad-cam", "mip-in")
EVIL = "</script><script>document.title='broken'</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network, images of which the last is black, and the page."""
    made = tmp_path_factory.mktemp("compare")
    onnx.save(to_onnx(residual(), (3, 8, 8)), str(made / "net.onnx"))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((IMAGES, 3, 8, 8)).astype(np.float32)
    x[-1] = 0
    np.save(made / "x.npy", x)
    np.save(made / "c.npy", rng.standard_normal((40, 3, 8, 8)).astype(np.float32))
    (made / "names.json").write_text(json.dumps(["cat", EVIL, "dog"]))
    given = [str(made / "net.onnx"), str(made / "x.npy"), "--calibration", str(made / "c.npy")]
    given += ["--methods", ",".join(METHODS), "--class-names", str(made / "names.json")]
    assert main(["compare", *given, "--at", "input", "-o", str(made / "report.html")]) == 0
    return made


@pytest.fixture(scope="module")
def truth(folder: Path) -> np.ndarray[Any, Any]:
    """[image, method, rank, H, W]: the maps of the panel."""
    net, x = mr.load(str(folder / "net.onnx")), np.load(folder / "x.npy")
    panel = mr.Panel(net, np.load(folder / "c.npy"), names=METHODS)
    scores = np.stack([panel.explain("gradient", x, c).output for c in range(3)], axis=1)
    targets = np.argsort(-scores, axis=1, kind="stable")
    maps = [
        [mr.saliency(panel.explain(name, x, targets[:, rank]), positive=False, size=(8, 8)) for rank in range(3)]
        for name in METHODS
    ]
    return np.moveaxis(np.array(maps), 2, 0)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with running(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def browser(chromium: webdriver.Chrome, folder: Path) -> Iterator[webdriver.Chrome]:
    """The page just opened, wide and light; afterwards nothing was fetched and nothing went wrong."""
    look(chromium, 1280, "light")
    opened(chromium, (folder / "report.html").as_uri())
    yield chromium
    assert_silent(chromium, (folder / "report.html").as_uri())
    assert "broken" not in chromium.title


def cell(driver: webdriver.Chrome, image: int, method: int) -> WebElement:
    row = driver.find_elements(By.CSS_SELECTOR, "table.maps tbody tr")[image]
    return row.find_elements(By.TAG_NAME, "td")[method]


def visible(driver: webdriver.Chrome, image: int, method: int) -> WebElement:
    """The button of the one map that a cell shows."""
    (button,) = [one for one in cell(driver, image, method).find_elements(By.TAG_NAME, "button") if one.is_displayed()]
    return button


def shown(driver: webdriver.Chrome) -> list[tuple[str, str, str]]:
    """(source, alternative text, caption) of every map that is shown."""
    script = """return [...document.querySelectorAll("table.maps figure")].filter(f => f.offsetParent !== null)
        .map(f => [f.querySelector("img").src, f.querySelector("img").alt, f.querySelector("figcaption").innerText])"""
    return [tuple(one) for one in driver.execute_script(script)]


def readout(driver: webdriver.Chrome) -> str:
    return driver.find_element(By.ID, "readout").text


def reads(driver: webdriver.Chrome, text: str) -> str:
    """The read-out, once it holds a text."""
    WebDriverWait(driver, 10).until(lambda d: text in readout(d), f"{text!r} is not in the read-out")
    return readout(driver)


def value_of(text: str) -> tuple[int, int, float, float]:
    """Row, column, value and scale of a read-out."""
    match = re.search(r"row (\d+), column (\d+).*?: ([+−]?[\d.e+−]+)(?: or beyond)? of ±([\d.e+−]+)$", text)
    assert match, text
    return int(match[1]), int(match[2]), *(float(match[n].replace("−", "-")) for n in (3, 4))  # type: ignore[return-value]


def agrees(text: str, true: np.ndarray[Any, Any]) -> None:
    row, column, value, scale = value_of(text)
    cut = cut_of(true)
    # Three digits are printed, of one of 127 levels.
    assert scale == pytest.approx(cut, rel=6e-3)
    assert abs(value - np.clip(true[row, column], -cut, cut)) <= cut / 254 + 6e-3 * abs(value)
    assert " or beyond of " in text or abs(true[row, column]) <= cut * (1 + 6e-3)


def cut_of(true: np.ndarray[Any, Any]) -> float:
    """The magnitude from which on colours are full."""
    return float(np.quantile(np.abs(true), 0.995))


def point_at(driver: webdriver.Chrome, button: WebElement, row: int, column: int) -> ActionChains:
    image = button.find_element(By.TAG_NAME, "img")
    # Not below the line that sticks to the end of the window, nor below the first column.
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', inline: 'end'})", image)
    width, height = image.size["width"], image.size["height"]
    dx, dy = (column + 0.5) / 8 * width - width / 2, (row + 0.5) / 8 * height - height / 2
    return ActionChains(driver).move_to_element_with_offset(image, round(dx), round(dy))


def test_pointing_reads_the_value_of_the_panel(browser: webdriver.Chrome, truth: np.ndarray[Any, Any]) -> None:
    for image, method, row, column in [(0, 0, 2, 5), (1, 3, 7, 0), (1, 2, 3, 3), (0, 1, 0, 7)]:
        button = visible(browser, image, method)
        point_at(browser, button, row, column).perform()
        text = reads(browser, f"{METHODS[method]}, image {image}, class ")
        assert value_of(text)[:2] == (row, column)
        agrees(text, truth[image, method, 0])
        marks = browser.find_elements(By.CSS_SELECTOR, ".mark")
        assert len(marks) == len(METHODS) + 1


def test_the_keyboard_reaches_and_reads_maps(browser: webdriver.Chrome, truth: np.ndarray[Any, Any]) -> None:
    browser.execute_script("document.querySelector('table.maps select').focus()")
    ActionChains(browser).send_keys(Keys.TAB).perform()
    text = reads(browser, "gradient, image 0, class ")
    true = truth[0, 0, 0]
    row, column, value, _ = value_of(text)
    assert abs(value) == pytest.approx(cut_of(true), rel=6e-3)
    assert abs(true[row, column]) >= cut_of(true) * (1 - 1 / 254)
    agrees(text, true)
    down, right = (1 if row < 7 else -1), (1 if column < 7 else -1)
    keys = [Keys.ARROW_DOWN if down > 0 else Keys.ARROW_UP, Keys.ARROW_RIGHT if right > 0 else Keys.ARROW_LEFT]
    ActionChains(browser).send_keys(*keys).perform()
    text = reads(browser, f"row {row + down}, column {column + right}")
    agrees(text, true)
    ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.ARROW_UP, Keys.ARROW_LEFT).key_up(Keys.SHIFT).perform()
    agrees(reads(browser, "row 0, column 0"), true)
    ActionChains(browser).send_keys(Keys.TAB).perform()
    agrees(reads(browser, "lrp-epsilon, image 0"), truth[0, 1, 0])
    assert value_of(readout(browser))[:2] == (0, 0)


def test_the_class_is_switched_by_click_and_by_keyboard(browser: webdriver.Chrome, truth: np.ndarray[Any, Any]) -> None:
    point_at(browser, visible(browser, 0, 0), 4, 4).perform()
    agrees(reads(browser, "row 4, column 4"), truth[0, 0, 0])
    first = shown(browser)
    assert len(first) == IMAGES * len(METHODS)
    radios = browser.find_elements(By.NAME, "rank")
    radios[1].click()
    second = shown(browser)
    radios[1].send_keys(Keys.ARROW_RIGHT)
    third = shown(browser)
    assert radios[2].is_selected()
    # Maps of the black image are zero whatever the class.
    for before, after in ((first, second), (second, third)):
        for number, (a, b) in enumerate(zip(before, after, strict=True)):
            assert a[1] != b[1]
            assert (a[0] != b[0]) == (a[2] != b[2]) == ("zero everywhere" not in (a[2] + b[2])), (number, a, b)
    for rank, maps in enumerate((first, second, third)):
        for number, (_, alt, caption) in enumerate(maps):
            true = truth[number // len(METHODS), number % len(METHODS), rank]
            largest = np.abs(true).max()
            assert caption == (f"±{cut_of(true):.3g}, largest {largest:.3g}" if largest else "zero everywhere")
            assert alt.endswith(f"scale {caption}")
    agrees(readout(browser), truth[0, 0, 2])
    assert "row 4, column 4" in readout(browser)
    options = browser.find_elements(By.CSS_SELECTOR, "table.maps tbody tr:first-child option")
    assert options[2].is_selected()


def test_one_row_may_explain_another_class(browser: webdriver.Chrome, truth: np.ndarray[Any, Any]) -> None:
    first = shown(browser)
    select = browser.find_elements(By.CSS_SELECTOR, "table.maps select")[1]
    Select(select).select_by_index(2)
    changed = [a != b for a, b in zip(first, shown(browser), strict=True)]
    assert changed == [False] * len(METHODS) + [True] * len(METHODS) + [False] * len(METHODS)
    assert not any(radio.is_selected() for radio in browser.find_elements(By.NAME, "rank"))
    select.send_keys(Keys.ARROW_UP)
    point_at(browser, visible(browser, 1, 1), 1, 6).perform()
    agrees(reads(browser, "lrp-epsilon, image 1"), truth[1, 1, 1])
    select.send_keys(Keys.ARROW_UP)
    assert shown(browser) == first
    assert browser.find_elements(By.NAME, "rank")[0].is_selected()


def test_maps_lie_over_the_picture_and_no_longer(browser: webdriver.Chrome, truth: np.ndarray[Any, Any]) -> None:
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys("o")
    grounds = browser.find_elements(By.CSS_SELECTOR, ".spot .ground")
    assert len(grounds) == IMAGES * len(METHODS)
    assert browser.find_element(By.ID, "overlay").get_attribute("aria-pressed") == "true"
    source = browser.find_element(By.CSS_SELECTOR, ".input img").get_attribute("src")
    assert visible(browser, 0, 1).find_element(By.CLASS_NAME, "ground").get_attribute("src") == source
    # Another class has its ground too, and values are read as before.
    body.send_keys("2")
    assert all(visible(browser, n, 0).find_element(By.CLASS_NAME, "ground").is_displayed() for n in range(IMAGES))
    point_at(browser, visible(browser, 0, 0), 4, 4).perform()
    agrees(reads(browser, "row 4, column 4"), truth[0, 0, 1])
    browser.find_element(By.ID, "overlay").click()
    assert browser.find_elements(By.CSS_SELECTOR, ".spot .ground") == []


def test_one_scale_fades_each_map_by_its_own(browser: webdriver.Chrome, truth: np.ndarray[Any, Any]) -> None:
    script = "return [...document.querySelectorAll('table.maps .spot .map')].map(one => +getComputedStyle(one).opacity)"
    assert set(browser.execute_script(script)) == {1}
    browser.find_element(By.TAG_NAME, "body").send_keys("s")
    found = np.reshape(browser.execute_script(script), (IMAGES, len(METHODS), 3))
    cuts = np.array([[[cut_of(one) for one in method] for method in image] for image in truth])
    largest = cuts.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found[:-1], cuts[:-1] / largest[:-1], rtol=1e-5)
    assert (found[-1] == 1).all()
    told = browser.find_element(By.CSS_SELECTOR, ".common")
    assert float(re.findall(r"±([\d.e+-]+)", told.text)[0]) == pytest.approx(largest[0, 0, 0], rel=6e-3)
    browser.find_element(By.ID, "one-scale").click()
    assert set(browser.execute_script(script)) == {1}
    assert not told.is_displayed()


def test_a_digit_explains_a_class_in_its_row_or_in_all(browser: webdriver.Chrome) -> None:
    first = shown(browser)
    browser.find_element(By.TAG_NAME, "body").send_keys("3")
    selects = browser.find_elements(By.CSS_SELECTOR, "table.maps select")
    assert [one.get_attribute("value") for one in selects] == ["2"] * IMAGES
    assert browser.find_elements(By.NAME, "rank")[2].is_selected()
    visible(browser, 1, 0).send_keys("1")
    assert [one.get_attribute("value") for one in selects] == ["2", "0", "2"]
    assert shown(browser)[len(METHODS) : 2 * len(METHODS)] == first[len(METHODS) : 2 * len(METHODS)]
    visible(browser, 1, 0).send_keys("9")
    assert [one.get_attribute("value") for one in selects] == ["2", "0", "2"]


def test_a_tap_reads_a_value(browser: webdriver.Chrome, truth: np.ndarray[Any, Any]) -> None:
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    look(browser, 390, "light")
    button = visible(browser, 0, 0)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', inline: 'end'})", button)
    script = "const b = arguments[0].querySelector('img').getBoundingClientRect(); return [b.x, b.y, b.width, b.height]"
    box = browser.execute_script(script, button)
    point = {"x": box[0] + 6.5 / 8 * box[2], "y": box[1] + 1.5 / 8 * box[3]}
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    agrees(reads(browser, "row 1, column 6"), truth[0, 0, 0])


def test_a_black_image_has_maps_of_zeros(browser: webdriver.Chrome) -> None:
    point_at(browser, visible(browser, IMAGES - 1, 0), 0, 0).perform()
    assert reads(browser, f"image {IMAGES - 1}").endswith("0, the map is zero everywhere")


def test_a_class_called_script_is_a_name(browser: webdriver.Chrome) -> None:
    texts = [one.get_attribute("textContent") or "" for one in browser.find_elements(By.TAG_NAME, "option")]
    assert sum(EVIL in text for text in texts) == IMAGES
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 1
    number = [EVIL in text for text in texts[:3]].index(True)
    Select(browser.find_element(By.CSS_SELECTOR, "table.maps select")).select_by_index(number)
    point_at(browser, visible(browser, 0, 0), 3, 3).perform()
    assert f"class {EVIL}: row 3" in reads(browser, "row 3, column 3")


def test_maps_of_means_count_pixels_of_the_input(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    """And texts that are long and have no spaces leave a narrow page narrow."""
    long = "x" * 400
    made = comparison(size=(8, 8), factor=3, model=long, facts=[(long, long)], failures=[(long, long)], notes=[long])
    rows = [replace(row, label=long, title=f"image {n}") for n, row in enumerate(made.rows)]
    (tmp_path / "means.html").write_text(compare_page(replace(made, rows=rows)))
    look(chromium, 390, "light")
    chromium.get((tmp_path / "means.html").as_uri())
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= 390
    point_at(chromium, visible(chromium, 0, 0), 5, 2).perform()
    text = reads(chromium, "gradient, image 0, class class0: row 15, column 6 (mean of 3×3): ")
    rng = np.random.default_rng(0)
    _, _, value, scale = value_of(text)
    true = rng.standard_normal((8, 8))
    assert scale == pytest.approx(np.abs(true).max(), rel=6e-3)
    assert abs(value - true[5, 2]) <= scale / 254 + 6e-3 * abs(value)


def test_what_a_screen_reader_is_told(browser: webdriver.Chrome) -> None:
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {(one["role"]["value"], one.get("name", {}).get("value", "").strip()) for one in tree if not one["ignored"]}
    roles = [one["role"]["value"] for one in tree if not one["ignored"]]
    assert {("columnheader", name) for name in (*METHODS, "image")} <= named
    caption = "Contribution of each pixel to the score of the class: a row for each image, a column for each method"
    assert ("table", caption) in named
    assert roles.count("rowheader") == IMAGES + len(METHODS)
    switches = {"Map over the picture", "One scale a row"}
    assert {("button", name) for name in switches} <= named
    buttons = [name for role, name in named if role == "button" and name not in switches]
    assert len(buttons) == IMAGES * len(METHODS)
    assert all(", class " in name and ", scale " in name for name in buttons)
    assert ("radio", "predicted") in named
    assert all(name for role, name in named if role in ("combobox", "image", "radio", "region", "group"))


@pytest.mark.parametrize("width", [1280, 390])
def test_light_and_dark_differ_and_nothing_overflows(browser: webdriver.Chrome, width: int) -> None:
    corners = []
    for scheme in ("light", "dark"):
        look(browser, width, scheme)
        picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
        corners.append(np.asarray(picture)[2, 2])
        assert contrast(browser, "h1") > 7
        for place in (".how", "figcaption", ".facts dt", "select", "thead th", "output", ".note"):
            assert contrast(browser, place) > 4.5, place
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert corners[0].min() > 200
    assert corners[1].max() < 60
