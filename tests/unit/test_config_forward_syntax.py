"""The forward syntax: what ssh(1) reads as `-L`, and the table form."""

from __future__ import annotations

import ipaddress
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jtunnel import paths
from jtunnel.address import Address, TcpAddress, UnixAddress
from jtunnel.config.forward_syntax import ForwardSyntaxError, name_forwards, parse_forward, parse_table
from jtunnel.config.profile import Forward
from jtunnel.status import ForwardKind

ENVIRON = {"HOME": "/home/me"}


def tcp(host: str, port: int) -> TcpAddress:
    return TcpAddress(host, port)


@pytest.mark.parametrize(
    ("text", "listen", "target"),
    [
        ("6006:localhost:6006", tcp("", 6006), tcp("localhost", 6006)),
        ("6006", tcp("", 6006), tcp("localhost", 6006)),
        ("127.0.0.1:6006:node-3.cluster:80", tcp("127.0.0.1", 6006), tcp("node-3.cluster", 80)),
        ("localhost:6006:host:80", tcp("", 6006), tcp("host", 80)),
        ("LocalHost:6006:host:80", tcp("", 6006), tcp("host", 80)),
        ("*:6006:host:80", tcp("0.0.0.0", 6006), tcp("host", 80)),
        ("[::1]:1:[::1]:2", tcp("::1", 1), tcp("::1", 2)),
        ("[0:0::1]:1:[fe80::1%eth0]:2", tcp("::1", 1), tcp("fe80::1%eth0", 2)),
        ("/local.sock:/remote.sock", UnixAddress("/local.sock"), UnixAddress("/remote.sock")),
        ("~/.run/a b.sock:/r.sock", UnixAddress("/home/me/.run/a b.sock"), UnixAddress("/r.sock")),
        ("6006:/remote.sock", tcp("", 6006), UnixAddress("/remote.sock")),
        ("[::1]:6006:/remote.sock", tcp("::1", 6006), UnixAddress("/remote.sock")),
        ("/local.sock:host:22", UnixAddress("/local.sock"), tcp("host", 22)),
        ("1:2:3", tcp("", 1), tcp("2", 3)),
        ("65535:bücher.example:1", tcp("", 65535), tcp("bücher.example", 1)),
    ],
)
def test_reads_what_ssh_reads(text: str, listen: Address, target: Address) -> None:
    assert parse_forward(text, ENVIRON) == Forward("", "local", listen, target)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", '"" is no port (1 to 65535)'),
        ("abc", '"abc" is no port (1 to 65535)'),
        ("0:host:1", '"0" is no port (1 to 65535)'),
        ("65536:host:1", '"65536" is no port (1 to 65535)'),
        ("999999999:host:1", '"999999999" is no port (1 to 65535)'),
        ("1:host:", '"" is no port (1 to 65535)'),
        ("\uff11:host:1", '"\uff11" is no port (1 to 65535)'),
        ("1:host:http", '"http" is no port (1 to 65535)'),
        ("6006:localhost", "write PORT:HOST:PORT"),
        ("1::2", '"" is no host name'),
        ("1:a b:2", '"a b" is no host name'),
        ("1:me@host:2", '"me@host" is no host name'),
        (":1:host:2", 'it starts with ":"; write "*" for all interfaces'),
        ("1:2:3:4:5", '"1:2:3" is no listening side'),
        ("::1:1:host:2", '"::1:1" is no listening side'),
        ("[::1:1:host:2", '"[::1:1" is no listening side'),
        ("[]:1:host:2", '"[]" is no IPv6 address'),
        ("[localhost]:1:host:2", '"[localhost]" is no IPv6 address'),
        ("[::1]1:host:2", 'there is no colon after "[::1]"'),
        ("/:host:2", '"/" is no path of a socket'),
        ("/a\n:host:2", '"/a?" is no path of a socket'),
        ("1:~/far.sock", "a path on the remote side has to start with /: ~ is this machine's home"),
        ("1:~other/far.sock", "write PORT:HOST:PORT"),
        ("1:" + "x!" * 40 + ":2", f'"{"x!" * 19}x…" is no host name'),
        (
            "~/" + "a" * paths.MAX_SOCKET_PATH + ":host:1",
            f"a socket's path has room for {paths.MAX_SOCKET_PATH} bytes",
        ),
    ],
)
def test_says_why_it_cannot_read(text: str, reason: str) -> None:
    with pytest.raises(ForwardSyntaxError) as caught:
        parse_forward(text, ENVIRON)
    assert caught.value.reason == reason
    assert caught.value.key is None


