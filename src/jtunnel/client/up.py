"""`up` and `restart`: wants tunnels up, waits until they are, and says how it went."""

from __future__ import annotations

import sys
import time

from jtunnel.client import terminal
from jtunnel.client.argument_kinds import DEFAULT_TIMEOUT_S
from jtunnel.client.launch import dial_or_start
from jtunnel.client.prompts import answer_prompt, find_terminal
from jtunnel.client.views import render, served
from jtunnel.client.views.other_config import config_warning
from jtunnel.client.views.progress import Progress
from jtunnel.errors import EXIT_BLOCKED, EXIT_DONE, EXIT_FAILED, KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

    from jtunnel.client.connection import Connection
    from jtunnel.client.prompts import Terminal
    from jtunnel.status import StatusDocument, TunnelStatus

_TICK_S: Final = 1.0


def bring_up(
    environ: Mapping[str, str],
    *,
    names: Sequence[str],
    tags: Sequence[str] = (),
    every: bool = False,
    wait: bool = True,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> int:
    """Want tunnels up, starting the daemon if none runs; return the exit code."""
    with dial_or_start(environ) as connection:
        person = find_terminal() if wait else None
        params = {"names": list(names), "tags": list(tags), "all": every, "interactive": person is not None}
        wanted: list[str] = connection.call("up", params)["names"]
        if not wait:
            terminal.say(f"{', '.join(wanted)}: coming up; follow it with: jtunnel status --watch")
            return EXIT_DONE
        return Waiting(connection, wanted, environ, person, timeout_s).run()


class Waiting:
    """Follows some tunnels until each is up, or will not be without a person or more time.

    Time that passes in prompts or in a batch system's queue does not count. `stale` has for a tunnel
    the `since` of an `up` that is about to end.
    """

    def __init__(
        self,
        connection: Connection,
        names: Sequence[str],
        environ: Mapping[str, str],
        person: Terminal | None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        stale: Mapping[str, str] | None = None,
    ) -> None:
        self._connection = connection
        self._names = names
        self._person = person
        self._environ = environ
        self._progress = Progress(environ)
        self._timeout_s = timeout_s
        self._left_s = dict.fromkeys(names, timeout_s)
        self._document: StatusDocument | None = None
        self._tunnels: dict[str, TunnelStatus] = {}
        self._stale = stale or {}
        self._has_asked = False
        #: The server that each used at first: one that has ended is not to be replaced without a word.
        self._first_pids: dict[str, int | None] = {}
        #: When the next try of each was at first: what failed before that was before we asked.
        self._first_retries: dict[str, str | None] = {}

    def run(self, *, quiet: bool = False) -> int:
        """Wait, report, and return the exit code; a `quiet` one keeps what went well to itself.

        Ctrl-C says what stays wanted, and goes on as KeyboardInterrupt.
        """
        try:
            self._wait()
        except KeyboardInterrupt:
            self._progress.leave()
            several = len(self._names) > 3
            names = "NAME" if several else " ".join(self._names)
            whose = f"{len(self._names)} tunnels" if several else names
            terminal.say(f"{whose}: still wanted and coming up; to stop that: jtunnel down {names}")
            raise
        except BaseException:
            self._progress.leave()
            raise
        finally:
            if self._person and self._has_asked:
                # A shell would take a passphrase for a command, and keep it.
                self._person.drop_typing()
        if quiet or terminal.is_terminal(sys.stdout):
            self._progress.clear()
        self._progress.leave()
        return self._report(quiet=quiet)

    def _wait(self) -> None:
        self._connection.call("watch", {"names": list(self._names)})
        counted_until = time.monotonic()
        while not all(map(self._is_settled, self._names)):
            message = self._connection.receive(self._patience_s())
            now = time.monotonic()
            self._count(now - counted_until)
            counted_until = now
            if message is not None and self._take(message):
                counted_until = time.monotonic()
            self._progress.show([self._tunnels[n] for n in self._names if n in self._tunnels], time.time())

    def _take(self, message: Mapping[str, Any]) -> bool:
        """Act on what the daemon sent; True where a person was asked."""
        method = message.get("method")
        if method == "snapshot":
            document: StatusDocument = message["params"]["document"]
            self._document = document
            self._tunnels = {tunnel["name"]: tunnel for tunnel in document["tunnels"]}
            for name, tunnel in self._tunnels.items():
                self._first_retries.setdefault(name, tunnel["retry_at"])
                self._first_pids.setdefault(name, served.pid_of(tunnel))
        elif method == "prompt" and self._person is not None:
            self._progress.clear()
            self._has_asked = True
            answer_prompt(self._connection, self._person, message)
            return True
        elif method is not None and "id" in message:
            self._connection.refuse(message["id"], method)
        return False

    def _patience_s(self) -> float:
        return min([_TICK_S, *(self._left_s[name] for name in self._names if not self._is_settled(name))])

    def _count(self, passed_s: float) -> None:
        for name in self._names:
            tunnel = self._tunnels.get(name)
            if not self._is_settled(name) and not (tunnel and tunnel["state"] == "queued"):
                self._left_s[name] -= passed_s

    def _is_settled(self, name: str) -> bool:
        if self._left_s[name] <= 0:
            return True
        if self._document is None:
            return False
        tunnel = self._tunnels.get(name)
        if tunnel is None or tunnel["state"] == "blocked":
            return True
        if tunnel["state"] == "up":
            return tunnel["since"] != self._stale.get(name)
        return self._is_refused(tunnel) or (tunnel["state"] == "down" and not tunnel["wanted"])

    def _is_refused(self, tunnel: TunnelStatus) -> bool:
        """Whether the person who is here is needed, although it is tried once more by itself."""
        problem, retry_at = tunnel["problem"], tunnel["retry_at"]
        return bool(
            self._person
            and tunnel["state"] == "retrying"
            and problem
            and KINDS.get(problem["kind"], (None, 0))[0] == "blocked"
            and retry_at not in (None, self._first_retries.get(tunnel["name"]))
        )

    def _report(self, *, quiet: bool) -> int:
        longest = max(map(len, self._names), default=0)
        codes = [EXIT_DONE]
        for name in self._names:
            tunnel = self._tunnels.get(name)
            if tunnel is None or tunnel["state"] != "up":
                codes.append(self._report_failure(name, tunnel))
                continue
            if not quiet:
                where = ", ".join(render.places(tunnel))
                terminal.put(f"{name:<{longest}}  up  {where}".rstrip())
            first, now = self._first_pids.get(name), served.pid_of(tunnel)
            if first and now and first != now and name not in self._stale:
                terminal.say(
                    f"{name}: its server (pid {first}) had ended, and what ran in it; this is another"
                )
            worth_knowing = (
                render.forward_troubles(tunnel) + render.exposures(tunnel) + served.remarks(tunnel)
            )
            for each in worth_knowing:
                terminal.say(f"{name}: {each}")
        if self._document:
            self._report_config(self._document)
        return max(codes)

    def _report_config(self, document: StatusDocument) -> None:
        if problem := document["daemon"]["config_problem"]:
            terminal.say(f"config: {render.problem_text(problem)}")
        if warning := config_warning(self._environ, document):
            terminal.say(warning)

    def _report_failure(self, name: str, tunnel: TunnelStatus | None) -> int:
        problem = tunnel["problem"] if tunnel else None
        if tunnel is None and self._document:
            words = "gone from the config while it came up; see what is there: jtunnel status"
        elif tunnel and (tunnel["state"] == "blocked" or self._is_refused(tunnel)):
            words = render.problem_text(problem) if problem else "blocked"
        elif tunnel and tunnel["state"] == "down" and not tunnel["wanted"]:
            words = f"taken down while it came up; to bring it up: jtunnel up {name}"
        else:
            doing = render.activity(tunnel) if tunnel else "no word from the daemon"
            why = f": {render.problem_text(problem)}" if problem else f" ({doing})"
            words = (
                f"not up after {self._timeout_s:g} s{why}; "
                f"it is still wanted and goes on trying: jtunnel status {name}"
            )
        terminal.say(f"{name}: {words}")
        if tunnel and (tunnel["state"] == "blocked" or self._is_refused(tunnel)):
            return KINDS.get(problem["kind"] if problem else "", (None, EXIT_BLOCKED))[1]
        return EXIT_FAILED


def restart(
    environ: Mapping[str, str], *, names: Sequence[str], tags: Sequence[str] = (), every: bool = False
) -> int:
    """Drop and bring up the links of `names`, and wait as `up` does; return the exit code."""
    from jtunnel.client.dial import dial

    with dial(environ, remarks=True) as connection:
        person = find_terminal()
        # The first snapshot may come before the old connection is seen to be gone.
        before: StatusDocument = connection.call("status", {})
        stale = {tunnel["name"]: tunnel["since"] for tunnel in before["tunnels"]}
        chosen = list(names)
        if every:
            chosen += [tunnel["name"] for tunnel in before["tunnels"] if tunnel["wanted"]]
            if not (chosen or tags):
                terminal.say("no tunnel is wanted; want one with: jtunnel up NAME")
                return EXIT_FAILED
        params = {"names": chosen, "tags": list(tags), "interactive": person is not None}
        answer = connection.call("restart", params, timeout_s=30.0)
        if answer["also"]:
            terminal.say(f"restarted too, since the connection is shared: {', '.join(answer['also'])}")
        return Waiting(connection, answer["names"], environ, person, stale=stale).run()
