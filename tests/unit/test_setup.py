"""The decisions of `jtunnel setup`: wishes, ports, names of settings, what is shown, what is undone."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jtunnel.config.profile import JupyterOptions
from jtunnel.errors import ConfigError, ServerError
from jtunnel.jupyter.setup.certificate import VALID_DAYS, end_of, make_certificate, remark
from jtunnel.jupyter.setup.config_text import config_text, masked
from jtunnel.jupyter.setup.facts import CERTIFICATE_NAME, KEY_NAME, Entry, Facts, File, Ports, digest
from jtunnel.jupyter.setup.journal import read_journal
from jtunnel.jupyter.setup.plan import SetupPlan, make_setup_plan
from jtunnel.jupyter.setup.ports import asked_port, choose_port
from jtunnel.jupyter.setup.programs import look, write
from jtunnel.jupyter.setup.wishes import Wishes, read_wishes
from jtunnel.service.ground import Ground

HOME = "/home/me"
DIRECTORY = f"{HOME}/.jupyter"
SERVER, CLASSIC = "jupyter_server_config", "jupyter_notebook_config"
SERVER_FILE = f"{DIRECTORY}/{SERVER}.json"
HASH = "argon2:$argon2id$new"
NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
JS1, JS2, NOTEBOOK6 = {"jupyter_server": "1.24.0"}, {"jupyter_server": "2.21.1"}, {"notebook": "6.5.7"}


def ground(versions: dict[str, str], uid: int = 1000) -> Ground:
    return Ground(
        node="ln01",
        uid=uid,
        log="/log",
        program="/opt/bin/jupyter",
        interpreter="/opt/bin/python",
        versions=versions,
        environment_name="x.env",
        root_dir=f"{HOME}/work",
        socket_dir=None,
        sockets_refused=False,
        ports=frozenset(),
    )


def facts_of(versions: dict[str, str], config: dict[str, Any] | None = None, **changes: Any) -> Facts:
    """A host whose jupyter_server_config.json, if it has one, says `config`; `py` is what a .py file sets."""
    text = None if config is None else json.dumps(config, indent=2) + "\n"
    py = changes.pop("py", {})
    after = changes.pop("after", ())
    facts = Facts(
        ground=ground(versions),
        home=HOME,
        directory=DIRECTORY,
        has_directory=True,
        entries=(
            Entry(f"{DIRECTORY}/{SERVER}.py", SERVER, py),
            Entry(SERVER_FILE, SERVER, config or {}),
            *after,
            Entry(f"{DIRECTORY}/{CLASSIC}.json", CLASSIC, {}),
        ),
        files={
            SERVER: File(SERVER_FILE, text, 0o644 if text else None),
            CLASSIC: File(f"{DIRECTORY}/{CLASSIC}.json", None),
        },
        ours={name: File(f"{DIRECTORY}/{name}", None) for name in (CERTIFICATE_NAME, KEY_NAME)},
        our_digests={CERTIFICATE_NAME: None, KEY_NAME: None},
        certificates={},
        keys={},
        journal=File(f"{HOME}/.local/share/jtunnel/setup.json", None),
        ports=Ports({}),
        hash=HASH,
    )
    return replace(facts, **changes)


def plan_of(facts: Facts, wishes: Wishes | None = None, options: JupyterOptions | None = None) -> SetupPlan:
    return make_setup_plan(facts, options or JupyterOptions(), wishes or Wishes(), ("ln01", "gpu-box"), NOW)


def written(plan: SetupPlan, path: str = SERVER_FILE) -> dict[str, Any]:
    """What a plan writes into a JSON file."""
    text = next(change.text for change in plan.changes if change.path == path)
    assert text is not None
    members: dict[str, Any] = json.loads(text)
    return members


def after(facts: Facts, plan: SetupPlan) -> Facts:
    """The host once a plan was carried out."""
    texts = {change.path: change.text for change in plan.changes}
    config = texts.get(SERVER_FILE, facts.files[SERVER].text)
    journal = facts.journal.path
    entries = tuple(
        replace(entry, values=json.loads(config or "{}")) if entry.file == SERVER_FILE else entry
        for entry in facts.entries
    )
    return replace(
        facts,
        entries=entries,
        files={**facts.files, SERVER: File(SERVER_FILE, config, 0o600 if config else None)},
        our_digests={
            name: digest(text) if (text := texts.get(f"{DIRECTORY}/{name}")) else known
            for name, known in facts.our_digests.items()
        },
        certificates={path: File(path, text) for path, text in texts.items() if path.endswith("ficate.pem")}
        or facts.certificates,
        keys={f"{DIRECTORY}/{KEY_NAME}": 0o600},
        journal=File(journal, texts.get(journal, facts.journal.text), 0o600),
    )


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"port": 0}, "no port"),
        ({"port": True}, "no port"),
        ({"port": "8888"}, "no port"),
        ({"colour": 1}, "knows no colour"),
        ({"directory": ""}, "directory"),
        ({"password": "s3cret"}, "keep, set and none"),
        ({"tls": "yes"}, "tls"),
        ({"public": 1}, "true or false"),
        ({"public": True, "password": "none"}, "needs a password"),
        ({"public": True, "tls": False}, "needs TLS"),
        ({"renew": True, "tls": False}, "--renew"),
    ],
)
def test_wishes_that_are_refused(members: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        read_wishes(members)
    assert caught.value.kind == "usage"
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("wish", "current", "preferred", "port"),
    [
        (9999, 7777, 6666, 9999),
        (None, 7777, 6666, 7777),
        (None, None, 6666, 6666),
        (None, None, None, 8889),
        ("auto", 7777, 6666, 8889),
    ],
)
def test_the_port(wish: Any, current: int | None, preferred: int | None, port: int) -> None:
    facts = facts_of(JS2, ports=Ports({8888: 4711}))
    assert choose_port(facts, asked_port(wish, current, preferred)) == (port, [])


def test_ports_that_cannot_be_had() -> None:
    facts = facts_of(JS2, ports=Ports({9999: 4711, 7777: 1000}, reserved_below=1024, passing=(32768, 60999)))
    with pytest.raises(ServerError, match="port 1008 on ln01 is for root alone") as caught:
        choose_port(facts, 1008)
    assert "--port 11008" in caught.value.advice
    with pytest.raises(ServerError, match="taken by a process of uid 4711") as caught:
        choose_port(facts, 9999)
    assert "--port 10000" in caught.value.advice
    assert "taken by a process of yours" in choose_port(facts, 7777)[1][0]
    assert "hands out" in choose_port(facts, 40000)[1][0]
    as_root = replace(facts, ground=ground(JS2, uid=0))
    assert choose_port(as_root, 1008) == (1008, [])


def test_names_by_version() -> None:
    assert written(plan_of(facts_of(JS2)))["IdentityProvider"] == {"hashed_password": HASH}
    assert written(plan_of(facts_of(JS1)))["ServerApp"]["password"] == HASH
    plan = plan_of(facts_of({**JS2, **NOTEBOOK6}), Wishes(directory="~/work"))
    assert written(plan)["ServerApp"]["root_dir"] == f"{HOME}/work"
    classic = written(plan, f"{DIRECTORY}/{CLASSIC}.json")
    assert classic == {
        "NotebookApp": {
            "ip": "127.0.0.1",
            "port": 8888,
            "port_retries": 0,
            "open_browser": False,
            "password": HASH,
            "notebook_dir": f"{HOME}/work",
        }
    }
    with pytest.raises(ServerError, match="neither jupyter_server nor notebook"):
        plan_of(facts_of({"notebook": "7.2"}))


@pytest.mark.parametrize(
    ("place", "key"),
    [("PasswordIdentityProvider", "hashed_password"), ("ServerApp", "password")],
)
def test_a_hash_stands_where_it_counts(place: str, key: str) -> None:
    """Both of these beat the place of `jupyter server password`, in a .py file, too."""
    facts = facts_of(JS2, py={place: {key: "sha1:a:b"}})
    kept = plan_of(facts)
    assert "IdentityProvider" not in written(kept)
    assert not kept.needs_password
    changed = written(plan_of(facts, Wishes(password="set")))
    assert changed["PasswordIdentityProvider"] == {"hashed_password": HASH}


def test_what_is_set_already_is_kept() -> None:
    config = {
        "version": 1,
        "LabApp": {"default_url": "/tree"},
        "ServerApp": {"ip": "localhost", "port": 7777, "root_dir": "/data", "terminals_enabled": False},
        "IdentityProvider": {"hashed_password": "argon2:old"},
    }
    made = written(plan_of(facts_of(JS2, config), options=JupyterOptions(remote_port=1, directory="~/w")))
    assert list(made) == list(config)
    assert made["ServerApp"] == {**config["ServerApp"], "port_retries": 0, "open_browser": False}  # type: ignore[dict-item]
    assert made["IdentityProvider"] == config["IdentityProvider"]


def test_a_second_setup_changes_nothing() -> None:
    facts = facts_of(JS2, {"ServerApp": {"ip": "*"}})
    once = after(facts, plan_of(facts))
    assert plan_of(once).changes == ()
    # The mode of a file that holds a hash is part of it.
    open_file = replace(once, files={**once.files, SERVER: replace(once.files[SERVER], mode=0o644)})
    assert plan_of(open_file).diff == ("~ ~/.jupyter/jupyter_server_config.json: mode 0644 becomes 0600",)


def test_public_has_a_password_and_tls() -> None:
    made = written(plan_of(facts_of(JS2), Wishes(public=True)))
    assert made["ServerApp"]["ip"] == "*"
    assert made["ServerApp"]["certfile"] == f"{DIRECTORY}/{CERTIFICATE_NAME}"
    # Not asked for any more, it is taken back.
    local = written(plan_of(facts_of(JS2, made)))
    assert local["ServerApp"]["ip"] == "127.0.0.1"


def test_switching_off() -> None:
    config = {
        "ServerApp": {"port": 8888, "certfile": "/c", "keyfile": "/k"},
        "IdentityProvider": {"hashed_password": "x"},
    }
    off = Wishes(password="none", tls=False)
    made = written(plan_of(facts_of(JS2, config), off))
    assert "IdentityProvider" not in made
    assert "certfile" not in made["ServerApp"]
    # What a .py file says has to be outvoted.
    py = {"ServerApp": {"certfile": "/c"}, "PasswordIdentityProvider": {"hashed_password": "x"}}
    made = written(plan_of(facts_of(JS2, config, py=py), off))
    assert made["ServerApp"]["certfile"] == ""
    assert made["PasswordIdentityProvider"]["hashed_password"] == ""


def test_a_token_that_is_switched_off_wants_a_password() -> None:
    facts = facts_of(JS2, py={"ServerApp": {"token": ""}})
    with pytest.raises(ServerError, match=r"~/\.jupyter/jupyter_server_config\.py on ln01 sets token = ''"):
        plan_of(facts, Wishes(password="none"))
    assert plan_of(facts).changes


def test_a_stronger_file_is_named() -> None:
    strong = Entry("/env/etc/jupyter/x.json", SERVER, {"ServerApp": {"port": 1234}})
    with pytest.raises(ServerError, match=r"/env/etc/jupyter/x\.json on ln01 sets ServerApp\.port"):
        plan_of(facts_of(JS2, after=(strong,)), Wishes(port=9999))
    assert plan_of(facts_of(JS2, after=(strong,)), Wishes(port=1234)).changes


def test_a_weaker_file_is_named() -> None:
    plan = plan_of(facts_of(JS2, py={"ServerApp": {"ip": "*", "port": 8888}}))
    assert plan.notes == (
        "~/.jupyter/jupyter_server_config.py sets ip, too; jupyter_server_config.json counts before it",
    )


def test_a_certificate_of_somebody_else_is_kept_until_renewed() -> None:
    pem = make_certificate((), NOW - timedelta(days=VALID_DAYS - 10)).certificate
    config = {"ServerApp": {"certfile": "/c.pem", "keyfile": "/k.pem"}}
    facts = facts_of(JS2, config, certificates={"/c.pem": File("/c.pem", pem)}, keys={"/k.pem": 0o644})
    kept = plan_of(facts)
    assert written(kept)["ServerApp"]["certfile"] == "/c.pem"
    assert any("10 more days only: make a new one with --renew" in note for note in kept.notes)
    assert any("others may read the private key /k.pem" in note for note in kept.notes)
    renewed = plan_of(facts, Wishes(renew=True))
    assert written(renewed)["ServerApp"]["certfile"] == f"{DIRECTORY}/{CERTIFICATE_NAME}"
    lost = plan_of(replace(facts, keys={}))
    assert any("/k.pem, which the config names, cannot be read" in note for note in lost.notes)
    assert written(lost)["ServerApp"]["keyfile"] == f"{DIRECTORY}/{KEY_NAME}"


def test_the_certificate(tmp_path: Path) -> None:
    made = make_certificate(("ln01", "ln01.cluster", "10.0.0.7", "fe80::1%eth0", "gpu box", "дом"), NOW)
    assert made.names == ("localhost", "127.0.0.1", "::1", "ln01", "ln01.cluster", "10.0.0.7", "fe80::1%eth0")
    assert end_of(made.certificate) == made.ends
    assert made.ends - NOW < timedelta(days=825)
    assert end_of("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----") is None
    assert remark(made.ends, NOW) == "the certificate is good until 2028-11-21"
    assert "ended on" in remark(made.ends, made.ends + timedelta(days=1))
    assert made.key not in repr(made)
    for name, text in (("c", made.certificate), ("k", made.key)):
        (tmp_path / name).write_text(text)
    # Raises where the two do not belong together.
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "c", tmp_path / "k")


def test_secrets_are_not_shown() -> None:
    text = json.dumps({"A": {"password": "sha1:salt:hex", "token": "t0ken", "port": 1, "list": ["sha1:x"]}})
    shown = masked(text, frozenset({"sha1:salt:hex"}))
    assert shown == '{"A": {"password": "sha1:… (new)", "token": "…", "port": 1, "list": ["sha1:x"]}}'
    facts = facts_of(JS2, {"IdentityProvider": {"hashed_password": "argon2:old"}})
    lines = "\n".join(plan_of(facts, Wishes(password="set", tls=True)).diff)
    assert "argon2:old" not in lines
    assert HASH not in lines
    assert "argon2:… (new)" in lines
    assert "PRIVATE KEY" not in lines


def test_the_text_keeps_its_style() -> None:
    before = '{\n    "A": {\n        "b": "ä"\n    }\n}'
    assert config_text(json.loads(before), before) == before
    assert config_text({"A": {}}, None) == '{\n  "A": {}\n}\n'


@pytest.mark.parametrize("text", ["{", "[]", '{"ServerApp": 1}', '{"ServerApp": {"port": 1,}}', "[" * 99_999])
def test_a_broken_file_is_left_alone(text: str) -> None:
    facts = facts_of(JS2)
    broken = replace(facts, files={**facts.files, SERVER: File(SERVER_FILE, text, 0o600)})
    with pytest.raises(ServerError, match=r"~/\.jupyter/jupyter_server_config\.json on ln01 is no"):
        plan_of(broken)


@pytest.mark.parametrize("config", [None, {"ServerApp": {"ip": "*", "x": 1}}])
def test_undo_after_two_setups(config: dict[str, Any] | None) -> None:
    facts = facts_of(JS2, config)
    once = after(facts, plan_of(facts, Wishes(tls=True)))
    twice = after(once, plan_of(once, Wishes(port=9999)))
    plan = plan_of(twice, Wishes(undo=True))
    texts = {change.path: change.text for change in plan.changes}
    assert texts == {
        SERVER_FILE: facts.files[SERVER].text,
        f"{DIRECTORY}/{CERTIFICATE_NAME}": None,
        f"{DIRECTORY}/{KEY_NAME}": None,
        facts.journal.path: None,
    }
    restored = next(change for change in plan.changes if change.path == SERVER_FILE)
    assert config is None or restored.mode == 0o644
    # One for each setup that changed a file that was there.
    assert len(plan.remove) == (2 if config else 1)
    assert plan_of(facts, Wishes(undo=True)).notes == ("setup has changed nothing there",)


def test_undo_of_a_file_that_others_changed() -> None:
    facts = facts_of(JS2, {"ServerApp": {"ip": "*", "x": 1}})
    once = after(facts, plan_of(facts))
    members = json.loads(once.files[SERVER].text or "")
    members["ServerApp"] |= {"port": 4321, "y": 2}
    theirs = replace(once, files={**once.files, SERVER: File(SERVER_FILE, json.dumps(members), 0o600)})
    plan = plan_of(theirs, Wishes(undo=True))
    assert written(plan) == {"ServerApp": {"ip": "*", "x": 1, "port": 4321, "y": 2}}
    assert "left as they are: ServerApp.port" in plan.notes[0]
    assert next(change.backup for change in plan.changes if change.path == SERVER_FILE)


def test_undo_keeps_a_certificate_of_somebody_else() -> None:
    facts = facts_of(JS2)
    once = after(facts, plan_of(facts, Wishes(tls=True)))
    theirs = replace(once, our_digests={**once.our_digests, KEY_NAME: "another"})
    plan = plan_of(theirs, Wishes(undo=True))
    assert f"{DIRECTORY}/{KEY_NAME}" not in [change.path for change in plan.changes]
    assert any("is not the one that setup made, and stays" in note for note in plan.notes)


def test_an_old_jupyter_has_weaker_hashes() -> None:
    """notebook 6.0 knows no argon2."""
    facts = facts_of({"notebook": "6.0.3"}, hash="", hash_kind="sha256")
    plan = plan_of(facts)
    assert plan.needs_password
    assert any("sha256:… (new)" in line for line in plan.diff)
    assert "take a long password" in plan.notes[0]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 2}', '{"schema": 1, "files": [{}], "directories": []}']
)
def test_a_broken_journal_is_named(text: str) -> None:
    facts = facts_of(JS2)
    with pytest.raises(ServerError, match=r"~/\.local/share/jtunnel/setup\.json on ln01 is broken"):
        read_journal(replace(facts, journal=File(facts.journal.path, text)))


def change(path: Path, text: str | None, **members: Any) -> dict[str, Any]:
    before = digest(path.read_text()) if path.exists() else None
    return {"path": str(path), "before": before, "text": text, "mode": 0o600, "backup": None, **members}


def tree(path: Path) -> dict[str, tuple[int, str]]:
    return {str(p): (p.stat().st_mode, p.read_text() if p.is_file() else "") for p in path.rglob("*")}


def test_all_is_written(tmp_path: Path) -> None:
    old, gone = tmp_path / "old", tmp_path / "gone"
    for path in (old, gone):
        path.write_text("before")
    backup = f"{old}.backup"
    changes = [change(tmp_path / "a/b/new", "x"), change(old, "y", backup=backup), change(gone, None)]
    assert write.write({"changes": changes})["done"]
    assert {name.removeprefix(str(tmp_path)): text for name, (_, text) in tree(tmp_path).items()} == {
        "/a": "",
        "/a/b": "",
        "/a/b/new": "x",
        "/old": "y",
        "/old.backup": "before",
    }


def test_nothing_is_written_where_one_file_cannot_be(tmp_path: Path) -> None:
    """The last of them fails as late as can be: its place is a directory."""
    old, gone, wall = tmp_path / "old", tmp_path / "gone", tmp_path / "wall"
    for path in (old, gone):
        path.write_text("before")
    changes = [change(tmp_path / "a/new", "x"), change(old, "y", backup=f"{old}.backup"), change(gone, None)]
    last = {"path": str(wall), "before": None, "text": "z", "mode": 0o600, "backup": None}
    wall_is_made = tmp_path / "hook"

    class Late(write.Writing):
        def put(self, change: dict[str, Any]) -> None:
            if change["path"] == str(wall):
                wall.mkdir()
                wall_is_made.touch()
            super().put(change)

    before = tree(tmp_path)
    with pytest.raises(IsADirectoryError):
        Late([*changes, last]).run()
    assert wall_is_made.exists()
    wall_is_made.unlink()
    wall.rmdir()
    assert tree(tmp_path) == before


def test_a_file_changed_meanwhile_stops_all(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("before")
    changes = [change(tmp_path / "new", "x"), change(old, "y")]
    old.write_text("others")
    before = tree(tmp_path)
    assert write.write({"changes": changes}) == {"changed": str(old)}
    assert tree(tmp_path) == before


def test_two_that_write_at_once(tmp_path: Path) -> None:
    """The second finds what the first has staged, and gives way; what a dead one has left does not count."""
    path, other = tmp_path / "journal", tmp_path / "a/other"
    theirs = {"changes": [change(path, "theirs"), change(other, "theirs")]}
    answers = []

    class Interrupted(write.Writing):
        def keep(self, change: dict[str, Any]) -> None:
            answers.append(write.write(theirs))
            super().keep(change)

    Interrupted([change(path, "mine"), change(other, "mine")]).run()
    assert answers == [{"changed": str(path)}] * 2
    assert (path.read_text(), other.read_text()) == ("mine", "mine")
    left = Path(f"{path}{write.NEW}")
    left.touch()
    os.utime(left, (1, 1))
    assert write.write({"changes": [change(path, "theirs")]})["done"]
    assert not left.exists()


def test_half_a_pair_of_surrogates_in_a_config() -> None:
    text = config_text({"ServerApp": {"x": "\ud800"}}, None)
    assert json.loads(text.encode()) == {"ServerApp": {"x": "\ud800"}}


@pytest.mark.parametrize("program", [look, write])
def test_programs_run_on_old_pythons(program: Any) -> None:
    """Their syntax is that of 3.6, and they import the standard library alone."""
    source = Path(program.__file__).read_text()
    compile(source, program.__file__, "exec", dont_inherit=True)
    import ast

    ast.parse(source, feature_version=(3, 6))
    names = {
        name
        for line in source.splitlines()
        if line.startswith(("import ", "from "))
        for name in [line.split()[1]]
    }
    assert names <= sys.stdlib_module_names


def test_a_host_without_jupyter_is_said_to_be_so(tmp_path: Path) -> None:
    """This Python has none."""
    ended = subprocess.run(
        [sys.executable, "-IS", look.__file__, str(tmp_path)],
        input="{}",
        capture_output=True,
        text=True,
        env={"HOME": os.fspath(tmp_path)},
        check=True,
    )
    assert "jupyter_core" in json.loads(ended.stdout)["error"]
