"""One try at the far side of a forward when its tunnel comes up: is it allowed, does anybody listen?"""

from __future__ import annotations

import asyncio
from typing import Final

from jtunnel.address import Address
from jtunnel.config.profile import Forward
from jtunnel.errors import ChannelError
from jtunnel.forward.listener import Listener
from jtunnel.remote import FarEnd, Remote

#: Seconds in which the far side opens a target or says no.
TRIAL_TIMEOUT_S: Final = 10.0


async def try_target(remote: Remote, forward: Forward, listener: Listener) -> ChannelError | None:
    """Open the forward's target once and close it; return what keeps the tunnel from being up.

    That is `forward-refused` or `connection-lost`. Nobody listening yet is no failure of the
    tunnel: it becomes the forward's problem.
    """
    assert forward.target is not None
    try:
        far_end = await _open_in_time(remote, forward.target)
    except ChannelError as error:
        if error.kind != "connection-lost":
            listener.problem = error.problem
        return None if error.kind == "target-refused" else error
    far_end.abort()
    listener.problem = None
    return None


async def _open_in_time(remote: Remote, target: Address) -> FarEnd:
    try:
        async with asyncio.timeout(TRIAL_TIMEOUT_S):
            return await remote.open(target, asyncio.Protocol())
    except TimeoutError:
        raise ChannelError(
            "target-refused",
            f"{target} did not answer within {TRIAL_TIMEOUT_S:.0f} s",
            "check the forward's target, and firewalls on the remote host",
        ) from None
