"""The remote log in parts: the end of it, what is added, a new server's, and that of one we did not start."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from jtunnel.service.log import LogPart, read_log
from tests.support.local_remote import RemoteHome, new_home, new_key, run

NODE = os.uname().nodename


@pytest.fixture
def home() -> Iterator[RemoteHome]:
    with new_home() as made:
        yield made


class Log:
    """The log of a profile's server, as launch.sh keeps it."""

    def __init__(self, home: RemoteHome) -> None:
        self.home = home
        self.key = new_key()
        self.path = os.path.join(home.path, f".local/share/jtunnel/{self.key}@{NODE}.log")
        os.makedirs(os.path.dirname(self.path))

    def add(self, text: str | bytes) -> None:
        with open(self.path, "ab") as file:
            file.write(text.encode() if isinstance(text, str) else text)

    def read(self, position: str | None = None, *, lines: int = 100, pid: int | None = None) -> LogPart:
        return run(read_log(self.home.connect(), self.key, lines, position, pid=pid))


@pytest.fixture
def log(home: RemoteHome) -> Log:
    return Log(home)


def test_the_end_of_it_and_what_is_added(log: Log) -> None:
    log.add("one\ntwo\nthree\nfo")
    part = log.read(lines=2)
    assert (part.path, part.text, part.anew) == (log.path, "three\nfo", False)
    part = log.read(part.position)
    assert part.text == ""
    log.add("ur\nfive")
    part = log.read(part.position)
    assert (part.text, part.anew) == ("four\n", False)
    log.add("\n")
    assert log.read(part.position).text == "five\n"
    assert log.read(lines=2).text == "four\nfive\n"
    assert log.read().text == "one\ntwo\nthree\nfour\nfive\n"


def test_no_log_yet(log: Log) -> None:
    part = log.read()
    assert (part.path, part.text) == (log.path, "")
    log.add("one\n")
    part = log.read(part.position)
    assert (part.text, part.anew) == ("one\n", False)


def test_a_new_servers_log(log: Log) -> None:
    log.add("one\ntwo\n")
    position = log.read().position
    # launch.sh moves the old one aside, which has had more by then.
    log.add("last wo")
    os.rename(log.path, f"{log.path}.1")
    log.add("first\n")
    part = log.read(position)
    assert (part.text, part.anew) == ("last wo", False)
    part = log.read(part.position)
    assert (part.text, part.anew) == ("first\n", True)
    os.rename(log.path, f"{log.path}.1")
    log.add("another\n")
    part = log.read(part.position)
    assert (part.text, part.anew) == ("another\n", True)


def test_one_that_is_cut_short_or_written_anew(log: Log) -> None:
    log.add("one\ntwo\n")
    position = log.read().position
    os.truncate(log.path, 0)
    part = log.read(position)
    assert (part.text, part.anew) == ("", True)
    log.add("one\ntwo\n")
    position = log.read(part.position).position
    # The same file, and longer than before.
    os.truncate(log.path, 0)
    log.add("three\nfour\nfive\n")
    part = log.read(position)
    assert (part.text, part.anew) == ("three\nfour\nfive\n", True)
    os.unlink(log.path)
    assert log.read(part.position) == LogPart(log.path, "", part.position, anew=False)


def test_a_long_one_comes_in_parts(log: Log) -> None:
    position = log.read().position
    lines = [f"{number:099d}\n" for number in range(7_000)]
    log.add("".join(lines))
    text = ""
    for _ in range(3):
        part = log.read(position)
        assert part.text.endswith("\n")
        text, position = text + part.text, part.position
    assert text == "".join(lines)
    assert log.read(lines=3).text == "".join(lines[-3:])
    # Of what is left out, nothing is shown in half.
    assert log.read(lines=10_000).text == "".join(lines[-2_999:])


def test_no_part_shows_the_half_of_a_token(log: Log) -> None:
    log.add("x" * 299_990 + " http://h/?tok")
    position = log.read().position
    log.add("en=0123456789abcdef0123456789abcdef rest\n")
    shown = ""
    for _ in range(3):
        part = log.read(position)
        shown, position = shown + part.text, part.position
    assert "0123" not in shown
    assert "cdef" not in shown
    assert shown.endswith("token=... rest\n")


def test_a_broken_position_is_none(log: Log) -> None:
    log.add("one\n")
    for position in ("", "x", "1.2", "1.2.$(touch x)", "-1.0.00000000"):
        assert log.read(position).text == "one\n"


@pytest.mark.parametrize("mode", ["both", "errors"])
def test_one_that_we_did_not_start(home: RemoteHome, log: Log, mode: str) -> None:
    log.add("another server's\n")
    path = home.write("my notes/nohup.out", "")
    with open(path, "w") as file:
        process = subprocess.Popen(
            ["/bin/sh", "-c", "echo started >&2; exec sleep 100"],
            stdout=file if mode == "both" else subprocess.DEVNULL,
            stderr=file,
        )
    try:
        while home.read("my notes/nohup.out") != "started\n":
            assert process.poll() is None
        part = log.read(pid=process.pid)
        assert (part.path, part.text) == (path, "started\n")
        with open(path, "a") as file:
            file.write("more\n")
        os.unlink(path)
        assert log.read(part.position, pid=process.pid).text == "more\n"
    finally:
        process.kill()
        process.wait()


def test_one_whose_log_is_not_known(log: Log) -> None:
    log.add("another server's\n")
    process = subprocess.Popen(["sleep", "100"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        part = log.read(pid=process.pid)
        assert (part.path, part.text) == ("", "")
    finally:
        process.kill()
        process.communicate()
