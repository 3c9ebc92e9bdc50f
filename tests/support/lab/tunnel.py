"""One tunnel of jtunnel's that is up, in a site of its own, with all that watches and uses it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.support.accounts import Account
from tests.support.home import Home
from tests.support.keys import Key
from tests.support.lab.clock import Clock
from tests.support.lab.outage import Fault, Recovery, await_recovery, suffer
from tests.support.lab.program import LabJtunnel, Story
from tests.support.lab.site import ALIAS, Site, open_site
from tests.support.lab.talk import Talk
from tests.support.lab.traffic import Traffic
from tests.support.profiles import profile

NAME: Final = "gpu"
#: Ports of the laptop's loopback, which nobody else uses: of the forwards to the site's two services.
ECHO_PORT: Final = 8000
TALK_PORT: Final = 8001
UP_TIMEOUT_S: Final = 120.0
#: From the return of the network to the first answer, before a test gives up.
PATIENCE_S: Final = 90.0
_LOG_LINES: Final = 200


@dataclass(frozen=True, slots=True)
class Access:
    """Who logs in, what with, and what sshd is known by."""

    account: Account
    client_key: Key
    host_key: Key


@dataclass(frozen=True, slots=True)
class Tunnel:
    """`story` is what its status told since it came up; `clock` is that of its daemon, where it has one."""

    site: Site
    jtunnel: LabJtunnel
    story: Story
    clock: Clock | None

    def traffic(self) -> Traffic:
        """Requests through it."""
        return Traffic(self.site.network.laptop, ECHO_PORT)

    def talk(self) -> Talk:
        """A conversation through it."""
        return Talk(self.site.network.laptop, "127.0.0.1", TALK_PORT)

    def suffer(self, fault: Fault, seconds: float) -> Recovery:
        """Let a fault last so long while requests flow, and see it through to the recovery."""
        with self.traffic() as traffic:
            assert traffic.wait_for(lambda traffic: traffic.count()["answered"] > 0, 10.0)
            began_at, returned_at = suffer(self.site, fault, seconds)
            return await_recovery(traffic, began_at, returned_at, PATIENCE_S)


@contextlib.contextmanager
def open_tunnel(
    access: Access,
    *,
    slow: bool = False,
    clock: bool = False,
    env: Mapping[str, str] | None = None,
    daemon_env: Mapping[str, str] | None = None,
    config: str = "",
    **settings: str | float | bool | Sequence[str],
) -> Iterator[Tunnel]:
    """Make the site, bring the tunnel up, and end both.

    `env` is for sshd's sessions and `daemon_env` for the daemon, which with `clock` follows one of its own.
    `settings` are the profile's, `config` is more TOML below them.
    """
    with contextlib.ExitStack() as stack:
        home = Home()
        stack.callback(home.remove)
        ticking = stack.enter_context(Clock(home.path)) if clock else None
        site = stack.enter_context(
            open_site(
                home,
                access.account,
                host_key=access.host_key,
                client_key=access.client_key,
                slow=slow,
                env=env,
            )
        )
        jtunnel = LabJtunnel(home, site.network.laptop)
        jtunnel.write_config(
            profile(
                NAME,
                f"{ECHO_PORT}:{site.echo.target}",
                f"{TALK_PORT}:127.0.0.1:{site.talks.port}",
                host=ALIAS,
                **settings,
            )
            + config
        )
        stack.callback(jtunnel.close)
        # Not for the clients that come later.
        jtunnel.env = {**home.env, **(ticking.env if ticking else {}), **(daemon_env or {})}
        jtunnel.check("up", NAME, timeout=UP_TIMEOUT_S)
        jtunnel.env = home.env
        story = stack.enter_context(Story(jtunnel, NAME))
        try:
            yield Tunnel(site, jtunnel, story, ticking)
        except BaseException as failure:
            failure.add_note(f"jtunnel.log:\n{jtunnel.log_tail(_LOG_LINES)}")
            raise