@pytest.mark.parametrize(
    ("kind", "listen", "target", "expected"),
    [
        ("local", "1", "[::1]:2", Forward("", "local", tcp("", 1), tcp("::1", 2))),
        ("local", "~/a:b", "/c:d", Forward("", "local", UnixAddress("/home/me/a:b"), UnixAddress("/c:d"))),
        ("remote", "0", "localhost:2", Forward("", "remote", tcp("", 0), tcp("localhost", 2))),
        ("remote", "*:9", "~/here", Forward("", "remote", tcp("0.0.0.0", 9), UnixAddress("/home/me/here"))),
        ("remote", "/far", "a:2", Forward("", "remote", UnixAddress("/far"), tcp("a", 2))),
        ("dynamic", "1080", None, Forward("", "dynamic", tcp("", 1080), None)),
        ("dynamic", "[::1]:1080", None, Forward("", "dynamic", tcp("::1", 1080), None)),
    ],
)
def test_reads_tables(kind: ForwardKind, listen: str, target: str | None, expected: Forward) -> None:
    assert parse_table(kind, listen, target, None, ENVIRON) == expected


@pytest.mark.parametrize(
    ("kind", "listen", "target", "key", "reason"),
    [
        ("local", "0", "a:1", "listen", '"0" is no port (1 to 65535)'),
        ("dynamic", "0", None, "listen", '"0" is no port (1 to 65535)'),
        ("local", "1:2:3", "a:1", "listen", '"1:2:3" is no listening side'),
        ("local", "1", None, "target", "a local forward needs a target"),
        ("remote", "1", None, "target", "a remote forward needs a target"),
        ("local", "1", "9000", "target", 'the target "9000" is no HOST:PORT and no socket\'s path'),
        ("local", "1", "a:70000", "target", '"70000" is no port (1 to 65535)'),
        (
            "local",
            "1",
            "~/far",
            "target",
            "a path on the remote side has to start with /: ~ is this machine's home",
        ),
        (
            "remote",
            "~/far",
            "a:1",
            "listen",
            "a path on the remote side has to start with /: ~ is this machine's home",
        ),
        ("dynamic", "1", "a:1", "target", "a dynamic forward has no target: each connection names its own"),
    ],
)
def test_names_the_key_at_fault(
    kind: ForwardKind, listen: str, target: str | None, key: str, reason: str
) -> None:
    with pytest.raises(ForwardSyntaxError) as caught:
        parse_table(kind, listen, target, None, ENVIRON)
    assert (caught.value.key, caught.value.reason) == (key, reason)


def test_gives_short_names_of_their_own() -> None:
    forwards = [
        parse_forward("6006:localhost:6006", ENVIRON),
        parse_forward("[::1]:6006:localhost:6006", ENVIRON),
        parse_forward("~/.run/pg.sock:/var/run/pg.sock", ENVIRON),
        parse_table("dynamic", "1080", None, "7007", ENVIRON),
        parse_forward("7007", ENVIRON),
        parse_forward("/run/jupyter:/r", ENVIRON),
    ]
    names = [forward.name for forward in name_forwards(forwards, taken=["jupyter"])]
    assert names == ["6006", "6006-2", "pg.sock", "7007", "7007-2", "jupyter-2"]


ports = st.integers(1, 65535)
labels = st.text(string.ascii_lowercase + string.digits + "-_", min_size=1).filter(lambda s: s[0] != "-")
names = st.lists(labels, min_size=1, max_size=3).map(".".join).filter(lambda host: host != "localhost")
hosts = names | st.ip_addresses().map(str)
sockets = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters=":/"), min_size=1, max_size=20
).map(lambda name: UnixAddress(f"/run/{name}"))
targets = st.builds(TcpAddress, hosts | st.just("localhost"), ports) | sockets
listens = st.builds(TcpAddress, hosts | st.just(""), ports) | sockets


def written(address: Address) -> str:
    """An address as the forward syntax writes it."""
    if isinstance(address, UnixAddress):
        return address.path
    return str(address) if address.host else str(address.port)


@settings(deadline=None)
@given(listens, targets)
def test_both_forms_come_back_as_they_were_written(listen: Address, target: Address) -> None:
    expected = Forward("", "local", listen, target)
    assert parse_forward(f"{written(listen)}:{written(target)}", ENVIRON) == expected
    assert parse_table("local", written(listen), written(target), None, ENVIRON) == expected


@settings(deadline=None)
@given(st.text(st.sampled_from("0123456789:[]/~*ah.%\\ \n\0")) | st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        forward = parse_forward(text, ENVIRON)
    except ForwardSyntaxError as error:
        reason = error.reason
    else:
        reason = "fine"
        assert_usable(forward.listen)
        assert_usable(forward.target)
    assert reason.isprintable()


def assert_usable(address: Address | None) -> None:
    assert address is not None
    if isinstance(address, UnixAddress):
        assert address.path.startswith("/")
        return
    assert 1 <= address.port <= 65535
    if ":" in address.host:
        ipaddress.IPv6Address(address.host)
