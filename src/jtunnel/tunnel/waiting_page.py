"""The page that a browser gets while its JupyterLab cannot be reached: a status in, an HTTP response out.

It shows what `jtunnel status` says, and never the address that was asked for: a token may be in that.
A script keeps it up to date in place. Reloading it every few seconds, as a refresh header does, would
take the focus and the selection from whoever copies its command, and have a screen reader start over;
that is left to browsers without scripts. JupyterLab itself comes by a reload, at the same address.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from jtunnel.status import State, TunnelStatus

#: Seconds between two looks at whether JupyterLab is back. A look is held as long as a navigation is,
#: so that there is hardly a moment in which none waits.
_LOOK_EVERY_S: Final = 2

_HEADLINES: Final[Mapping[State, str]] = {
    "down": "Not connected",
    "connecting": "Connecting to {alias}",
    "starting": "Starting on {alias}",
    "queued": "Waiting for the batch job",
    "up": "Connected, waiting for an answer",
    "retrying": "Trying to reach {alias}",
    "blocked": "This tunnel needs you",
}
_STARTING: Final[Mapping[str, str]] = {
    "searching": "Looking for Jupyter on {alias}",
    "starting": "Starting JupyterLab on {alias}",
    "not-answering": "Waiting for Jupyter to answer",
}
_PROBLEMS: Final[Mapping[str, str]] = {
    "connection-lost": "Reconnecting to {alias}",
    "server-gone": "The Jupyter server is gone",
    "job-ended": "The batch job has ended",
}

_STYLE: Final = """
:root { color-scheme: light dark; --page: #f4f5f7; --card: #fff; --line: #dfe3e8; --text: #1c2127;
  --quiet: #57606a; --code: #eef1f4; --wait: #a15c00; --stop: #c0281c; --work: #1a62c9; --well: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --page: #0e1116; --card: #171b21; --line: #2b323b;
  --text: #e7eaee; --quiet: #9ca7b3; --code: #232a32; --wait: #f0b13c; --stop: #ff7b72; --work: #6cb0ff;
  --well: #56d364; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
  background: var(--page); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
main { --state: var(--work); width: 100%; max-width: 36rem; padding: 1.75rem 2rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .75rem; overflow-wrap: anywhere; }
main[data-state=retrying] { --state: var(--wait); }
main[data-state=blocked] { --state: var(--stop); }
main[data-state=up] { --state: var(--well); }
main[data-state=down] { --state: var(--quiet); }
h1 { margin: 0; font-size: 1rem; font-weight: 600; display: flex; align-items: baseline; gap: .6rem; }
h1::before { content: ""; flex: none; width: .65rem; height: .65rem; border-radius: 50%;
  background: var(--state); forced-color-adjust: none; }
h1 span { margin-left: auto; color: var(--state); font-weight: 400; }
#now { margin: .9rem 0 1.1rem; font-size: 1.5rem; line-height: 1.25; font-weight: 600; }
dl { margin: 0; display: grid; gap: .75rem; }
dl > div { display: flex; flex-wrap: wrap; }
dl > div[hidden] { display: none; }
dt { flex: 0 0 5.5rem; color: var(--quiet); }
dd { flex: 1 1 14rem; margin: 0; }
code { font: .9em ui-monospace, Menlo, Consolas, monospace; background: var(--code); padding: .1em .35em;
  border-radius: .3em; }
#run code { display: block; padding: .55rem .75rem; user-select: all; }
#note { margin: 1.25rem 0 0; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--quiet); }
@media (prefers-reduced-motion: no-preference) {
  main:not([data-state=blocked], [data-state=down]) h1::before { animation: breathe 2.4s infinite; } }
@keyframes breathe { 50% { opacity: .35; } }
"""

_SCRIPT: Final = """
const main = document.querySelector("main"), mark = "X-Jtunnel";
function show(fresh) {
  for (const old of main.querySelectorAll("[id]")) {
    const now = fresh.getElementById(old.id);
    old.hidden = now.hidden;
    if (old.innerHTML !== now.innerHTML) old.innerHTML = now.innerHTML;
  }
  main.dataset.state = fresh.getElementById("state").textContent;
  document.title = main.dataset.name + ": " + main.dataset.state;
}
async function look() {
  const answer = await fetch(location.origin + location.pathname,
    {headers: {[mark]: "waiting"}, cache: "no-store", redirect: "manual"});
  if (!answer.headers.has(mark)) { location.reload(); return false; }
  show(new DOMParser().parseFromString(await answer.text(), "text/html"));
  return true;
}
(async () => {
  for (let more = true, failures = 0; more;) {
    const next = Date.now() + EVERY;
    // One may fail for a reason of the browser's: a network that changed, say.
    try { more = await look(); failures = 0; }
    catch { if (++failures > 1) show(document.querySelector("template").content); }
    await new Promise((done) => setTimeout(done, next - Date.now()));
  }
})();
""".replace("EVERY", str(_LOOK_EVERY_S * 1000))

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{name}: {state}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<noscript><meta http-equiv="refresh" content="{every}"></noscript>
<style>{style}</style>
</head>
<body>
<main data-name="{name}" data-state="{state}">
{now}
</main>
<template>
{lost}
</template>
<script>{script}</script>
</body>
</html>
"""
_CONTENT: Final = """<h1>{name} <span id="state">{state}</span></h1>
<p id="now" role="status">{headline}</p>
<dl>
{rows}
</dl>
<p id="note">{note}</p>"""
_LABELS: Final = {
    "problem": "Problem",
    "do": "To do",
    "run": "Command",
    "since": "Since",
    "next": "Next try",
}
#: What the script shows while nobody answers it.
_LOST: Final = "nobody answers at this address now: the tunnel was taken down, or jtunnel has ended"


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_hash(_STYLE)}",
        f"script-src {_hash(_SCRIPT)}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


