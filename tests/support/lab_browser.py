"""Notebooks in an open JupyterLab while the network comes and goes: what they show, and what went wrong.

A person's hands stay on the keyboard: once the notebooks are there, nothing is clicked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from playwright.sync_api import ConsoleMessage, Error, Locator, Page, Request, Response
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from tests.support.browser import RUN_TIMEOUT_S, Lab

#: JupyterLab keeps what is run while it has no connection for 3 s after the return: first it wants the answer
#: to its own question for the kernel's state, which stands behind that in the same queue. So it does where
#: another notebook is brought to the front meanwhile, since that asks the kernel's debugger something.
QUEUE_S: Final = 3.0
#: What is run has a next cell below it by then, also without any connection.
KEY_HEARD_S: Final = 5.0
_FRONT: Final = ".jp-NotebookPanel:visible"
_INDICATOR: Final = ".jp-Notebook-ExecutionIndicator"
#: Keeps each state that the indicator of any notebook's kernel has shown.
_WATCH_KERNELS: Final = f"""
window.kernelStatesSeen = new Set();
new MutationObserver(() => {{
  for (const indicator of document.querySelectorAll('{_INDICATOR}'))
    window.kernelStatesSeen.add(indicator.dataset.status);
}}).observe(document, {{childList: true, subtree: true, attributeFilter: ['data-status']}});
"""
_TICKING: Final = """\
import time
for tick in range({count}):
    print('tick', tick, flush=True)
    time.sleep(1)"""


class Notebook:
    """One notebook with a kernel of its own, in an open JupyterLab; made by `new_notebook`."""

    def __init__(self, lab: Lab, panel_id: str) -> None:
        self._lab = lab
        self._panel = lab.page.locator(f"#{panel_id}")
        self._cells = 0

    def show(self) -> None:
        """Bring it to the front, ready to type."""
        page = self._lab.page
        if self._panel.is_visible():
            return
        while not self._panel.is_visible():
            front = page.locator(_FRONT).get_attribute("id")
            page.keyboard.press("Escape")
            page.keyboard.press("Control+Shift+]")
            page.locator(f"#{front}").wait_for(state="hidden")
        page.keyboard.press("Enter")

    def run(self, code: str) -> int:
        """Run code in its next cell; it has to be in front. The answer is the cell's number, from 1 on."""
        self._lab.run_cell(code)
        self._cells += 1
        following = self._cell(self._cells + 1)
        try:
            following.wait_for(state="attached", timeout=KEY_HEARD_S * 1000)
        except PlaywrightTimeoutError:
            # Seen on a busy machine right after a return: the text is there, and the key went unheard.
            self._lab.page.keyboard.press("Shift+Enter")
            following.wait_for(state="attached", timeout=KEY_HEARD_S * 1000)
        return self._cells

    def run_ticking(self, count: int) -> int:
        """Let a cell print so many numbers, one a second; the answer is the cell's number."""
        return self.run(_TICKING.format(count=count))

    def wait_output(self, number: int, text: str, timeout_s: float = RUN_TIMEOUT_S) -> None:
        """Wait until that cell has shown this text; the notebook may be behind another."""
        output = self._cell(number).locator(".jp-OutputArea-output").filter(has_text=text)
        output.wait_for(state="attached", timeout=timeout_s * 1000)

    def wait_done(self, number: int, timeout_s: float = RUN_TIMEOUT_S) -> None:
        """Wait until JupyterLab says that the cell has been executed."""
        prompt = self._cell(number).locator(".jp-InputPrompt").filter(has_text=re.compile(r"\[\d+\]"))
        prompt.wait_for(state="attached", timeout=timeout_s * 1000)

    def ticks(self, number: int) -> list[int]:
        """The numbers that a ticking cell has shown, in the order that they stand there."""
        texts = self._cell(number).locator(".jp-OutputArea-output").all_text_contents()
        return [int(tick) for tick in re.findall(r"tick (\d+)", "".join(texts))]

    def wait_connecting(self, timeout_s: float) -> None:
        """Wait until JupyterLab has noticed that its connection to the kernel is gone: then it queues."""
        self._wait_indicator('[data-status="connecting"]', timeout_s)

    def wait_connected(self, timeout_s: float) -> None:
        """Wait until there is a connection: then it sends at once what is run, unless something is queued."""
        self._wait_indicator(':not([data-status="connecting"])', timeout_s)

    def _wait_indicator(self, condition: str, timeout_s: float) -> None:
        indicator = self._panel.locator(_INDICATOR + condition)
        indicator.wait_for(state="attached", timeout=timeout_s * 1000)

    def _cell(self, number: int) -> Locator:
        return self._panel.locator(".jp-CodeCell").nth(number - 1)


def new_notebook(lab: Lab) -> Notebook:
    """Open one more notebook in front of all others; returns when its kernel waits for work."""
    page = lab.page
    launcher = page.locator('.jp-LauncherCard[data-category="Notebook"]:visible').first
    if not launcher.is_visible():
        page.locator(".lm-TabBar-addButton:visible").first.click()
    launcher.click()
    lab.wait_idle()
    panel_id = page.locator(_FRONT).get_attribute("id")
    assert panel_id is not None
    # A click into the first cell; from here on the keyboard will do.
    page.locator(f"#{panel_id} .jp-CodeCell .cm-content").first.click()
    return Notebook(lab, panel_id)


class Watcher:
    """Notes what a tab complains of; to be made before it is opened."""

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        """Errors and warnings of the console and of scripts, and requests that failed."""
        self.refusals: list[str] = []
        """Responses that say that a request cannot be served, such as the waiting page."""
        self._page = page
        page.add_init_script(_WATCH_KERNELS)
        page.on("console", self._hear)
        page.on("pageerror", self._hear_error)
        page.on("requestfailed", self._note_failure)
        page.on("response", self._look_at)

    def kernel_states(self) -> Sequence[str]:
        """The states that any kernel has been shown in."""
        return sorted(str(state) for state in self._page.evaluate("[...window.kernelStatesSeen]"))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _hear_error(self, error: Error) -> None:
        self.complaints.append(str(error))

    def _note_failure(self, request: Request) -> None:
        self.complaints.append(f"{request.method} {request.url}: {request.failure}")

    def _look_at(self, response: Response) -> None:
        if response.status >= 500:
            self.refusals.append(f"{response.status} {response.request.method} {response.url}")
