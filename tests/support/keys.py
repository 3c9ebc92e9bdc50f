"""SSH key pairs, made by ssh-keygen. Knows nothing of servers or agents."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

KEYGEN_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Key:
    """A private key file, and its public half as a line of authorized_keys(5)."""

    path: str
    public: str

    @property
    def fingerprint(self) -> str:
        """Its SHA-256 fingerprint, as ssh(1) shows it: `SHA256:…`."""
        listing = subprocess.run(
            ["ssh-keygen", "-lf", f"{self.path}.pub"],
            capture_output=True,
            text=True,
            check=True,
            timeout=KEYGEN_TIMEOUT_S,
        )
        return listing.stdout.split()[1]

    def known_hosts_line(self, host: str, port: int) -> str:
        """The line of known_hosts that makes this the key of `host` at `port`."""
        name = host if port == 22 else f"[{host}]:{port}"
        return f"{name} {' '.join(self.public.split()[:2])}\n"


def make_key(directory: str, name: str = "id_ed25519", *, kind: str = "ed25519", passphrase: str = "") -> Key:
    """Make a key pair in `directory`, which must exist; `kind` is ssh-keygen's `-t`."""
    path = os.path.join(directory, name)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", name, "-f", path],
        check=True,
        timeout=KEYGEN_TIMEOUT_S,
        stdin=subprocess.DEVNULL,
    )
    with open(f"{path}.pub") as file:
        return Key(path, file.read().strip())
