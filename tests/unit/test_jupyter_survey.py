"""Whose a socket is, as the facts of a remote tell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jtunnel.address import TcpAddress, UnixAddress
from jtunnel.service.record import Record, record_text
from jtunnel.service.script import Report
from jtunnel.service.server import Server
from jtunnel.service.survey import Survey, read_survey, start_order

MINE = 1000
OTHER = 1001


def survey(*lines: str) -> Survey:
    """The survey of a report with these lines, for a user with uid 1000."""
    pairs = [line.partition(" ") for line in (f"uid {MINE}", "node gpu01", *lines)]
    return read_survey(Report(tuple((word, text) for word, _, text in pairs)))


@pytest.mark.parametrize(
    ("kernel", "address"),
    [
        ("0100007F:22B8", "127.0.0.1"),
        ("7F000001:22B8", "127.0.0.1"),  # a big-endian machine
        ("00000000:22B8", "0.0.0.0"),
        ("0500000A:22B8", "10.0.0.5"),
        ("00000000000000000000000000000000:22B8", "::"),
        ("00000000000000000000000001000000:22B8", "::1"),
        ("00000000000000000000000000000001:22B8", "::1"),
        ("0000000000000000FFFF00000100007F:22B8", "::ffff:127.0.0.1"),
    ],
)
def test_kernel_addresses(kernel: str, address: str) -> None:
    assert survey("listeners proc", f"listen {kernel} {MINE}").listeners == {(address, 8888): MINE}


def test_own_port_is_reached_by_loopback() -> None:
    for kernel in ("0100007F", "00000000", "0" * 32):
        found = survey("listeners proc", f"listen {kernel}:22B8 {MINE}")
        assert found.proven_address(8888) == TcpAddress("127.0.0.1", 8888)


def test_own_port_on_one_interface_is_reached_there() -> None:
    found = survey("listeners proc", f"listen 0500000A:22B8 {MINE}")
    assert found.proven_address(8888) == TcpAddress("10.0.0.5", 8888)


def test_another_users_loopback_listener_wins_over_own_wildcard() -> None:
    """A connection to 127.0.0.1 goes to the exact address, whoever owns the wildcard."""
    found = survey("listeners proc", f"listen {'0' * 32}:22B8 {MINE}", f"listen 0100007F:22B8 {OTHER}")
    assert found.owned(TcpAddress("127.0.0.1", 8888)) is False
    assert found.proven_address(8888) == TcpAddress("::1", 8888)


def test_another_users_port_is_not_ours() -> None:
    found = survey("listeners proc", f"listen 0100007F:22B8 {OTHER}")
    assert found.owned(TcpAddress("127.0.0.1", 8888)) is False
    assert found.proven_address(8888) is None


def test_without_a_table_nothing_is_known() -> None:
    assert survey().owned(TcpAddress("127.0.0.1", 8888)) is None


def test_lsof_names_own_listeners() -> None:
    found = survey("listeners lsof", "lsof *:8888", "lsof [::1]:9999", "lsof 127.0.0.1:7777")
    assert found.proven_address(8888) == TcpAddress("127.0.0.1", 8888)
    assert found.proven_address(9999) == TcpAddress("::1", 9999)
    assert found.proven_address(7777) == TcpAddress("127.0.0.1", 7777)


@pytest.mark.parametrize(
    ("facts", "ours"),
    [
        (f"srw------- {MINE} drwx------ {MINE}", True),
        (f"srw------- {MINE} drwxrwxrwt 0", True),
        (f"srw------- {OTHER} drwxrwxrwt 0", False),
        (f"srw------- {MINE} drwxrwxrwx 0", False),  # anyone could put another socket in its place
        (f"srw------- {MINE} drwx------ {OTHER}", False),
        (f"lrwxrwxrwx {MINE} drwx------ {MINE}", False),
    ],
)
def test_sockets(facts: str, ours: bool) -> None:
    found = survey(f"socket {facts} /tmp/a directory/x.sock")
    assert found.owned(UnixAddress("/tmp/a directory/x.sock")) is ours


def test_unseen_socket_is_not_ours() -> None:
    assert survey().owned(UnixAddress("/tmp/x.sock")) is False


def test_process_is_the_same_only_with_its_start_time_and_user() -> None:
    found = survey(f"process 7 100@boot {MINE}", f"process 8 100@boot {OTHER}")
    assert found.runs(7, "100@boot")
    assert not found.runs(7, "101@boot")
    assert not found.runs(8, "100@boot")
    assert not found.runs(9, "100@boot")


def test_start_times_are_in_order() -> None:
    assert start_order("90@boot") < start_order("100@boot")
    assert start_order("Sat_Nov_21_23:00:00_2026") < start_order("Sun_Nov_22_06:47:00_2026")
    assert start_order("nonsense") == 0


def test_other_nodes_records_come_in_order() -> None:
    server = Server(TcpAddress("127.0.0.1", 1), "/", "", 7, "1@b", "gpu02", None, "/", "started")
    texts = [
        record_text(Record(replace(server, host=host), None, ready=True)).encode().hex()
        for host in ("gpu03", "gpu02")
    ]
    found = survey(f"other {texts[0]}", "other 7b", "other zz", f"other {texts[1]}")
    assert [record.server.host for record in found.others] == ["gpu03", "gpu02"]


def test_a_kernels_run_has_a_name() -> None:
    assert (survey("boot 1234-5").boot, survey().boot) == ("1234-5", "")


def test_names_of_a_node() -> None:
    assert survey("name gpu01.cluster", "name 127.0.0.1", "name 10.0.0.1").names == (
        "gpu01.cluster",
        "10.0.0.1",
    )
