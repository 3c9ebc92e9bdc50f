"""The waiting page in a real browser: it comes in place of a blank tab, and becomes JupyterLab by itself."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, expect

from tests.support import processes
from tests.support.accounts import Account
from tests.support.browser import LOAD_TIMEOUT_S, Lab, browser_tab
from tests.support.laptop import NAME, UP_TIMEOUT_S, Laptop, remote_account
from tests.support.sshd import Sshd

#: From the navigation to the page; two seconds of that are patience.
PAGE_WITHIN_S = 6.0
#: From the moment that the tunnel is up to JupyterLab's first bytes; it needs seconds more to draw itself.
LAB_WITHIN_S = 2.5
#: A browser that only notes its arguments.
RECORDER = """\
#!{python}
import json, sys
with open({record!r}, "w") as file:
    json.dump(sys.argv, file)
"""
#: Requests of a page of the same origin that nobody answers; Chromium opens six connections to a host.
POOL = 6
FILL_POOL = f"() => {{ for (let n = 0; n < {POOL}; n++) fetch('/api/status?' + n).catch(() => 0); }}"

pytestmark = pytest.mark.long


@pytest.fixture
def lab_account() -> Iterator[Account]:
    """Someone to log in as; JupyterLab keeps what a browser had open, so each test has another."""
    with remote_account() as made:
        yield made


class Watched:
    """What a tab asks for and complains about."""

    def __init__(self, page: Page) -> None:
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        page.on("request", self._count)
        page.on("console", self._hear)

    def _count(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob"):
            self.hosts.add(parts.netloc)

    def _hear(self, message: ConsoleMessage) -> None:
        # That a response is a 503 is what the page is.
        if message.type == "error" and "503" not in message.text:
            self.complaints.append(message.text)


def wait_page(page: Page, state: str) -> None:
    """Wait until the waiting page shows this state."""
    expect(page.locator("#state")).to_have_text(state, timeout=PAGE_WITHIN_S * 1000)


def wait_left(page: Page) -> None:
    """Wait until something else is there instead of the waiting page."""
    page.wait_for_selector("main[data-state]", state="detached", timeout=LAB_WITHIN_S * 1000)


def shoot(lab: Lab, name: str) -> None:
    """Keep pictures of it by day and by night."""
    for scheme in ("light", "dark"):
        lab.page.emulate_media(color_scheme=scheme)
        lab.screenshot(f"{name}-{scheme}")
    lab.page.emulate_media(color_scheme="null")


def test_a_navigation_while_away_becomes_jupyterlab(
    laptop: Laptop, lab_sshd: Sshd, capsys: pytest.CaptureFixture[str]
) -> None:
    laptop.up()
    url = laptop.jtunnel.check("url", NAME).strip()
    token = laptop.jupyter().token
    lab_sshd.stop()
    laptop.jtunnel.wait_state(NAME, "retrying", 10.0)
    with browser_tab() as lab:
        watched = Watched(lab.page)
        began = time.monotonic()
        response = lab.page.goto(url)
        page_s = time.monotonic() - began
        assert response is not None
        assert response.status == 503
        wait_page(lab.page, "retrying")
        assert page_s < PAGE_WITHIN_S
        assert token not in lab.page.content()
        shoot(lab, "waiting")
        problem = laptop.tunnel()["problem"]
        assert problem is not None
        expect(lab.page.locator("#problem")).to_contain_text(problem["message"])

        # It keeps itself up to date, and takes nothing away from whoever reads it meanwhile.
        lab.page.locator("#note").evaluate("note => getSelection().selectAllChildren(note)")
        since = lab.page.locator("#since dd").inner_text()
        expect(lab.page.locator("#since dd")).not_to_have_text(since, timeout=10_000)
        assert "JupyterLab" in lab.page.evaluate("String(getSelection())")
        assert lab.loads == 1

        lab_sshd.start()
        laptop.jtunnel.wait_state(NAME, "up", 30.0)
        up_at = time.monotonic()
        wait_left(lab.page)
        left_s = time.monotonic() - up_at
        lab.wait_ready()
        ready_s = time.monotonic() - up_at
        lab.new_notebook()
        lab.run_cell("6*7")
        lab.wait_output(1, "42")
        assert lab.dialogs() == []
        assert lab.loads == 2
        # The token has logged the browser in, and JupyterLab has taken it out of the address.
        assert token not in lab.page.url
        assert watched.hosts == {urlsplit(url).netloc}
        assert [text for text in watched.complaints if "Content Security Policy" in text] == []
    with capsys.disabled():
        print(
            f"\nthe page after {page_s:.2f} s; from `up`: it leaves after {left_s:.2f} s, "
            f"JupyterLab is ready after {ready_s:.2f} s"
        )


def test_without_scripts_it_reloads_itself(laptop: Laptop, lab_sshd: Sshd) -> None:
    laptop.up()
    url = laptop.jtunnel.check("url", NAME).strip()
    lab_sshd.stop()
    laptop.jtunnel.wait_state(NAME, "retrying", 10.0)
    with browser_tab() as lab:
        assert lab.page.context.browser is not None
        page = lab.page.context.browser.new_context(java_script_enabled=False).new_page()
        page.goto(url)
        expect(page.locator("#state")).to_have_text("retrying")
        lab_sshd.start()
        # JupyterLab's page without a script is empty but for its title.
        expect(page).to_have_title("JupyterLab", timeout=LOAD_TIMEOUT_S * 1000)


def test_a_server_that_is_gone_and_comes_back(laptop: Laptop) -> None:
    laptop.up()
    url = laptop.jtunnel.check("url", NAME).strip()
    with browser_tab() as lab:
        lab.open(url)
        lab.page.goto("about:blank")
        processes.kill([psutil.Process(laptop.server()["pid"])])
        # The question that finds it out.
        laptop.jtunnel.run("url", NAME)
        laptop.jtunnel.wait_state(NAME, "blocked", 60.0)
        began = time.monotonic()
        # The address without a token, as it stands in a bookmark.
        lab.page.goto(str(laptop.server()["url"]))
        wait_page(lab.page, "blocked")
        assert time.monotonic() - began < 2
        expect(lab.page.get_by_text("The Jupyter server is gone")).to_be_visible()
        expect(lab.page.locator("code").first).to_have_text(f"jtunnel up {NAME}")
        shoot(lab, "waiting-for-a-person")
        opened = laptop.jtunnel.run("open", NAME)
        assert (opened.returncode, opened.stdout) == (4, "")
        assert "is gone" in opened.stderr

        laptop.jtunnel.check("up", NAME, timeout=UP_TIMEOUT_S)
        lab.wait_ready()


def test_a_tunnel_that_is_taken_down_and_brought_up(laptop: Laptop, lab_sshd: Sshd) -> None:
    """Then nobody listens at the port at all; the page says so, and waits on."""
    laptop.up()
    lab_sshd.stop()
    laptop.jtunnel.wait_state(NAME, "retrying", 10.0)
    with browser_tab() as lab:
        lab.page.goto(laptop_url(laptop))
        wait_page(lab.page, "retrying")
        laptop.jtunnel.check("down", NAME)
        expect(lab.page.get_by_text("nobody answers at this address now")).to_be_visible(timeout=10_000)
        wait_page(lab.page, "down")
        expect(lab.page.locator("#run code")).to_have_text(f"jtunnel up {NAME}")
        lab.screenshot("waiting-for-jtunnel")
        lab_sshd.start()
        laptop.jtunnel.check("up", NAME, timeout=UP_TIMEOUT_S)
        # Nobody has logged in here: that JupyterLab asks for a password now is not the page's affair.
        wait_left(lab.page)


def test_open_shows_the_page_or_says_why_the_tab_waits(
    laptop: Laptop, lab_sshd: Sshd, capsys: pytest.CaptureFixture[str]
) -> None:
    """With JupyterLab in another tab, its held requests can take all connections that the browser opens."""
    record = os.path.join(laptop.home.path, "arguments.json")
    program = os.path.join(laptop.home.path, "browser")
    with open(program, "w") as file:
        file.write(RECORDER.format(python=sys.executable, record=record))
    os.chmod(program, 0o755)
    laptop.home.env["BROWSER"] = program

    laptop.up()
    with browser_tab() as first:
        assert first.page.context.browser is not None
        context = first.page.context.browser.new_context(viewport={"width": 1280, "height": 800})
        lab = Lab(context.new_page())
        lab.open(laptop.jtunnel.check("url", NAME).strip())
        lab.new_notebook()
        lab_sshd.stop()
        laptop.jtunnel.wait_state(NAME, "retrying", 10.0)
        lab.page.evaluate(FILL_POOL)
        laptop.jtunnel.wait_tunnel(NAME, lambda tunnel: tunnel["forwards"][0]["held"] >= POOL, 10.0)

        opened = laptop.jtunnel.run("open", NAME)
        assert opened.returncode == 0, opened.stderr
        assert opened.stderr.count("\n") == 1
        assert f"which waits: {NAME} is retrying; " in opened.stderr
        with open(record) as file:
            _, address = json.load(file)
        tab = context.new_page()
        tab.goto(address, wait_until="commit")
        # DevTools see nothing of a tab that is on its way elsewhere, but where it is.
        targets = first.page.context.browser.new_browser_cdp_session()
        tab_waits = False
        give_up_at = time.monotonic() + PAGE_WITHIN_S
        while time.monotonic() < give_up_at:
            urls = [target["url"] for target in targets.send("Target.getTargets")["targetInfos"]]
            tab_waits = address in urls
            lab.page.wait_for_timeout(500)
        forward = laptop.tunnel()["forwards"][0]
        lab.screenshot("the-other-tab")

        lab_sshd.start()
        laptop.jtunnel.wait_state(NAME, "up", 30.0)
        tab.wait_for_selector(".jp-LabShell", timeout=LOAD_TIMEOUT_S * 1000)
        lab.page.bring_to_front()
        lab.run_cell("6*7")
        lab.wait_output(1, "42")
        assert lab.dialogs() == []
        assert lab.loads == 1
    with capsys.disabled():
        print(f"\n{opened.stderr.strip()}")
        print(f"{forward['held']} requests were held; the tab {'waited' if tab_waits else 'got the page'}")
    assert tab_waits


def laptop_url(laptop: Laptop) -> str:
    """The address without its token."""
    url = laptop.server()["url"]
    assert url is not None
    return url
