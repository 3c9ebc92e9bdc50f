"""`jtunnel edit`: a copy of the config in the person's editor, checked before it takes the config's place.

What was typed is never lost: a copy that does not get there is kept, and the person is told where.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from typing import Final, Self

from jtunnel import paths
from jtunnel.client import terminal
from jtunnel.client.prompts import find_terminal, insist_on_yes_or_no
from jtunnel.commands.afterwards import put_changes, reload_daemon
from jtunnel.config.editing.rewrite import Original, Rewritten, backup_of, cannot, read_original, replace
from jtunnel.config.load import parse_config
from jtunnel.config.profile import Config
from jtunnel.errors import EXIT_DONE, EXIT_FAILED, ConfigError

#: Tried in this order where neither $VISUAL nor $EDITOR is set.
_EDITORS: Final = ("sensible-editor", "editor", "nano", "vim", "vi")
#: Whoever is faster than this has typed nothing: the program has gone on without us.
_FAST_S: Final = 2.0
_START: Final = b"""\
# jtunnel's config file. `jtunnel config schema` prints all that may stand here.

# [profiles.gpu]
# host = "gpu-box"            # an alias from ~/.ssh/config, or a host name
# autostart = true            # bring it up when the daemon starts
#
# [profiles.gpu.jupyter]      # http://localhost:8888 is JupyterLab over there
"""


def edit_config(environ: Mapping[str, str]) -> int:
    """Have the config edited, and return the exit code; a file that does not exist yet is begun."""
    path = paths.config_file(environ)
    editor = _find_editor(environ)
    original = read_original(path)
    with _Copy(original) as copy:
        while True:
            if not _run(editor, copy, environ):
                return EXIT_FAILED
            content = copy.read()
            if content == copy.start:
                return _check_unchanged(original, environ)
            try:
                parse_config(content, path, environ)
                break
            except ConfigError as error:
                _say_mistakes(error)
                if not _wants_to_go_on():
                    return error.exit_code
        rewritten = Rewritten(_config(original, environ), replace(original, content, environ))
        copy.is_done = True
    if original.content is None:
        terminal.say(f"wrote {path}")
    else:
        terminal.say(f"wrote {path}; as it was before, it is kept in {backup_of(path)}")
    reload_daemon(path, environ)
    put_changes(rewritten)
    return EXIT_DONE


class _Copy:
    """A private copy beside the config, for the editor; kept where something was typed that got nowhere."""

    def __init__(self, original: Original) -> None:
        self.start = _START if original.content is None else original.content
        self.is_done = False
        directory, name = os.path.split(original.path)
        stem, extension = os.path.splitext(name)
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            # Editors know the language by the end of the name.
            descriptor, self.path = tempfile.mkstemp(dir=directory, prefix=f"{stem}.edit-", suffix=extension)
            with open(descriptor, "wb") as file:
                file.write(self.start)
        except OSError as error:
            raise cannot("write", original.path, error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            if self.is_done or self.read() == self.start:
                os.unlink(self.path)
            else:
                terminal.say(f"what you have typed is kept in {self.path}")
        except FileNotFoundError:
            return

    def read(self) -> bytes:
        """What stands in it now: an editor may have put another file in its place."""
        with open(self.path, "rb") as file:
            return file.read()


def _find_editor(environ: Mapping[str, str]) -> str:
    for name in ("VISUAL", "EDITOR"):
        if editor := environ.get(name, "").strip():
            return editor
    for editor in _EDITORS:
        if shutil.which(editor, path=environ.get("PATH")):
            return editor
    raise ConfigError("usage", "no editor was found", "name yours in $EDITOR, such as: export EDITOR=nano")


def _run(editor: str, copy: _Copy, environ: Mapping[str, str]) -> bool:
    """Have the copy edited; whether the editor did its work."""
    started = time.monotonic()
    # Ctrl-C is the editor's while it runs, which would inherit an ignored signal, but not a handler.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        # A shell reads it, as it does for git: it may have arguments, quotes and variables.
        command = f'trap : INT; {editor} "$@"'
        ended = subprocess.run(["/bin/sh", "-c", command, "sh", copy.path], env=environ)
    finally:
        signal.signal(signal.SIGINT, before)
    if ended.returncode == 127:
        terminal.say(f"the editor was not found: {editor}; set EDITOR to another one")
    elif ended.returncode != 0:
        how = f"exit code {ended.returncode}" if ended.returncode > 0 else f"signal {-ended.returncode}"
        terminal.say(f"the editor failed ({how}: {editor}), so nothing was written")
    elif not os.path.exists(copy.path):
        terminal.say(f"the editor has removed {copy.path}, so nothing was written")
    else:
        if copy.read() == copy.start:
            windows = ' (an editor that opens a window of its own has to wait: EDITOR="code --wait")'
            terminal.say("nothing was changed" + windows * (time.monotonic() - started < _FAST_S))
        return True
    return False


def _check_unchanged(original: Original, environ: Mapping[str, str]) -> int:
    """What is wrong with a file that was left as it is, which may be why it was looked at; the exit code."""
    if original.content is None:
        return EXIT_DONE
    try:
        parse_config(original.content, original.path, environ)
    except ConfigError as error:
        terminal.say("the config is not right yet:")
        _say_mistakes(error)
        return error.exit_code
    return EXIT_DONE


def _say_mistakes(error: ConfigError) -> None:
    terminal.say_raw("".join(f"{terminal.printable(line)}\n" for line in error.lines))


def _wants_to_go_on() -> bool:
    person = find_terminal()
    if person is None:
        return False
    return insist_on_yes_or_no(person, person.ask("edit again? (yes/no) ")) == "yes"


def _config(original: Original, environ: Mapping[str, str]) -> Config | None:
    """What the daemon has so far, if it could be read."""
    try:
        return parse_config(original.content or b"", original.path, environ)
    except ConfigError:
        return None
