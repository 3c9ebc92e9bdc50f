"""Host keys: what is trusted, what a strange key means, how a new one is written. ssh-keygen is the judge."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import asyncssh
import pytest

from jtunnel.ssh import host_keys

OLD = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
NEW = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
OTHER_TYPE = asyncssh.generate_private_key("ecdsa-sha2-nistp256").convert_to_public()


def line(name: str, key: asyncssh.SSHKey) -> str:
    return f"{name} {key.export_public_key('openssh').decode()}"


def test_a_key_that_differs_from_the_known_ones_is_changed_of_whatever_type(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(line("gpu-box", OLD))
    known = host_keys.load_known_hosts([str(path)])
    assert host_keys.judge(known, "gpu-box", "", 22, NEW) == "changed"
    assert host_keys.judge(known, "gpu-box", "", 22, OTHER_TYPE) == "changed"
    assert host_keys.judge(known, "elsewhere", "", 22, NEW) == "unknown"


def test_the_types_of_known_keys_are_asked_for_first_and_no_type_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(line("gpu-box", OTHER_TYPE))
    known = host_keys.load_known_hosts([str(path)])
    ordered = host_keys.order_algorithms(known, "gpu-box", 22)
    assert ordered[0] == "ecdsa-sha2-nistp256"
    assert sorted(ordered) == sorted(host_keys.order_algorithms(known, "elsewhere", 22))
    assert "ssh-ed25519" in ordered


def test_a_revoked_key_is_revoked(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text("@revoked * " + OLD.export_public_key("openssh").decode())
    known = host_keys.load_known_hosts([str(path)])
    assert host_keys.judge(known, "gpu-box", "", 22, OLD) == "revoked"


def test_bad_lines_and_missing_files_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text("this is no entry\n\n# a comment\n" + line("gpu-box", OLD) + "gpu-box ssh-ed25519 !!!\n")
    known = host_keys.load_known_hosts([str(tmp_path / "none"), str(path)])
    assert host_keys.judge(known, "gpu-box", "", 22, NEW) == "changed"


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize(("host", "port", "name"), [("gpu-box", 22, "gpu-box"), ("h", 2222, "[h]:2222")])
def test_what_is_remembered_is_found_again_by_us_and_by_ssh_keygen(
    tmp_path: Path, hashed: bool, host: str, port: int, name: str
) -> None:
    path = tmp_path / "new" / "known_hosts"
    host_keys.remember(str(path), host, port, OLD, hashed=hashed)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert (name in path.read_text()) != hashed
    trusted = host_keys.load_known_hosts([str(path)]).match(host, "", port)[0]
    assert OLD in list(trusted)
    found = subprocess.run(
        ["ssh-keygen", "-F", name, "-f", str(path)], capture_output=True, text=True, check=True
    )
    assert OLD.export_public_key("openssh").decode().split()[1] in found.stdout


def test_a_file_without_a_last_newline_is_not_spoilt_and_hashing_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    host_keys.remember(str(path), "first", 22, OLD, hashed=True)
    path.write_text(path.read_text().rstrip("\n"))
    host_keys.remember(str(path), "second", 22, NEW, hashed=False)
    lines = path.read_text().splitlines()
    assert len(lines) == 2
    assert all(entry.startswith("|1|") for entry in lines)


def test_fingerprint_and_type_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    for key in (OLD, OTHER_TYPE):
        path = tmp_path / "key.pub"
        path.write_bytes(key.export_public_key("openssh"))
        shown = subprocess.run(["ssh-keygen", "-lf", str(path)], capture_output=True, text=True, check=True)
        assert host_keys.fingerprint(key) in shown.stdout
        assert f"({host_keys.type_name(key)})" in shown.stdout
