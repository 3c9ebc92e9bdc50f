"""`forward`: shows a tunnel's forwards, adds one to it while it lives, and takes one away.

What goes into the config is written by `commands.keep`, and imported for that alone.
"""

from __future__ import annotations

from contextlib import suppress

from jtunnel.client import terminal
from jtunnel.client.dial import dial
from jtunnel.client.views.render import forward_cells, problem_text
from jtunnel.client.views.width import pad, table
from jtunnel.errors import EXIT_DONE, EXIT_FAILED, KINDS, ConfigError, JTunnelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from jtunnel.status import ForwardKind, ForwardStatus, Problem, StatusDocument

#: How long the daemon may take to open a listener; a remote one is the server's to open.
FORWARD_S: Final = 30.0


def change_forwards(
    environ: Mapping[str, str],
    *,
    name: str,
    spec: str | None,
    kind: ForwardKind,
    label: str | None,
    keep: bool,
    remove: bool,
) -> int:
    """Show the forwards of a tunnel, add `spec` to them, or remove it; with `keep`, in the config, too."""
    if remove:
        return _remove(environ, name, spec, keep=keep)
    if spec is not None:
        return _add(environ, name, spec, kind, label, keep=keep)
    if keep or label is not None:
        raise ConfigError("usage", "no forward is named", f"such as: jtunnel forward {name} 8787 --keep")
    return _show(environ, name)


def _show(environ: Mapping[str, str], name: str) -> int:
    with dial(environ) as connection:
        document: StatusDocument = connection.call("status", {"names": [name]})
    for tunnel in document["tunnels"]:
        forwards = tunnel["forwards"]
        if not forwards:
            terminal.say(
                f"{tunnel['name']} has no forwards; add one with: jtunnel forward {tunnel['name']} PORT"
            )
            continue
        rows = [[terminal.printable(cell) for cell in forward_cells(forward)] for forward in forwards]
        *widths, _ = table(rows)
        for *cells, rest in rows:
            terminal.put("  ".join([*map(pad, cells, widths), rest]))
        for forward in forwards:
            if problem := forward["problem"]:
                terminal.put(f"  {forward['name']}: {problem_text(problem)}")
    return EXIT_DONE


def _add(
    environ: Mapping[str, str],
    name: str,
    spec: str,
    kind: ForwardKind,
    label: str | None,
    *,
    keep: bool,
) -> int:
    forward = _add_live(environ, name, spec, kind, label, keep=keep)
    problem = forward["problem"] if forward else None
    if forward and problem and (code := KINDS.get(problem["kind"], (None, EXIT_FAILED))[1]) != EXIT_DONE:
        if forward["temporary"]:
            with suppress(JTunnelError):  # the daemon may have done so
                _remove_temporary(environ, name, forward["name"])
        not_kept = "; it was not written to the config" if keep else ""
        terminal.say(f"{name}: {problem['message']}; {_another(name, forward, problem)}{not_kept}")
        return code
    mistake = _keep(environ, name, spec, kind, label) if keep else None
    if forward is not None:
        # Kept, it is the profile's own.
        kept = keep and mistake is None
        shown: ForwardStatus = {**forward, "temporary": forward["temporary"] and not kept}
        terminal.put("  ".join([name, *forward_cells(shown)]))
        if problem:
            terminal.say(f"{name}: forward {forward['name']}: {problem_text(problem)}")
        elif not forward["listening"]:
            terminal.say(f"{name}: forward {forward['name']} opens when {name} is up")
    if mistake is not None:
        raise JTunnelError(mistake.kind, f"not written to the config: {mistake.message}", mistake.advice)
    if keep:
        later = "" if forward else f"; it opens when {name} is up"
        terminal.say(f"{name}: forward {spec} is in the config{later}")
    return EXIT_DONE


def _keep(
    environ: Mapping[str, str], name: str, spec: str, kind: ForwardKind, label: str | None
) -> JTunnelError | None:
    """Write it to the config; return why that cannot be."""
    from jtunnel.commands.keep import keep_forward

    try:
        keep_forward(environ, name=name, spec=spec, kind=kind, label=label)
    except JTunnelError as error:
        return error
    return None


def _another(name: str, forward: ForwardStatus, problem: Problem) -> str:
    """What to do for somebody whose port cannot be had: type the same with another one."""
    host, _, port = forward["listen"].rpartition(":")
    if not (port.isdecimal() and f"port {port} " in f"{problem['message']} "):
        return problem["advice"]
    # The ports below 1024 are root's.
    other = int(port) + 1 if 1024 <= int(port) < 65535 else int(port) % 1024 + 8000
    place = f"{host}:{other}" if host not in ("", "127.0.0.1", "localhost") else str(other)
    option = {"remote": " --remote", "dynamic": " --dynamic"}.get(forward["kind"], "")
    words = ":".join(filter(None, [place, (forward["target"] or "").removeprefix("unix:")]))
    return f"take another one: jtunnel forward {name} {words}{option}"


def _add_live(
    environ: Mapping[str, str],
    name: str,
    spec: str,
    kind: ForwardKind,
    label: str | None,
    *,
    keep: bool,
) -> ForwardStatus | None:
    """Add it to the tunnel; None where there is no live one, which is no failure for one that is kept."""
    try:
        with dial(environ) as connection:
            asked = {"name": name, "spec": spec, "kind": kind, "label": label}
            added: ForwardStatus = connection.call("forward", asked, timeout_s=FORWARD_S)
            return added
    except JTunnelError as error:
        if keep and error.kind in ("no-daemon", "not-up", "unknown-profile"):
            return None
        if error.kind not in ("no-daemon", "not-up"):
            raise
        advice = f"{error.advice}; or write it to the config for later: add --keep"
        raise JTunnelError(error.kind, error.message, advice) from None


def _remove(environ: Mapping[str, str], name: str, spec: str | None, *, keep: bool) -> int:
    if keep and spec is None:
        raise ConfigError(
            "usage", "no forward is named", f"such as: jtunnel forward {name} 8787 --remove --keep"
        )
    removed = _remove_kept(environ, name, spec) if keep and spec else _remove_temporary(environ, name, spec)
    for label in removed:
        terminal.put(f"{name}  {label}  removed")
    if not removed:
        terminal.say(f"{name} has no temporary forwards")
    return EXIT_DONE


def _remove_temporary(environ: Mapping[str, str], name: str, spec: str | None) -> list[str]:
    with dial(environ) as connection:
        asked = {"name": name, "spec": spec}
        removed: list[str] = connection.call("unforward", asked, timeout_s=FORWARD_S)["removed"]
        return removed


def _remove_kept(environ: Mapping[str, str], name: str, spec: str) -> list[str]:
    """Take it out of the config, and from a live tunnel where it is temporary."""
    from jtunnel.commands.keep import drop_forward

    removed: list[str] = []
    try:
        removed = _remove_temporary(environ, name, spec)
    except JTunnelError as error:
        # `usage`: it is not a temporary one. What the config has is another question.
        if error.kind not in ("no-daemon", "unknown-profile", "usage"):
            raise
    try:
        return list(dict.fromkeys([*removed, *drop_forward(environ, name=name, spec=spec)]))
    except ConfigError as error:
        if removed and error.kind == "usage":
            return removed
        raise
