"""Which of several running servers is chosen."""

from __future__ import annotations

from dataclasses import replace

from jtunnel.address import TcpAddress
from jtunnel.config.profile import JupyterOptions
from jtunnel.jupyter.find import completed, order_files, usable_record
from jtunnel.jupyter.record import Record, RuntimeFile
from jtunnel.jupyter.server import Server
from jtunnel.jupyter.survey import Survey


def file(pid: int, root_dir: str, port: int = 8888) -> RuntimeFile:
    """The runtime file of a server; a greater pid started later."""
    return RuntimeFile(
        pid=pid,
        started=f"{pid}@boot",
        classic=False,
        base_url="/",
        port=port,
        sock="",
        token="t",
        password=False,
        secure=False,
        root_dir=root_dir,
        version="2.21.1",
    )


SERVER = Server(
    target=TcpAddress("127.0.0.1", 9000),
    base_url="/",
    token="",
    pid=50,
    started="50@boot",
    host="gpu01",
    version=None,
    root_dir="/home/me",
    origin="started",
)
SURVEY = Survey(
    node="gpu01",
    uid=1000,
    log="",
    processes={50: ("50@boot", 1000)},
    listeners={},
    sockets={},
    runtime_files=(
        file(9, "/data"),
        file(30, "/home/me/work", 7777),
        file(20, "/home/me/"),
        file(40, "/data/x"),
    ),
    record=Record(SERVER, "jupyter lab", ready=True),
    token="own",
    roots=frozenset({"/home/me/work", "/lustre/work"}),
    homes=frozenset({"/home/me"}),
)


def chosen(options: JupyterOptions) -> list[int]:
    return [found.pid for found in order_files(SURVEY, options)]


def test_home_first_then_the_newest() -> None:
    assert chosen(JupyterOptions()) == [20, 40, 30, 9]


def test_only_the_wanted_directory() -> None:
    assert chosen(JupyterOptions(directory="~/work")) == [30]


def test_only_the_wanted_port() -> None:
    assert chosen(JupyterOptions(remote_port=7777, directory="/other")) == [30]
    assert chosen(JupyterOptions(remote_port=1)) == []


def test_the_recorded_server_counts_while_it_lives() -> None:
    assert usable_record(SURVEY, JupyterOptions()) is SURVEY.record
    assert usable_record(SURVEY, JupyterOptions(remote_port=9000)) is SURVEY.record
    assert usable_record(SURVEY, JupyterOptions(remote_port=9001)) is None
    assert usable_record(replace(SURVEY, processes={50: ("51@boot", 1000)}), JupyterOptions()) is None
    assert usable_record(replace(SURVEY, processes={}), JupyterOptions()) is None
    assert usable_record(replace(SURVEY, record=None), JupyterOptions()) is None


def test_a_record_of_another_node_does_not_count() -> None:
    assert usable_record(replace(SURVEY, node="gpu02"), JupyterOptions()) is None


def test_an_adopted_server_counts_only_with_its_runtime_file() -> None:
    record = Record(replace(SERVER, origin="adopted"), None, ready=True)
    survey = replace(SURVEY, record=record)
    assert usable_record(survey, JupyterOptions()) is None
    assert usable_record(replace(survey, runtime_files=(file(50, "/x", 9000),)), JupyterOptions()) is record


def test_a_server_is_completed_by_its_runtime_file() -> None:
    own = replace(file(60, "/real", 9000), base_url="/hub/", token="from file")
    server = completed(SERVER, replace(SURVEY, runtime_files=(own,)))
    assert (server.pid, server.base_url, server.token, server.root_dir) == (60, "/hub/", "from file", "/real")


def test_without_a_runtime_file_our_own_token_counts() -> None:
    assert completed(SERVER, SURVEY).token == "own"
    assert completed(replace(SERVER, origin="adopted"), SURVEY).token == ""
