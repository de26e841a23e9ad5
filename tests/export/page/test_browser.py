"""Pages in headless Chromium, from disk: drawn on, given pictures, by pointer, by keyboard, light, dark and narrow."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import mipin_ref as mr
from tests.chromium import assert_silent, contrast, look, opened, press, running
from tests.export.page.explainers import CLASSES, HOSTILE, SIDE, Paged, colours, digits
from tests.export.page.visitor import assert_agrees, bar, draw, drop, made, pressed, status, visit, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SEVEN = ((-60, -80), (60, -80), (-10, 90))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with running(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def of_digits(tmp_path_factory: pytest.TempPathFactory) -> Paged:
    return digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def of_colours(tmp_path_factory: pytest.TempPathFactory) -> Paged:
    """The explainer takes bytes."""
    names = [*HOSTILE, *(f"colour {index}" for index in range(len(HOSTILE), CLASSES))]
    return colours(tmp_path_factory.mktemp("colours"), raw=True, names=names)


@pytest.fixture(scope="module")
def of_maps(tmp_path_factory: pytest.TempPathFactory) -> Paged:
    """The explainer takes the network's values, and explains an inner tensor."""
    return colours(tmp_path_factory.mktemp("maps"), raw=False, at="r2")


def unit(one: np.ndarray) -> np.ndarray:
    return one.astype(np.float32) / np.float32(255)


def test_a_digit_is_drawn_and_explained(chromium: webdriver.Chrome, of_digits: Paged) -> None:
    look(chromium, 1280, "light")
    visit(chromium, of_digits.path)
    assert status(chromium).startswith("Example 1: taken for 0 (")
    draw(chromium, *SEVEN)
    wait_for(chromium, "Your drawing: taken for 7")
    assert pressed(chromium) == ["7"]
    one = made(chromium)
    # Twenty pixels high, and in the middle.
    rows = np.flatnonzero(one.input.reshape(28, 28).any(axis=1))
    assert rows[-1] - rows[0] + 1 == 20
    assert_agrees(one, of_digits, unit(one.input).reshape(1, 1, 28, 28))
    probabilities, _ = of_digits.inverses[7].net.predict(unit(one.input).reshape(1, 1, 28, 28))
    shown = [text.text for text in chromium.find_elements(By.CLASS_NAME, "number")]
    assert shown == [f"{100 * share:.1f}%" for share in probabilities[0]]
    bar(chromium, "1").click()
    wait_for(chromium, "Shown is what speaks for 1.")
    assert pressed(chromium) == ["1"]
    other = made(chromium)
    assert other.target == 1
    np.testing.assert_array_equal(other.input, one.input)
    assert_agrees(other, of_digits, unit(one.input).reshape(1, 1, 28, 28))
    assert not bar(chromium, "3").is_enabled()
    chromium.find_elements(By.CLASS_NAME, "example")[3].click()
    wait_for(chromium, "Example 4: taken for 3 (")
    assert "This page cannot explain that class. Shown is what speaks for" in status(chromium)
    chromium.find_element(By.ID, "clear").click()
    wait_for(chromium, "Your drawing:")
    assert not made(chromium).input.any()
    assert_silent(chromium, of_digits.path.as_uri(), unpacks=True)


def test_the_keyboard_is_enough(chromium: webdriver.Chrome, of_digits: Paged) -> None:
    look(chromium, 1280, "light")
    visit(chromium, of_digits.path)
    reached = []
    for _ in range(8):
        press(chromium, Keys.TAB)
        script = """const e = document.activeElement, s = getComputedStyle(e);
            return [e.id || e.querySelector("bdi")?.textContent, s.outlineStyle, parseFloat(s.outlineWidth)]"""
        name, style, width = chromium.execute_script(script)
        reached.append(name)
        assert (style, width >= 2) == ("solid", True), name
    # Classes that the page cannot explain are passed over.
    assert reached[:7] == ["pad", "clear", "0", "1", "7", "file", "turn"]
    chromium.find_element(By.ID, "pad").send_keys("")
    press(chromium, *[Keys.ARROW_UP] * 8, Keys.SPACE, *[Keys.ARROW_DOWN] * 16, Keys.SPACE)
    wait_for(chromium, "Your drawing: taken for 1")
    press(chromium, Keys.TAB, Keys.TAB, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ENTER)
    wait_for(chromium, "Shown is what speaks for 7.")
    assert pressed(chromium) == ["7"]
    chromium.find_element(By.ID, "pad").send_keys(Keys.DELETE)
    press(chromium, *[Keys.TAB] * 7, Keys.ENTER)
    wait_for(chromium, "Example 1:")
    assert_silent(chromium, of_digits.path.as_uri(), unpacks=True)