def render(status: TunnelStatus, now: datetime | None = None) -> bytes:
    """The whole HTTP response for a tunnel that cannot serve its JupyterLab.

    Times are shown in `now`'s zone, this machine's by default: the browser runs here too.
    """
    body = _render_body(status, now or datetime.now(UTC).astimezone()).encode(errors="replace")
    head = (
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
        f"Retry-After: {_LOOK_EVERY_S}",
        f"Content-Security-Policy: {_POLICY}",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: no-referrer",
        # By this the page's script tells this response from JupyterLab's.
        "X-Jtunnel: waiting",
        "",
        "",
    )
    return "\r\n".join(head).encode() + body


def _render_body(status: TunnelStatus, now: datetime) -> str:
    name, state = html.escape(status["name"]), status["state"]
    command = f"<code>jtunnel up {name}</code>"
    return _PAGE.format(
        name=name,
        state=state,
        now=_render_content(name, state, html.escape(_headline(status)), _rows(status, command, now)),
        lost=_render_content(name, "down", _HEADLINES["down"], {"problem": _LOST, "run": command}),
        every=_LOOK_EVERY_S,
        style=_STYLE,
        script=_SCRIPT,
    )


def _render_content(name: str, state: State, headline: str, rows: Mapping[str, str]) -> str:
    return _CONTENT.format(
        name=name,
        state=state,
        headline=headline,
        rows="\n".join(
            f'<div id="{key}"{"" if key in rows else " hidden"}>'
            f"<dt>{label}</dt><dd>{rows.get(key, '')}</dd></div>"
            for key, label in _LABELS.items()
        ),
        note="After that, this page becomes JupyterLab by itself."
        if state in ("blocked", "down")
        else "This page becomes JupyterLab by itself as soon as that answers.",
    )


def _rows(status: TunnelStatus, command: str, now: datetime) -> Mapping[str, str]:
    """What there is to say below the headline, as HTML."""
    rows: dict[str, str] = {}
    state, problem, retry_at = status["state"], status["problem"], status["retry_at"]
    if problem:
        rows["problem"] = html.escape(problem["message"])
        if problem["advice"]:
            rows["do"] = _with_commands(problem["advice"], status["name"])
    # The way out is `up`; where the advice says so, once is enough.
    if state in ("blocked", "down") and command not in rows.get("do", ""):
        rows["run"] = command
    since = _moment(status["since"], now)
    ago = _span((now - since).total_seconds())
    rows["since"] = f'<time datetime="{since.isoformat()}">{_clock(since, now)}</time> ({ago} ago)'
    if state == "retrying" and (retry_at or status["attempt"]):
        left_s = (_moment(retry_at, now) - now).total_seconds() if retry_at else 0.0
        rows["next"] = f"in {_span(left_s)}" if left_s > 0 else "now"
    return rows


def _headline(status: TunnelStatus) -> str:
    state, problem, jupyter = status["state"], status["problem"], status["jupyter"]
    words = _HEADLINES[state]
    if state == "starting" and jupyter:
        words = _STARTING.get(jupyter["state"], words)
    elif problem and problem["kind"] == "server-gone" and not jupyter:
        words = "The server is gone"
    elif problem and problem["kind"] in _PROBLEMS:
        words = _PROBLEMS[problem["kind"]]
    return words.format(alias=status["alias"])


def _with_commands(advice: str, name: str) -> str:
    """The advice as HTML, with what stands there to be typed set off."""
    pieces = re.split(rf"`([^`]+)`|(jtunnel [a-z]+(?: {re.escape(name)})?(?: --[a-z]+)?)", advice)
    # Between any two pieces of text stand both groups, one of them empty.
    shown = [html.escape(pieces[0])]
    for quoted, bare, text in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        shown.append(f"<code>{html.escape(quoted or bare)}</code>{html.escape(text)}")
    return "".join(shown)


def _moment(iso: str, now: datetime) -> datetime:
    return datetime.fromisoformat(iso).astimezone(now.tzinfo)


def _clock(moment: datetime, now: datetime) -> str:
    """The time of day, with the date where that is another one."""
    if moment.date() == now.date():
        return f"{moment:%H:%M:%S}"
    return f"{moment.day} {moment:%B %Y, %H:%M:%S}"


def _span(seconds: float) -> str:
    """A duration in its largest unit, in words."""
    whole = max(0, round(seconds))
    for size, unit, units in ((86400, "day", "days"), (3600, "hour", "hours"), (60, "minute", "minutes")):
        if whole >= size:
            count = whole // size
            return f"{count} {unit if count == 1 else units}"
    return f"{whole} s"
