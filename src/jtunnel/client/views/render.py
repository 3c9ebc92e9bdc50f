"""One tunnel in words: what it does, where it is reached, what is wrong. Pure; `view` lays them out."""

from __future__ import annotations

from jtunnel.client.views import served
from jtunnel.client.views.measures import latency, moment, size, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from jtunnel.status import ForwardStatus, Problem, TunnelStatus

_GAP: Final = "  "


def state_word(tunnel: TunnelStatus) -> str:
    """The state as a table has it, with words of their own for tunnels at rest and for known servers."""
    if is_at_rest(tunnel):
        return "on demand"
    return _checking(tunnel) or tunnel["state"]


def is_at_rest(tunnel: TunnelStatus) -> bool:
    """Whether it waits for its first use: its port is open, and there is no connection."""
    return tunnel["state"] == "down" and any(forward["listening"] for forward in tunnel["forwards"])


def troubles(tunnel: TunnelStatus, now_s: float) -> list[str]:
    """What is wrong with a tunnel and its forwards, a sentence each."""
    found = []
    if problem := tunnel["problem"]:
        text = problem_text(problem)
        if (left_s := _until_retry_s(tunnel, now_s)) > 0:
            text += f"; next try in {span(left_s)}"
        elif tunnel["state"] == "retrying":
            text += "; trying now"
        found.append(text)
    return found + forward_troubles(tunnel)


def forward_troubles(tunnel: TunnelStatus) -> list[str]:
    """The problems of a tunnel's forwards that are not the tunnel's own."""
    return [
        f"forward {forward['name']}: {problem_text(problem)}"
        for forward in tunnel["forwards"]
        if (problem := forward["problem"]) and problem != tunnel["problem"]
    ]


def exposures(tunnel: TunnelStatus) -> list[str]:
    """The forwards that other machines reach, a sentence each."""
    return [
        f"forward {forward['name']} listens on {forward['listen']}: other machines reach it; "
        "to keep it to this one, let it listen on a port alone"
        for forward in tunnel["forwards"]
        if forward["kind"] != "remote" and not _is_private(forward["listen"])
    ]


def problem_text(problem: Problem) -> str:
    """What happened, then what to do."""
    return f"{problem['message']}; {problem['advice']}" if problem["advice"] else problem["message"]


def addresses(tunnel: TunnelStatus) -> list[str]:
    """Where a tunnel is reached on this machine: its server's URL, else its listening sides."""
    server = served.server_of(tunnel)
    if server is not None and server["url"]:
        return [server["url"]]
    local = [forward for forward in tunnel["forwards"] if forward["kind"] != "remote"]
    # Once something listens, what does not is no address to go to.
    listening = [forward["listen"] for forward in local if forward["listening"]]
    return listening or [forward["listen"] for forward in local]


def places(tunnel: TunnelStatus) -> list[str]:
    """Its addresses or, where it has none on this machine, those of its remote forwards over there."""
    remote = [each["listen"] for each in tunnel["forwards"] if each["kind"] == "remote"]
    return addresses(tunnel) or [f"remote {listen}" for listen in remote]


def held(tunnel: TunnelStatus) -> int:
    """How many connections wait for it."""
    return sum(forward["held"] for forward in tunnel["forwards"])


def traffic(tunnel: TunnelStatus) -> tuple[int, int]:
    """The bytes that came in and went out through all its forwards."""
    forwards = tunnel["forwards"]
    return sum(each["bytes_in"] for each in forwards), sum(each["bytes_out"] for each in forwards)


def route(tunnel: TunnelStatus) -> str:
    """Where it goes: USER@HOST, the port where it is not 22, and the jump hosts."""
    whom = f"{tunnel['user']}@" if tunnel["user"] else ""
    port = f":{tunnel['port']}" if tunnel["port"] not in (None, 22) else ""
    via = f" via {', '.join(tunnel['via'])}" if tunnel["via"] else ""
    return f"{whom}{tunnel['host'] or tunnel['alias']}{port}{via}"