def test_a_photograph_is_dropped_pasted_and_chosen(
    chromium: webdriver.Chrome, of_colours: Paged, tmp_path: Path
) -> None:
    """The bytes that it becomes are Pillow's, but for steps of one where that takes columns first."""
    look(chromium, 1280, "light")
    photograph = tmp_path / "photograph.png"
    rng = np.random.default_rng(7)
    blots = Image.fromarray(rng.integers(0, 256, (9, 12, 3)).astype(np.uint8))
    blots.resize((640, 480), Image.Resampling.BICUBIC).save(photograph)
    plain = mr.data.Preprocessing(1.0, shape=(3, SIDE, SIDE))
    expected = np.moveaxis(mr.data.open_data(photograph, preprocessing=plain)[:1][0], 0, -1)
    preprocessing = mr.data.Preprocessing(255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (3, SIDE, SIDE))
    x = mr.data.open_data(photograph, preprocessing=preprocessing)[:1]
    visit(chromium, of_colours.path)
    for event in ("drop", "paste"):
        drop(chromium, photograph, event)
        wait_for(chromium, "photograph.png: taken for")
        one = made(chromium)
        assert np.abs(one.input.reshape(SIDE, SIDE, 3) - expected).max() <= 1
        assert_agrees(one, of_colours, x, tolerance=1e-4 if np.array_equal(one.input, expected.ravel()) else 0.02)
        chromium.find_elements(By.CLASS_NAME, "example")[1].click()
        wait_for(chromium, "Example 2")
    chromium.find_element(By.ID, "file").send_keys(str(photograph))
    wait_for(chromium, "photograph.png: taken for")
    (tmp_path / "note.png").write_text("no picture")
    drop(chromium, tmp_path / "note.png")
    wait_for(chromium, "note.png is no picture that this browser can read.")
    assert_silent(chromium, of_colours.path.as_uri(), unpacks=True)


def test_a_photograph_is_turned_upright(chromium: webdriver.Chrome, of_colours: Paged, tmp_path: Path) -> None:
    """As its EXIF orientation says; two decoders of JPEG differ by little."""
    blots = Image.fromarray(np.random.default_rng(8).integers(0, 256, (5, 9, 3)).astype(np.uint8))
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    photograph = tmp_path / "turned.jpg"
    blots.resize((320, 180), Image.Resampling.BICUBIC).save(photograph, quality=95, exif=turned)
    expected = mr.data.open_data(photograph, preprocessing=mr.data.Preprocessing(1.0, shape=(3, SIDE, SIDE)))[:1][0]
    visit(chromium, of_colours.path)
    drop(chromium, photograph)
    wait_for(chromium, "turned.jpg: taken for")
    assert np.abs(made(chromium).input.reshape(SIDE, SIDE, 3) - np.moveaxis(expected, 0, -1)).max() <= 4


def test_a_page_without_examples_says_that_it_is_ready(
    chromium: webdriver.Chrome, of_maps: Paged, tmp_path: Path
) -> None:
    """Where the explainer was compared on drawn samples there is nothing to begin with."""
    page = tmp_path / "bare.html"
    mr.export(of_maps.inverses[0], tmp_path / "bare.onnx", html=page)
    opened(chromium, page.as_uri())
    wait_for(chromium, "Ready: give a picture.")
    drop(chromium, of_maps.path.parent / "pictures" / "05.png")
    wait_for(chromium, "05.png: taken for")
    assert_silent(chromium, page.as_uri(), unpacks=True)


