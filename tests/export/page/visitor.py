"""What a visitor does to a page, and what it computed."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from mipin_ref.attribution import Attribution
from mipin_ref.report.saliency import saliency
from tests.chromium import opened
from tests.export.page.explainers import Paged

Floats = npt.NDArray[np.float64]
ARRAYS = ("logits", "logit", "source", "attribution", "contribution", "map")
LISTEN = """window.made = []; document.addEventListener("explained", event => window.made.push(event.detail));"""
LAST = """const made = window.made.at(-1), plain = {};
    for (const name of arguments[0]) plain[name] = [Array.from(made[name].values), made[name].shape];
    return {plain, input: Array.from(made.input), target: made.target, times: window.made.length}"""
WAIT = 15
"""Seconds, on a machine that does other things as well."""


@dataclass(frozen=True)
class Made:
    """What a page computed last: its input as the explainer read it, the class, the outputs without the batch."""

    input: Floats
    target: int
    outputs: dict[str, Floats]


def visit(driver: webdriver.Chrome, page: Path) -> None:
    """Open a page and wait until the first picture is explained."""
    opened(driver, page.as_uri())
    driver.execute_script(LISTEN)
    wait_for(driver, "taken for")


def status(driver: webdriver.Chrome) -> str:
    return driver.find_element(By.ID, "status").text


def wait_for(driver: webdriver.Chrome, text: str) -> None:
    """Until the line that screen readers are told holds a text."""
    waiting: WebDriverWait[webdriver.Chrome] = WebDriverWait(driver, WAIT)
    waiting.until(lambda _: text in status(driver), f"{text!r} is not in the line that says {status(driver)!r}")


def made(driver: webdriver.Chrome) -> Made:
    told = driver.execute_script(LAST, ARRAYS)
    outputs = {name: np.array(values).reshape(shape) for name, (values, shape) in told["plain"].items()}
    return Made(np.array(told["input"]), told["target"], outputs)


def bar(driver: webdriver.Chrome, name: str) -> Any:
    """The button of a class."""
    bars = driver.find_elements(By.CLASS_NAME, "bar")
    return next(one for one in bars if one.find_element(By.TAG_NAME, "bdi").text == name)


def pressed(driver: webdriver.Chrome) -> list[str]:
    """The names of the classes whose button is pressed."""
    bars = driver.find_elements(By.CSS_SELECTOR, ".bar[aria-pressed=true] bdi")
    return [one.text for one in bars]


def draw(driver: webdriver.Chrome, *points: tuple[int, int]) -> None:
    """A line from point to point of the area to draw on, in its pixels from the middle."""
    pad = driver.find_element(By.ID, "pad")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", pad)
    (x, y), *rest = points
    chain = ActionChains(driver, duration=20).move_to_element_with_offset(pad, x, y).click_and_hold()
    for to in rest:
        chain = chain.move_by_offset(to[0] - x, to[1] - y)
        x, y = to
    chain.release().perform()


def drop(driver: webdriver.Chrome, file: Path, event: str = "drop") -> None:
    """Let a file fall on the page, or paste it."""
    script = """const [text, name, kind] = arguments;
        const bytes = Uint8Array.from(atob(text), one => one.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], name, {type: "image/png"}));
        const told = {bubbles: true, cancelable: true};
        document.body.dispatchEvent(kind === "drop" ? new DragEvent("drop", {...told, dataTransfer: data})
            : new ClipboardEvent("paste", {...told, clipboardData: data}))"""
    driver.execute_script(script, b64encode(file.read_bytes()).decode(), file.name, event)


def assert_agrees(one: Made, paged: Paged, x: npt.NDArray[Any], tolerance: float = 1e-4) -> None:
    """The page's numbers are those of `Inverse.attribute` on inputs x [1, ...], to a share of the largest of each."""
    result: Attribution = paged.inverses[one.target].attribute(x)
    size = one.outputs["map"].shape
    expected = {
        "logit": result.output,
        "source": result.source[0],
        "attribution": result.attribution[0],
        "contribution": result.contribution[0],
        "map": saliency(result, size=(size[0], size[1]))[0],
    }
    for name, values in expected.items():
        largest = float(np.abs(values).max()) or 1.0
        off = np.abs(one.outputs[name].reshape(np.shape(values)) - values).max()
        assert off <= tolerance * largest, (name, off / largest)
