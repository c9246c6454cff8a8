"""The page of the demo, as somebody opens it who has just run `make run`."""

import re

from tests.demo.process import demo_on_a_pipe
from tests.page.browser import Browser


def test_the_page_of_the_demo_shows_streams_that_change(browser: Browser) -> None:
    with demo_on_a_pipe("--set", "http.port=0") as demo:
        demo.wait("the page is there", lambda: re.search(r"page (http://\S+),", demo.text()))
        page = re.search(r"page (http://\S+),", demo.text())
        assert page is not None
        browser.open(page[1])
        browser.wait("document.querySelectorAll('tr[data-stream]').length >= 10")
        browser.wait("document.querySelector('tr[data-stream=channel-0001]')")
        browser.wait("document.querySelector('#state').textContent === 'ready'")
        events = browser.text("#totals")
        browser.wait("document.querySelector('#totals').textContent !== arguments[0]", events)
        browser.wait("document.querySelector('tr[data-stream] svg path, tr[data-stream] svg polyline')")
        assert browser.messages() == []