def test_names_are_shown_as_they_are_and_any_class_can_be_named(chromium: webdriver.Chrome, of_colours: Paged) -> None:
    """Twenty classes: the likeliest have a bar, the others are asked for by name."""
    look(chromium, 1280, "light")
    visit(chromium, of_colours.path)
    assert len(chromium.find_elements(By.CLASS_NAME, "bar")) == 5
    plain = [HOSTILE[0], HOSTILE[1], HOSTILE[2], "turned \\u202e round", "half \\ud800 a character", HOSTILE[5]]
    for index, name in enumerate(plain):
        field = chromium.find_element(By.ID, "other")
        chromium.execute_script("arguments[0].value = arguments[1]", field, name)
        chromium.execute_script("arguments[0].dispatchEvent(new Event('change'))", field)
        wait_for(chromium, f"what speaks for {name}" if pressed(chromium) != [name] else name)
        assert pressed(chromium) == [name]
        assert made(chromium).target == index
    assert chromium.title == "What speaks for each class"
    assert_silent(chromium, of_colours.path.as_uri(), unpacks=True)


def test_an_inner_tensor_is_explained_and_the_page_preprocesses(chromium: webdriver.Chrome, of_maps: Paged) -> None:
    look(chromium, 1280, "light")
    visit(chromium, of_maps.path)
    folder = of_maps.path.parent / "pictures"
    of = of_maps.preprocessing
    preprocessing = mr.data.Preprocessing(of.scale, of.mean, of.std, (3, SIDE, SIDE))
    drop(chromium, folder / "05.png")
    wait_for(chromium, "05.png: taken for")
    one = made(chromium)
    x = mr.data.open_data(folder, preprocessing=preprocessing)[5:6]
    # A byte that differs by one moves a value by 1 / (255 * 0.224).
    assert np.abs(one.input.reshape(x.shape) - x).max() <= 0.018
    assert_agrees(one, of_maps, one.input.reshape(x.shape).astype(np.float32))
    assert "mean over channels" in chromium.find_element(By.CLASS_NAME, "cells").text
    assert_silent(chromium, of_maps.path.as_uri(), unpacks=True)


@pytest.mark.parametrize("lacking", ["DecompressionStream", "WebAssembly"])
def test_a_browser_that_lacks_something_is_told_in_a_sentence(
    chromium: webdriver.Chrome, of_digits: Paged, lacking: str
) -> None:
    command = "Page.addScriptToEvaluateOnNewDocument"
    script = chromium.execute_cdp_cmd(command, {"source": f"delete window.{lacking}"})
    try:
        opened(chromium, of_digits.path.as_uri())
        wait_for(chromium, f"This browser has no {lacking}, which the page needs;")
        assert status(chromium).count(". ") == 0
        assert_silent(chromium, of_digits.path.as_uri(), unpacks=True)
    finally:
        chromium.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


@pytest.mark.parametrize("width", [1280, 400])
def test_light_and_dark_differ_and_nothing_overflows(
    chromium: webdriver.Chrome, of_digits: Paged, of_colours: Paged, width: int
) -> None:
    for page in (of_colours.path, of_digits.path):
        corners = []
        for scheme in ("light", "dark"):
            look(chromium, width, scheme)
            visit(chromium, page)
            picture = Image.open(io.BytesIO(chromium.get_screenshot_as_png())).convert("RGB")
            corners.append(np.asarray(picture)[2, 2])
            assert contrast(chromium, "h1") > 7
            for place in (".how", "figcaption", ".facts dt", ".bar", ".number", ".note", "#status", "label"):
                assert contrast(chromium, place) > 4.5, place
            assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
        assert corners[0].min() > 200
        assert corners[1].max() < 60


def test_what_a_screen_reader_is_told(chromium: webdriver.Chrome, of_digits: Paged) -> None:
    look(chromium, 1280, "light")
    visit(chromium, of_digits.path)
    tree = chromium.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = [(one["role"]["value"], one.get("name", {}).get("value", "").strip()) for one in tree if not one["ignored"]]
    assert ("application", "Drawing area") in named
    assert ("image", "Input: Example 1") in named
    assert any(role == "image" and name.startswith("Map of what speaks for 0, ") for role, name in named)
    assert {role for role, _ in named} >= {"status", "heading", "group"}
    controls = [name for role, name in named if role in ("button", "checkbox", "image", "link", "heading")]
    assert all(controls), named
