"""Which kind of remote server a profile has."""

from __future__ import annotations

from jtunnel.config.profile import Profile
from jtunnel.jupyter.jupyter import Jupyter
from jtunnel.service.plain import PlainService
from jtunnel.service.service import Service
from jtunnel.tunnel.server import ServerLife


def server_life(profile: Profile) -> ServerLife | None:
    """The life of a profile's remote server; None where it has forwards only."""
    service = _service(profile)
    return ServerLife(profile.name, service, profile.host) if service is not None else None


def _service(profile: Profile) -> Service | None:
    if profile.jupyter is not None:
        return Jupyter(profile.jupyter, profile.name)
    return PlainService(profile.service, profile.name) if profile.service is not None else None
