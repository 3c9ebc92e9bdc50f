"""The config file replaced: whole or not at all, with what it was kept, and nothing but its text changed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jtunnel.config.editing.rewrite import backup_of, edit_config_file, read_original, replace
from jtunnel.config.profile import Config
from jtunnel.errors import ConfigError
from tests.support.thin_client import Client

ENVIRON = {"HOME": "/home/me"}
OLD = "[profiles.gpu]\nhost = 'a'\n"
NEW = "[profiles.gpu]\nhost = 'b'\n"


def to(new: str) -> Callable[[str, Config], str]:
    """An edit that makes it this text."""
    return lambda text, config: new


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "config.toml"
    file.write_text(OLD)
    return str(file)


def content(path: str) -> str:
    with open(path, newline="", encoding="utf-8") as file:
        return file.read()


def listing(path: str) -> list[str]:
    return sorted(os.listdir(os.path.dirname(path)))


def test_the_old_text_is_kept_beside(path: str) -> None:
    rewritten = edit_config_file(path, ENVIRON, to(NEW))
    assert (content(path), content(backup_of(path))) == (NEW, OLD)
    assert rewritten.is_new
    assert rewritten.before is not None
    assert (rewritten.before.profiles["gpu"].host, rewritten.after.profiles["gpu"].host) == ("a", "b")
    assert listing(path) == ["config.toml", "config.toml~"]


def test_the_same_text_is_not_written(path: str) -> None:
    before = os.stat(path)
    assert not edit_config_file(path, ENVIRON, to(OLD)).is_new
    after = os.stat(path)
    # It was read, which another date tells of.
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert listing(path) == ["config.toml"]


def test_mode_and_attributes_stay_and_the_time_does_not(path: str) -> None:
    os.chmod(path, 0o640)
    os.utime(path, (1, 1))
    edit_config_file(path, ENVIRON, to(NEW))
    for file in (path, backup_of(path)):
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o640
    assert os.stat(path).st_mtime > 1


@pytest.mark.root
def test_the_owner_stays(path: str) -> None:
    os.chown(path, 65534, 65534)
    edit_config_file(path, ENVIRON, to(NEW))
    assert {(os.stat(file).st_uid, os.stat(file).st_gid) for file in (path, backup_of(path))} == {
        (65534, 65534)
    }


def test_a_link_stays_a_link_and_its_backup_is_beside_it(tmp_path: Path, path: str) -> None:
    dotfiles, link = tmp_path / "dotfiles", str(tmp_path / "link.toml")
    dotfiles.mkdir()
    os.rename(path, dotfiles / "jtunnel.toml")
    os.symlink("dotfiles/jtunnel.toml", path)
    os.symlink("config.toml", link)
    edit_config_file(link, ENVIRON, to(NEW))
    assert os.readlink(link) == "config.toml"
    assert os.readlink(path) == "dotfiles/jtunnel.toml"
    assert content(str(dotfiles / "jtunnel.toml")) == NEW
    assert os.listdir(dotfiles) == ["jtunnel.toml"]
    assert content(f"{link}~") == OLD


def test_byte_order_mark_and_line_ends_stay(path: str) -> None:
    with open(path, "wb") as file:
        file.write(b"\xef\xbb\xbf" + OLD.replace("\n", "\r\n").encode())
    edit_config_file(path, ENVIRON, lambda text, config: text.replace("'a'", "'ü'"))
    with open(path, "rb") as file:
        assert file.read() == b"\xef\xbb\xbf[profiles.gpu]\r\nhost = '\xc3\xbc'\r\n"


def refused(path: str, change: Callable[[str, Config], str]) -> str:
    """What is said of an edit that is refused; all files are as they were."""
    before = listing(path)
    with pytest.raises(ConfigError) as raised:
        edit_config_file(path, ENVIRON, change)
    assert listing(path) == before
    return str(raised.value)


def test_what_would_not_load_is_not_written(path: str) -> None:
    said = refused(path, to("[profiles.gpu]\nhots = 'b'\n"))
    assert said.startswith(
        "nothing was written, since it would be wrong: config.toml: profiles.gpu.hots: unknown"
    )
    assert content(path) == OLD


def test_what_is_broken_is_not_edited(path: str) -> None:
    with open(path, "w") as file:
        file.write("[profiles.gpu\n")
    said = refused(path, to(NEW))
    assert said.startswith("config.toml: line 1")
    assert content(path) == "[profiles.gpu\n"


def test_a_file_that_changed_meanwhile_is_left_alone(path: str) -> None:
    def change(text: str, config: Config) -> str:
        with open(path, "a") as file:
            file.write("# mine\n")
        return NEW

    assert "was changed by another program meanwhile; run this again" in refused(path, change)
    assert content(path) == OLD + "# mine\n"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "config.toml")
    assert refused(path, to(NEW)).startswith(f"there is no config file {path}; create it")


def test_a_new_file_is_private_and_has_no_backup(tmp_path: Path) -> None:
    path = str(tmp_path / "config.toml")
    replace(read_original(path), NEW.encode(), ENVIRON)
    assert (content(path), listing(path)) == (NEW, ["config.toml"])
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_file_is_not_read(tmp_path: Path, kind: str) -> None:
    path = str(tmp_path / "config.toml")
    os.mkdir(path) if kind == "directory" else os.mkfifo(path)
    assert "is not a regular file" in refused(path, to(NEW))


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as client:
        yield client


#: Runs the command as somebody whom modes stop, after what a test has to do as itself.
AS_NOBODY = """
import encodings.utf_8_sig, os, resource, sys
import jtunnel.commands.profiles
from jtunnel.client.cli import main
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
BEFORE
sys.exit(main())
"""


def run_as_nobody(client: Client, *words: str, before: str) -> subprocess.CompletedProcess[str]:
    """Run the command without root's rights; `before` is Python that is run first."""
    if os.geteuid() == 0:
        for directory, _, files in os.walk(client.path):
            for each in (directory, *(os.path.join(directory, name) for name in files)):
                os.chown(each, 65534, 65534)
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY.replace("BEFORE", before), *words],
        env=client.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        start_new_session=True,
    )


def check_that_it_fails(client: Client, said: str, before: str = "") -> None:
    ended = run_as_nobody(client, "enable", "gpu", before=before)
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    assert ended.stderr.splitlines() == [f"jtunnel: {said}"]
    assert content(client.config_file) == OLD
    assert not [
        name for name in os.listdir(os.path.dirname(client.config_file)) if name.startswith(".config")
    ]


def write(client: Client) -> None:
    with open(client.config_file, "w") as file:
        file.write(OLD)


def test_a_read_only_file_is_left_alone(client: Client) -> None:
    write(client)
    os.chmod(client.config_file, 0o444)
    path = client.config_file
    check_that_it_fails(client, f"{path} is read-only; allow it with: chmod u+w {path}")


def test_a_directory_that_cannot_be_written_is_named(client: Client) -> None:
    write(client)
    os.chmod(os.path.dirname(client.config_file), 0o555)
    path, directory = client.config_file, os.path.dirname(client.config_file)
    check_that_it_fails(client, f"cannot write {path}: permission denied; see who may write in {directory}")
    os.chmod(os.path.dirname(client.config_file), 0o700)


def test_a_full_disk_costs_nothing(client: Client) -> None:
    write(client)
    # Files may have no more bytes than this one.
    before = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(OLD)},) * 2)"
    check_that_it_fails(
        client, f"cannot write {client.config_file}: file too large; it is as it was", before=before
    )
