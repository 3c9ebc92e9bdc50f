"""Calls of `systemctl` and `launchctl`: bounded in time, and their failures in one line."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from jtunnel.errors import ControlError

CALL_S = 30.0


def run(
    *command: str, environ: Mapping[str, str], timeout_s: float = CALL_S
) -> subprocess.CompletedProcess[str]:
    """Run it to its end; any exit code is an answer. Raises ControlError where it cannot be run."""
    try:
        return subprocess.run(
            command,
            # Its words are looked at here.
            env={**environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        raise ControlError("daemon-failed", f"cannot run {command[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ControlError(
            "daemon-failed", f"`{' '.join(command)}` did not return within {timeout_s:.0f} s"
        ) from None


def call(*command: str, environ: Mapping[str, str], timeout_s: float = CALL_S) -> str:
    """Run what has to succeed, and return what it printed. Raises ControlError with its own words."""
    done = run(*command, environ=environ, timeout_s=timeout_s)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise ControlError("daemon-failed", f"`{' '.join(command)}` failed: {said[0]}")
    return done.stdout
