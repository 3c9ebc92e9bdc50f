"""JupyterLab in headless Chromium, as a person uses it: keys and what is to be seen. Starts no server.

The browser is the system's; Playwright only drives it. It can reach nothing but this machine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from playwright.sync_api import Locator, Page, sync_playwright

from tests.support.programs import find_program

#: JupyterLab's first start in a new profile compiles some megabytes of JavaScript.
LOAD_TIMEOUT_S = 60.0
RUN_TIMEOUT_S = 30.0
#: Where screenshots go; CI may keep that directory.
ARTIFACTS = "JTUNNEL_TEST_ARTIFACTS"
_REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_ARGUMENTS = [
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
]
#: Keeps the text of each modal dialog that appears, also of one that goes away by itself.
_WATCH_DIALOGS = """
window.dialogsSeen = [];
new MutationObserver((changes) => {
  for (const change of changes)
    for (const node of change.addedNodes)
      if (node instanceof Element && node.matches('.jp-Dialog')) window.dialogsSeen.push(node.innerText);
}).observe(document, {childList: true, subtree: true});
"""


class Lab:
    """One tab; `loads` counts the pages that it has loaded."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.loads = 0
        page.on("load", self._count_load)
        page.add_init_script(_WATCH_DIALOGS)

    def open(self, url: str) -> None:
        """Open an address that leads to JupyterLab, and wait until that is ready for work."""
        self.page.goto(url)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until JupyterLab shows what can be opened."""
        self._launcher.wait_for(timeout=LOAD_TIMEOUT_S * 1000)

    def new_notebook(self) -> None:
        """Open a new notebook from the launcher; returns when its kernel waits for work."""
        self._launcher.click()
        self.wait_idle()
        # A click into the first cell; from here on the keyboard will do.
        self.page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()

    def wait_idle(self) -> None:
        """Wait until JupyterLab says below the notebook that it is connected to an idle kernel."""
        # The indicator beside the kernel's name shows an idle one while there is none yet.
        self.page.get_by_text("| Idle").wait_for(timeout=LOAD_TIMEOUT_S * 1000)

    def run_cell(self, code: str) -> None:
        """Type into the cell that has the focus, and run it, which moves the focus on to the next."""
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Shift+Enter")

    def output(self, number: int) -> Locator:
        """What the cell of that number, from 1 on, has shown."""
        cell = self.page.locator(".jp-Notebook .jp-CodeCell").nth(number - 1)
        return cell.locator(".jp-OutputArea-output")

    def wait_output(self, number: int, text: str, *, timeout_s: float = RUN_TIMEOUT_S) -> None:
        """Wait until that cell has shown this text."""
        self.output(number).filter(has_text=text).wait_for(timeout=timeout_s * 1000)

    def dialogs(self) -> list[str]:
        """The modal dialogs that this page has shown so far."""
        return [str(text) for text in self.page.evaluate("window.dialogsSeen")]

    def screenshot(self, name: str) -> str:
        """Keep a picture of the tab; the answer is its path."""
        directory = os.environ.get(ARTIFACTS) or os.path.join(_REPOSITORY, "artifacts")
        path = os.path.join(directory, f"{name}.png")
        self.page.screenshot(path=path)
        return path

    @property
    def _launcher(self) -> Locator:
        return self.page.locator('.jp-LauncherCard[data-category="Notebook"]').first

    def _count_load(self, page: Page) -> None:
        self.loads += 1


@contextlib.contextmanager
def browser_tab(*arguments: str) -> Iterator[Lab]:
    """A tab of a new browser, with these arguments and without any history, which is ended with it."""
    program = find_program("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=[*_ARGUMENTS, *arguments], chromium_sandbox=False
        )
        lab = Lab(browser.new_page(viewport={"width": 1280, "height": 800}))
        try:
            yield lab
        except BaseException:
            lab.screenshot("at-the-failure")
            raise
        finally:
            browser.close()
