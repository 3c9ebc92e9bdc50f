"""A JSON config file as text: read, written in its own style, and shown without the secrets in it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from jtunnel.errors import ServerError
from jtunnel.jupyter.setup.facts import Facts, File

#: Keys whose values nobody needs to see.
_SECRET: Final = re.compile(r"password|token|secret|passphrase", re.IGNORECASE)
#: `"indent": null` would put all on one line, which Jupyter's own files never have.
_INDENT: Final = 2


def parse_config(facts: Facts, file: File) -> dict[str, Any]:
    """The members of a config file; none where there is no file.

    Raises ServerError (`jupyter-failed`) for one that is broken: it is left alone.
    """
    if file.text is None or not file.text.strip():
        return {}
    where = f"{facts.shown(file.path)} on {facts.ground.node}"
    advice = "correct it or move it away, then try again; nothing was changed"
    try:
        members = json.loads(file.text)
    except RecursionError:
        raise ServerError(
            "jupyter-failed", f"{where} is no JSON to be read: it is nested too deeply", advice
        ) from None
    except ValueError as error:
        line = f" (line {error.lineno}: {error.msg})" if isinstance(error, json.JSONDecodeError) else ""
        raise ServerError("jupyter-failed", f"{where} is no JSON{line}", advice) from None
    wrong = not isinstance(members, dict) or any(
        name[:1].isupper() and not isinstance(value, dict) for name, value in members.items()
    )
    if wrong:
        raise ServerError(
            "jupyter-failed", f"{where} is no config file of Jupyter's: {{section: {{key: value}}}}", advice
        )
    return dict(members)


def config_text(members: Mapping[str, Any], before: str | None) -> str:
    """The file's new text, indented as the one before."""
    found = re.search(r"^\{\s*\n([ \t]+)\"", before or "")
    indent: str | int = found[1] if found else _INDENT
    end = "" if before and not before.endswith("\n") else "\n"
    try:
        text = json.dumps(members, indent=indent, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:  # half a pair of surrogates, which JSON may name and no file can hold
        text = json.dumps(members, indent=indent)
    return text + end


def masked(text: str | None, new: frozenset[str] = frozenset()) -> str:
    """A config file's text with each secret shortened to its kind; `new` ones are said to be so."""
    if text is None:
        return ""
    try:
        members = json.loads(text)
    except ValueError:
        return "(no JSON)\n"
    shown = text
    # A secret that is part of another one must not hide it from being found.
    for secret in sorted(set(_secrets(members)), key=len, reverse=True):
        hint = hidden(secret) + (" (new)" if secret in new else "")
        for form in (json.dumps(secret), json.dumps(secret, ensure_ascii=False)):
            shown = shown.replace(form, json.dumps(hint, ensure_ascii=False))
    return shown


def hidden(secret: str) -> str:
    """What may be shown of a secret: of a hash, how it was made."""
    kind, colon, _ = secret.partition(":")
    return f"{kind}:…" if colon and kind.isalnum() and len(kind) < 10 else "…"


def secrets_in(text: str | None) -> frozenset[str]:
    """All secrets of a config file."""
    try:
        return frozenset(_secrets(json.loads(text or "{}")))
    except ValueError:
        return frozenset()


def _secrets(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _secrets(member, name)
    elif isinstance(value, list):
        for member in value:
            yield from _secrets(member, key)
    elif isinstance(value, str) and value and _SECRET.search(key):
        yield value
