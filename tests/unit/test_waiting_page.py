"""The waiting page: a whole and harmless HTTP response that says in words what a tunnel waits for."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtunnel.status import Problem, State, TunnelStatus
from jtunnel.tunnel.waiting_page import render
from tests.support.scripted_daemon import jupyter, tunnel

#: Berlin in winter, where it is an hour later than the status says.
NOW = datetime(2026, 11, 22, 5, 2, 30, tzinfo=timezone(timedelta(hours=1)))
LOST: Problem = {
    "kind": "connection-lost",
    "message": "lost gpu-box: no answer to 3 questions",
    "advice": "it is tried again by itself; see `jtunnel logs gpu`",
}
CODE: Problem = {
    "kind": "input-required",
    "message": "gpu-box wants a code for me",
    "advice": "bring the tunnel up in a terminal, and answer there",
}
GONE: Problem = {
    "kind": "server-gone",
    "message": "the Jupyter server on n1 is gone, and its kernels with it",
    "advice": "start a new one with: jtunnel up gpu",
}


class Page(HTMLParser):
    """What a browser makes of it: the elements, and the text that is shown, one line for each block."""

    def __init__(self, response: bytes) -> None:
        super().__init__()
        head, _, self.body = response.partition(b"\r\n\r\n")
        status, *lines = head.decode("ascii").split("\r\n")
        self.status = status
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        assert len(self.headers) == len(lines)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, str] = {}
        self.shown: dict[str, str] = {}
        self.kept = ""
        self._open: list[str] = []
        self._row = ""
        self.feed(self.body.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag not in ("meta", "link"):
            self._open.append(tag)
        if "id" in attributes and "template" not in self._open:
            self._row = "" if "hidden" in attributes else str(attributes["id"])

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "main":
            self._row = ""

    def handle_data(self, data: str) -> None:
        if "template" in self._open:
            self.kept += data
        elif self._open and self._open[-1] in ("style", "script", "title", "h1"):
            self.raw[self._open[-1]] = self.raw.get(self._open[-1], "") + data
        elif self._row:
            self.shown[self._row] = " ".join(f"{self.shown.get(self._row, '')}{data}".split(" ")).strip("\n")

    def codes(self) -> list[str]:
        return re.findall(r"<code>(.*?)</code>", self.body.decode())


def page(status: TunnelStatus, now: datetime = NOW) -> Page:
    return Page(render(status, now))


def retrying(**changes: Any) -> TunnelStatus:
    return tunnel(state="retrying", **{"problem": LOST, "attempt": 2, **changes})


def test_it_is_a_whole_response_that_nobody_keeps() -> None:
    found = page(retrying())
    assert found.status == "HTTP/1.1 503 Service Unavailable"
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    assert int(found.headers["content-length"]) == len(found.body)
    assert found.headers["cache-control"] == "no-store"
    assert found.headers["connection"] == "close"
    assert found.headers["retry-after"] == "2"
    assert found.headers["referrer-policy"] == "no-referrer"
    assert found.headers["x-content-type-options"] == "nosniff"


def test_it_may_do_nothing_but_what_it_brings_along() -> None:
    found = page(retrying())
    policy = dict(rule.split(" ", 1) for rule in found.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(found.raw[kind].encode()).digest()).decode()
        assert policy[f"{kind}-src"] == f"'sha256-{digest}'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert b"http:" not in found.body
    assert b"https:" not in found.body
    assert [attributes for _, attributes in found.elements if {"src", "href"} & attributes.keys()] == [
        {"rel": "icon", "href": "data:,"}
    ]


def test_it_never_shows_an_address() -> None:
    body = page(retrying()).body
    assert b"8888" not in body
    assert b"/lab" not in body
    assert b"token" not in body


def test_a_lost_tunnel() -> None:
    found = page(retrying(since="2026-11-22T04:00:00.250Z", retry_at="2026-11-22T04:02:34.400Z"))
    assert found.shown["state"].split()[0] == "retrying"
    assert found.raw["title"] == "gpu: retrying"
    assert found.raw["h1"].strip() == "gpu"
    assert found.shown["now"].strip() == "Reconnecting to gpu-box"
    assert found.shown["problem"].strip() == f"Problem{LOST['message']}"
    assert found.shown["do"].strip() == "To doit is tried again by itself; see jtunnel logs gpu"
    assert found.shown["since"].strip() == "Since05:00:00 (2 minutes ago)"
    assert found.shown["next"].strip() == "Next tryin 4 s"
    assert "run" not in found.shown
    assert found.codes()[0] == "jtunnel logs gpu"
    assert ("time", {"datetime": "2026-11-22T05:00:00.250000+01:00"}) in found.elements


@pytest.mark.parametrize(
    ("since", "words"),
    [
        ("2026-11-22T04:02:29.999Z", "05:02:29 (0 s ago)"),
        ("2026-11-22T04:02:40Z", "05:02:40 (0 s ago)"),
        ("2026-11-22T04:01:30Z", "05:01:30 (1 minute ago)"),
        ("2026-11-22T01:02:30Z", "02:02:30 (3 hours ago)"),
        ("2026-11-21T22:59:00Z", "21 November 2026, 23:59:00 (5 hours ago)"),
        ("2026-11-19T23:00:00Z", "20 November 2026, 00:00:00 (2 days ago)"),
    ],
)
def test_since_when(since: str, words: str) -> None:
    assert page(retrying(since=since)).shown["since"].strip() == f"Since{words}"


def test_a_try_that_is_due_or_under_way_is_now() -> None:
    for retry_at in (None, "2026-11-22T04:02:29Z"):
        assert page(retrying(retry_at=retry_at)).shown["next"].strip() == "Next trynow"
    # Suspected, and nothing is tried: it may be fine.
    assert "next" not in page(retrying(attempt=0)).shown


def test_a_blocked_tunnel_says_which_command_to_run() -> None:
    found = page(tunnel(state="blocked", problem=CODE))
    assert found.shown["now"].strip() == "This tunnel needs you"
    assert found.shown["run"].strip() == "Commandjtunnel up gpu"
    assert "next" not in found.shown
    # Once is enough.
    found = page(tunnel(state="blocked", problem=GONE))
    assert found.shown["now"].strip() == "The Jupyter server is gone"
    assert "run" not in found.shown
    assert found.codes()[0] == "jtunnel up gpu"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("searching", "Looking for Jupyter on gpu-box"),
        ("starting", "Starting JupyterLab on gpu-box"),
        ("not-answering", "Waiting for Jupyter to answer"),
        ("ready", "Starting on gpu-box"),
    ],
)
def test_a_start(state: str, words: str) -> None:
    found = page(tunnel(state="starting", jupyter=jupyter(state)))
    assert found.shown["now"].strip() == words


@pytest.mark.parametrize("state", get_args(State))
def test_every_state_has_its_words(state: State) -> None:
    for problem in (None, CODE):
        found = page(tunnel(state=state, problem=problem, jupyter=None))
        assert found.raw["title"] == f"gpu: {state}"
        assert found.shown["now"].strip()
        assert ("main", {"data-name": "gpu", "data-state": state}) in found.elements
        assert f"main[data-state={state}]" in found.raw["style"] or state in (
            "connecting",
            "starting",
            "queued",
        )


def test_it_brings_along_what_to_show_when_nobody_answers_any_more() -> None:
    kept = page(retrying()).kept
    for words in ("down", "Not connected", "nobody answers at this address now", "jtunnel up gpu"):
        assert words in kept


def test_it_can_be_read_by_everybody() -> None:
    found = page(retrying())
    assert ("html", {"lang": "en"}) in found.elements
    assert any(attributes.get("role") == "status" for _, attributes in found.elements)
    assert ("meta", {"http-equiv": "refresh", "content": "2"}) in found.elements
    assert "noscript" in {tag for tag, _ in found.elements}
    light, dark = re.findall(r":root \{(.*?)\}", found.raw["style"], re.DOTALL)
    for scheme in (light, light + dark):
        colours = dict(re.findall(r"--(\w+): (#\w+)", scheme))
        for text in ("text", "quiet", "wait", "stop", "work", "well"):
            for ground in ("card", "page"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast(colours["text"], colours["code"]) >= 4.5


def contrast(one: str, other: str) -> float:
    """The ratio of two colours' luminance (WCAG 2.2, 1.4.3)."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
        parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


TEXTS = st.text() | st.sampled_from(["<script>alert(1)</script>", '" onload="x', "`<b>`", "{state}", "&amp;"])


@given(TEXTS, TEXTS, TEXTS)
def test_no_text_becomes_anything_else(message: str, advice: str, alias: str) -> None:
    problem: Problem = {"kind": "host-unreachable", "message": message, "advice": advice}
    usual = page(retrying(problem={**problem, "message": "x", "advice": "x"}))
    found = page(retrying(problem=problem, alias=alias))

    def elements(page: Page) -> list[str]:
        return [tag for tag, _ in page.elements if tag != "code"]

    assert elements(found) == elements(usual)
    assert int(found.headers["content-length"]) == len(found.body)
    assert found.headers["content-security-policy"] == usual.headers["content-security-policy"]
