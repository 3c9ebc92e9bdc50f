"""What ciphers and key exchange the two sides use, asked of the programs themselves.

Run as `python -m bench.algorithms SSH_CONFIG`, it prints jtunnel's first choices: in a process of its
own, since asyncssh's pages in this one would make the daemon's memory look shared.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bench import processes
from bench.failure import BenchError

_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Algorithms:
    """SSH names. The server knows them all, so each client gets its first choice (RFC 4253 §7.1)."""

    cipher: str
    ssh_cipher: str
    key_exchange: str


def ask_algorithms(ssh_config: str, env: Mapping[str, str]) -> Algorithms:
    """What jtunnel and ssh choose under one ssh_config. Raises BenchError where the key exchange differs."""
    ours = json.loads(_output([sys.executable, "-m", "bench.algorithms", ssh_config], env))
    told = _output([processes.find("ssh"), "-G", "-F", ssh_config, "bench"], env)
    theirs = dict(line.split(" ", 1) for line in told.splitlines() if " " in line)
    exchange = theirs["kexalgorithms"].split(",")[0]
    if ours["key_exchange"] != exchange:
        raise BenchError(f"jtunnel exchanges keys by {ours['key_exchange']} and ssh by {exchange}")
    return Algorithms(ours["cipher"], theirs["ciphers"].split(",")[0], exchange)


def _output(argv: list[str], env: Mapping[str, str]) -> str:
    done = subprocess.run(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    if done.returncode:
        raise BenchError(f"{os.path.basename(argv[0])} failed: {done.stderr.strip().rpartition(chr(10))[2]}")
    return done.stdout


def main(ssh_config: str) -> None:
    """Print jtunnel's choices as JSON."""
    from jtunnel.ssh.destination import Destination
    from jtunnel.ssh.resolve import resolve

    resolved = asyncio.run(resolve(Destination("bench", ssh_config=ssh_config), os.environ))
    options = resolved.options
    print(
        json.dumps(
            {
                "cipher": options.encryption_algs[0].decode(),
                "key_exchange": options.kex_algs[0].decode(),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
