"""A real Chromium without a window, as the page sees it."""

import json
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.support.waiting import until

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # containers of CI have no user namespaces
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)

DESKTOP = (1280, 860)
PHONE = (390, 844)


class Browser:
    """One tab.

    Args:
        chromium: path of the browser.
        chromedriver: path of its driver; both come from Debian, so their versions match.
        log: where the driver writes its log.
    """

    def __init__(self, chromium: str, chromedriver: str, log: str) -> None:
        options = Options()
        options.binary_location = chromium
        for argument in ARGUMENTS:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(chromedriver, log_output=log))

    def open(self, url: str) -> None:
        """Load a page anew, with a log of its own."""
        self.driver.get("about:blank")
        self.messages()
        self.requested()
        self.driver.get(url)

    def resize(self, size: tuple[int, int], scheme: str = "light") -> None:
        """The size of the window, and whether the system is light or dark."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a script."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, *arguments: Any) -> Any:
        """The value of a script, as soon as it is true."""
        found: list[Any] = []

        def holds() -> bool:
            found[:] = [self.run(f"return ({script})", *arguments)]
            return bool(found[0])

        try:
            until(holds, script)
        except AssertionError as error:
            error.add_note(f"the page shows: {self.text('body')[:2_000]}")
            error.add_note(f"the console: {self.messages()}")
            raise
        return found[0]

    def press(self, keys: str) -> None:
        """Press keys, whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(keys)

    def text(self, selector: str) -> str:
        """The text of the first such element."""
        return str(self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def texts(self, selector: str) -> list[str]:
        """The texts of all such elements."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", selector
        )
        return found

    def element(self, selector: str) -> WebElement:
        """The first such element, for clicks and keys."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def messages(self) -> list[str]:
        """What the console got since the last call: errors, and violations of the security policy."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]  # as is

    def requested(self) -> set[str]:
        """URLs that the tab has asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]  # type: ignore[no-untyped-call]  # as above
        return {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}

    def close(self) -> None:
        """End the browser and its driver."""
        self.driver.quit()


ESCAPE, ENTER, DOWN = Keys.ESCAPE, Keys.ENTER, Keys.ARROW_DOWN
