"""Headless Chromium for pages: opened from disk, light or dark, wide or narrow, and what was logged of it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def found(*names: str) -> str:
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    pytest.fail(f"needs {names[0]} on the PATH (Debian: apt-get install chromium chromium-driver)", pytrace=False)


@contextmanager
def running(profile: Path) -> Iterator[webdriver.Chrome]:
    """A browser with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = found("chromium", "chromium-browser", "google-chrome")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(found("chromedriver")))
    driver.get("about:blank")
    yield driver
    driver.quit()


def opened(driver: webdriver.Chrome, page: str) -> None:
    """Open a page, with what was logged before forgotten."""
    logged(driver, "browser")
    logged(driver, "performance")
    driver.get(page)


def assert_silent(driver: webdriver.Chrome, page: str, *, unpacks: bool = False) -> None:
    """Nothing went wrong in the page that was opened, and it fetched nothing but itself.

    unpacks: whether it may read what it made itself, under addresses that no one else can make.
    """
    own = {"data", "blob"} if unpacks else {"data"}
    assert logged(driver, "browser") == []
    told = [json.loads(entry["message"])["message"] for entry in logged(driver, "performance")]
    sent = [one["params"] for one in told if one["method"] == "Network.requestWillBeSent"]
    # Chromium's own first page may still be asking for its parts.
    asked = [one["request"]["url"] for one in sent if one["documentURL"] == page]
    assert {url.split(":")[0] for url in asked} <= {"file", *own}
    assert [url for url in asked if url.startswith("file")] == [page]
    entries = driver.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
    assert {name.split(":")[0] for name in entries} <= own


def logged(driver: webdriver.Chrome, kind: str) -> list[dict[str, Any]]:
    """What was logged since the last call."""
    return list(driver.get_log(kind))  # type: ignore[no-untyped-call]


def look(driver: webdriver.Chrome, width: int, scheme: str) -> None:
    """Show pages in a window of so many pixels, to someone who likes them light or dark."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def contrast(driver: webdriver.Chrome, selector: str) -> float:
    """WCAG's ratio of the colour of an element's text to the ground behind it."""
    script = """let e = document.querySelector(arguments[0]), ink = getComputedStyle(e).color;
        while (getComputedStyle(e).backgroundColor === "rgba(0, 0, 0, 0)") e = e.parentElement;
        return [ink, getComputedStyle(e).backgroundColor]"""
    lights = []
    for colour in driver.execute_script(script, selector):
        rgb = np.array([int(part) for part in re.findall(r"\d+", colour)[:3]]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ (0.2126, 0.7152, 0.0722)) + 0.05)
    return max(lights) / min(lights)


def press(driver: webdriver.Chrome, *keys: str) -> None:
    ActionChains(driver).send_keys(*keys).perform()