def facts(tunnel: TunnelStatus, speeds: tuple[float, float] | None = None) -> str:
    """What is worth knowing of the way of a tunnel that is looked at alone; empty of one that is down.

    `speeds`, the bytes a second in and out, are shown instead of what has flowed in all.
    """
    if tunnel["state"] == "down":
        return ""
    came, went = traffic(tunnel)
    known = [route(tunnel)]
    if tunnel["latency_ms"] is not None:
        known.append(f"round trip {latency(tunnel['latency_ms'])}")
    if tunnel["reconnects"]:
        known.append(f"reconnected {served.plural(tunnel['reconnects'], 'time')}")
    if speeds is not None:
        known.append(f"{size(speeds[0])}/s in, {size(speeds[1])}/s out")
    elif came or went:
        known.append(f"{size(came)} in, {size(went)} out")
    return ", ".join(known)


def forward_cells(forward: ForwardStatus) -> tuple[str, str, str]:
    """One forward: its name, its kind, and the rest."""
    listen, target = forward["listen"], forward["target"]
    way = f"{listen} → {target}" if target else listen
    if forward["kind"] == "dynamic":
        way += " (SOCKS)"
    notes = []
    if forward.get("temporary"):  # an older daemon does not say
        notes.append("temporary")
    if forward["active"]:
        notes.append(f"{forward['active']} open")
    if forward["held"]:
        notes.append(waiting(forward["held"]))
    return forward["name"], forward["kind"], _GAP.join([way, ", ".join(notes)]).rstrip()


def waiting(count: int) -> str:
    """So many connections that are held."""
    return f"{count} wait" if count != 1 else "1 waits"


def activity(tunnel: TunnelStatus) -> str:
    """What a tunnel is doing, without times: it changes only when the tunnel does."""
    state, problem = tunnel["state"], tunnel["problem"]
    if state == "connecting":
        return f"connecting to {tunnel['alias']}"
    if state == "starting":
        return _checking(tunnel) or served.doing(tunnel)
    if state == "queued":
        return "waiting for its batch job"
    if state in ("retrying", "blocked") and problem:
        return f"{state}: {problem['message']}"
    return "on demand" if is_at_rest(tunnel) else state


def progress(tunnel: TunnelStatus, now_s: float) -> str:
    """What a tunnel is doing, with the seconds it took so far or that are left."""
    state, problem = tunnel["state"], tunnel["problem"]
    if state in ("connecting", "starting", "queued"):
        return f"{activity(tunnel)}, {span(now_s - moment(tunnel['since']))}…"
    if state == "retrying" and problem:
        left_s = _until_retry_s(tunnel, now_s)
        when = f"retrying in {span(left_s)}" if left_s > 0 else "trying again"
        return f"{when}: {problem['message']}"
    if state == "up":
        return "up" + _GAP + ", ".join(places(tunnel))
    return activity(tunnel)


def _checking(tunnel: TunnelStatus) -> str:
    # A server whose address is known is not looked for: it is asked whether it still is the one.
    server = served.server_of(tunnel)
    if tunnel["state"] == "starting" and server and server["state"] == "searching" and server["url"]:
        return "checking Jupyter" if tunnel["jupyter"] else "checking it"
    return ""


def _is_private(listen: str) -> bool:
    """Whether only this machine reaches a listening side: a Unix socket, or loopback (RFC 5735, RFC 4291)."""
    if listen.startswith("unix:"):
        return True
    host = listen.rpartition(":")[0].strip("[]")
    return host in ("", "localhost", "::1") or host.startswith("127.")


def _until_retry_s(tunnel: TunnelStatus, now_s: float) -> float:
    retry_at = tunnel["retry_at"]
    # Rounded up, so that the last second counts as one and not as none.
    return -((now_s - moment(retry_at)) // 1) if retry_at else 0.0
