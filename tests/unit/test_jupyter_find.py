"""Which of several running servers is chosen, and which is left to another node."""

from __future__ import annotations

from dataclasses import replace

from jtunnel.address import TcpAddress
from jtunnel.config.profile import JupyterOptions
from jtunnel.jupyter.choice import choose
from jtunnel.jupyter.introduction import completed
from jtunnel.jupyter.seen import see
from jtunnel.service.record import Record, RuntimeFile
from jtunnel.service.search import server_elsewhere, usable_record
from jtunnel.service.server import ElsewhereError, Server
from jtunnel.service.survey import Survey


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
    listeners={("127.0.0.1", 8888): 1000, ("127.0.0.1", 7777): 1000},
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
    return [found.pid for found in choose(see(SURVEY, "torch"), SURVEY, options, "torch").candidates]


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


ELSEWHERE = replace(SERVER, host="gpu07", pid=77, started="77@other", names=("gpu07.cluster", "10.0.0.7"))
#: The record of this node is of a process that has ended; another node's is newer.
LEFT = replace(SURVEY, processes={}, others=(Record(ELSEWHERE, "jupyter lab", ready=True),))


def test_the_server_that_was_recorded_last_may_be_elsewhere() -> None:
    assert server_elsewhere(LEFT, JupyterOptions(), None) is ELSEWHERE
    assert server_elsewhere(SURVEY, JupyterOptions(), None) is None


def test_a_record_of_another_node_counts_only_on_the_wanted_port() -> None:
    assert server_elsewhere(LEFT, JupyterOptions(remote_port=9000), None) is ELSEWHERE
    assert server_elsewhere(LEFT, JupyterOptions(remote_port=9001), None) is None


def test_the_server_that_was_used_counts_before_any_record() -> None:
    assert server_elsewhere(SURVEY, JupyterOptions(), ELSEWHERE) is ELSEWHERE
    assert server_elsewhere(LEFT, JupyterOptions(), SERVER) is None


def test_a_node_that_was_renamed_is_the_same() -> None:
    """Its boot is part of a process's start time."""
    here = replace(LEFT, processes={77: ("77@other", 1000)})
    assert server_elsewhere(here, JupyterOptions(), None) is None
    assert server_elsewhere(here, JupyterOptions(), ELSEWHERE) is None
    assert server_elsewhere(replace(here, uid=7), JupyterOptions(), None) is ELSEWHERE


def test_a_container_that_was_started_anew_is_the_same() -> None:
    """It has another name; the kernel below it runs on, and the process does not."""
    here = replace(LEFT, boot="other")
    assert server_elsewhere(here, JupyterOptions(), None) is None
    assert server_elsewhere(here, JupyterOptions(), ELSEWHERE) is None
    for boot, started in (("-", "77@-"), ("", "Sun_Nov_22"), ("other", "77@another")):
        unknown = replace(ELSEWHERE, started=started)
        assert server_elsewhere(replace(LEFT, boot=boot), JupyterOptions(), unknown) is unknown


def test_a_node_is_the_same_with_and_without_its_domain() -> None:
    for node in ("gpu07", "gpu07.cluster"):
        assert not replace(LEFT, node=node).is_elsewhere(ELSEWHERE)
        assert not replace(LEFT, node="gpu07").is_elsewhere(replace(ELSEWHERE, host=node))
    for node in ("gpu0", "gpu071", "gpu07x.cluster", "10.0.0.7"):
        assert replace(LEFT, node=node).is_elsewhere(ELSEWHERE)


def test_another_node_is_named_with_what_to_do() -> None:
    error = ElsewhereError(ELSEWHERE, "gpu01", "do this", key="torch", where="box")
    assert (error.kind, error.node, error.names) == ("server-gone", "gpu07", ("gpu07.cluster", "10.0.0.7"))
    assert error.message == "the Jupyter server of torch lives on gpu07, and box led to gpu01"
    assert ElsewhereError(ELSEWHERE, "gpu01", "").message.endswith("and this connection led to gpu01")


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
