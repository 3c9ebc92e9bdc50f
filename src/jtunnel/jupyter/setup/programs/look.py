"""What the Python that runs Jupyter on the host knows of its configuration; changes nothing there.

Runs on the host as `python -c`, so it needs no more than Python 3.6. Standard input is a JSON object
(`password`, and whether to make its `hash`), the argument our directory over there; the answer is a line of
JSON. Config files are loaded by Jupyter's own loaders, since a .py file may compute what it sets.
"""

import hashlib
import importlib
import inspect
import json
import os
import re
import stat
import sys
from typing import Any

FILES = ("jupyter_config", "jupyter_server_config", "jupyter_notebook_config")
SECTIONS = ("ServerApp", "NotebookApp", "IdentityProvider", "PasswordIdentityProvider", "ExtensionApp")
KEYS = (
    *("ip", "port", "port_retries", "open_browser", "root_dir", "notebook_dir", "base_url", "allow_root"),
    *("certfile", "keyfile", "password", "hashed_password", "token"),
)
OURS = ("jtunnel-certificate.pem", "jtunnel-key.pem")
LARGEST = 1 << 20


def file_facts(path: str) -> "dict[str, Any]":
    """A file behind all links: its text and mode, None where there is none, or an error."""
    facts: dict[str, Any] = {"path": os.path.realpath(path), "link": os.path.islink(path)}
    try:
        mode = os.stat(path).st_mode
        facts["mode"] = stat.S_IMODE(mode)
        if not stat.S_ISREG(mode):  # a pipe would never come to its end
            raise ValueError("it is no plain file")
        with open(path, "rb") as file:
            facts["text"] = file.read(LARGEST).decode("utf-8")
    except FileNotFoundError:
        facts["mode"] = facts["text"] = None
    except (OSError, ValueError) as error:
        facts["error"] = describe(error)
    return facts


def digest_facts(path: str) -> "dict[str, Any]":
    """A file that is not to be shown: the SHA-256 of what is in it, None where there is none."""
    try:
        with open(path, "rb") as file:
            return {"path": os.path.realpath(path), "sha256": hashlib.sha256(file.read()).hexdigest()}
    except OSError:
        return {"path": os.path.realpath(path), "sha256": None}


def certificate_facts(path: str) -> "dict[str, Any]":
    """The certificates in a file, without the private key that may stand beside them."""
    facts = file_facts(path)
    blocks = re.findall("-----BEGIN CERT.*?-----END CERT[^-]*-----", facts.get("text") or "", re.DOTALL)
    facts["text"] = "\n".join(blocks)
    return facts


def key_facts(path: str) -> "dict[str, Any]":
    """Whether a private key can be read, and its mode; never what is in it."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        mode = None
    return {"mode": mode, "readable": os.access(path, os.R_OK)}


def load(directory: str, name: str, home: str) -> "list[dict[str, Any]]":
    """What the .py and the .json file of a directory set, in this order: the later one counts.

    The .json file of `home`, where setup writes, is listed even if it is not there.
    """
    loader = importlib.import_module("traitlets.config.loader")
    found = []
    for kind, ending in ((loader.PyFileConfigLoader, ".py"), (loader.JSONFileConfigLoader, ".json")):
        path = os.path.join(directory, name + ending)
        if not os.path.exists(path):
            if directory == home and ending == ".json":
                found.append({"file": path, "name": name, "values": {}})
            continue
        entry: dict[str, Any] = {"file": path, "name": name, "values": {}}
        try:
            entry["values"] = plain(kind(name + ending, path=directory).load_config())
        except (Exception, SystemExit) as error:  # noqa: BLE001  (any code may stand in a config file)
            entry["error"] = describe(error)
        found.append(entry)
    return found


def plain(config: Any) -> "dict[str, dict[str, Any]]":
    """The settings that matter, as JSON can hold them."""
    values: dict[str, dict[str, Any]] = {}
    for section in SECTIONS:
        for key in KEYS:
            if section in config and key in config[section]:
                value = config[section][key]
                simple = value if isinstance(value, (str, int, bool, type(None))) else repr(value)
                values.setdefault(section, {})[key] = simple
    return values


def find_security() -> Any:
    """The module that makes and checks hashes; the newest Jupyter's, if there are several."""
    try:
        return importlib.import_module("jupyter_server.auth.security")
    except ImportError:
        return importlib.import_module("notebook.auth.security")


def hash_kind(security: Any) -> str:
    """How to make hashes: as this Jupyter does; where that is SHA-1, or argon2 is missing, by SHA-256."""
    kind = inspect.signature(security.passwd).parameters["algorithm"].default
    try:
        importlib.import_module("argon2")
    except ImportError:
        kind = "sha1"
    return "sha256" if kind == "sha1" else str(kind)


def matches(security: Any, known: str, password: str) -> bool:
    """Whether that hash is of that password."""
    try:
        return bool(security.passwd_check(known, password))
    except Exception:  # noqa: BLE001  (a hash of a kind that is not known here)
        return False


def describe(error: BaseException) -> str:
    """One line for an error."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]


def look(question: "dict[str, Any]", state: str) -> "dict[str, Any]":
    """All there is to know."""
    app = importlib.import_module("jupyter_core.application").JupyterApp()
    directory = importlib.import_module("jupyter_core.paths").jupyter_config_dir()
    # JupyterApp knows the order in which this version searches, the working directory included or not.
    paths = list(dict.fromkeys(app.config_file_paths))
    entries = [entry for name in FILES for path in reversed(paths) for entry in load(path, name, directory)]
    values = [section for entry in entries for section in entry["values"].values()]
    certificates = [str(section["certfile"]) for section in values if section.get("certfile")]
    keys = [str(section["keyfile"]) for section in values if section.get("keyfile")]
    answer: dict[str, Any] = {
        "home": os.path.expanduser("~"),
        "directory": directory,
        "has_directory": os.path.isdir(directory),
        "entries": entries,
        "files": {name: file_facts(os.path.join(directory, name + ".json")) for name in FILES[1:]},
        "ours": {name: digest_facts(os.path.join(directory, name)) for name in OURS},
        "certificates": {path: certificate_facts(path) for path in certificates},
        "keys": {path: key_facts(path) for path in keys},
        "journal": file_facts(os.path.join(state, "setup.json")),
    }
    security = find_security()
    answer["kind"] = hash_kind(security)
    password = question.get("password")
    if password:
        known = {
            str(section[key]) for section in values for key in KEYS if "password" in key and section.get(key)
        }
        answer["matching"] = [value for value in known if matches(security, value, password)]
        if question.get("hash"):
            answer["hash"] = security.passwd(password, answer["kind"])
    return answer


def main() -> None:
    """Answer; what config files print goes nowhere."""
    question = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    out = os.dup(1)
    os.dup2(2, 1)
    try:
        answer = look(question, sys.argv[1])
    except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever it is, the caller has to hear of it)
        answer = {"error": describe(error)}
    os.write(out, json.dumps(answer).encode("ascii") + b"\n")


if __name__ == "__main__":
    main()
