"""One try at the far side of a forward when its tunnel comes up: is it allowed, does anybody listen?"""

from __future__ import annotations

import asyncio

from jtunnel.config.profile import Forward
from jtunnel.errors import ChannelError
from jtunnel.forward.listener import Listener
from jtunnel.remote import Remote


async def try_target(remote: Remote, forward: Forward, listener: Listener) -> ChannelError | None:
    """Open the forward's target once and close it; return what keeps the tunnel from being up.

    That is `forward-refused` or `connection-lost`. Nobody listening yet is no failure of the
    tunnel: it becomes the forward's problem.
    """
    assert forward.target is not None
    try:
        far_end = await remote.open(forward.target, asyncio.Protocol())
    except ChannelError as error:
        if error.kind != "connection-lost":
            listener.problem = error.problem
        return None if error.kind == "target-refused" else error
    far_end.abort()
    listener.problem = None
    return None
