"""JupyterLab in a real browser: what `jtunnel url` prints and what `jtunnel open` shows is a working Lab."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.accounts import Account
from tests.support.browser import browser_tab
from tests.support.laptop import NAME, UP_TIMEOUT_S, Laptop, remote_account

#: A browser that only notes its arguments.
RECORDER = """\
#!{python}
import json, sys
with open({record!r}, "w") as file:
    json.dump(sys.argv, file)
"""


@pytest.fixture
def lab_account() -> Iterator[Account]:
    """Someone to log in as; JupyterLab keeps what a browser had open, so each test has another."""
    with remote_account() as made:
        yield made


@pytest.mark.long
def test_a_notebook_works_at_the_address_that_url_prints(laptop: Laptop, lab_account: Account) -> None:
    laptop.up()
    with browser_tab() as lab:
        lab.open(laptop.jtunnel.check("url", NAME).strip())
        lab.new_notebook()
        lab.run_cell("1+1")
        lab.wait_output(1, "2")
        lab.run_cell("import getpass; 'I am ' + getpass.getuser()")
        lab.wait_output(2, f"I am {lab_account.name}")
        lab.screenshot("notebook")
        assert lab.loads == 1
        assert lab.dialogs() == []
        assert "token" not in lab.page.url


def test_open_leads_the_browser_there_without_a_token_in_its_arguments(laptop: Laptop) -> None:
    record = os.path.join(laptop.home.path, "arguments.json")
    program = os.path.join(laptop.home.path, "browser")
    with open(program, "w") as file:
        file.write(RECORDER.format(python=sys.executable, record=record))
    os.chmod(program, 0o755)
    laptop.home.env["BROWSER"] = program
    opened = laptop.jtunnel.run("open", NAME, timeout=UP_TIMEOUT_S)
    assert opened.returncode == 0, opened.stderr
    token = laptop.jupyter().token
    assert token not in opened.stdout + opened.stderr

    with open(record) as file:
        _, address = json.load(file)
    assert token not in address
    page = unquote(urlsplit(address).path)
    assert address.startswith("file:///")
    assert stat.S_IMODE(os.stat(page).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(page)).st_mode) == 0o700
    with open(page) as file:
        assert laptop.jtunnel.check("url", NAME).strip() in file.read()

    with browser_tab() as lab:
        lab.open(address)
        assert lab.page.url.startswith(f"{laptop.server()['url']}")
        assert "token" not in lab.page.url
        lab.screenshot("opened")
