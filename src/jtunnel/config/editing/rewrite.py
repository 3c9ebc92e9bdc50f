"""Puts a new text in the config file's place: checked, whole or not at all, and with the old one kept beside.

A `config.toml` that is a link stays one: what it leads to is replaced. Mode, owner and attributes stay.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from jtunnel.config.load import load_config, parse_config
from jtunnel.config.profile import Config
from jtunnel.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Original:
    """The config file as it was read; `content` is None where there is none yet."""

    path: str
    content: bytes | None

    @property
    def text(self) -> str:
        """What edits work on. Only of a file that loads."""
        return (self.content or b"").decode("utf-8-sig")

    def encode(self, text: str) -> bytes:
        """A new text as it is written: with a byte order mark where the old one has one."""
        mark = codecs.BOM_UTF8 if (self.content or b"").startswith(codecs.BOM_UTF8) else b""
        return mark + text.encode()


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The config before and after; `before` is None where it did not load."""

    before: Config | None
    after: Config

    @property
    def is_new(self) -> bool:
        """Whether anything was written."""
        return self.before is not self.after


def backup_of(path: str) -> str:
    """Where the text before the last edit is kept: beside the config file, not beside what it links to."""
    return f"{path}~"


def read_original(path: str) -> Original:
    """Read the file to be edited. Raises ConfigError where it is not to be read or written."""
    path = os.path.abspath(path)
    try:
        # Another kind of file could block or never end.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ConfigError("config-invalid", f"{path} is not a regular file", "put a TOML file there")
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return Original(path, None)
    except OSError as error:
        raise cannot("read", path, error) from None
    if not os.access(path, os.W_OK):
        raise ConfigError("config-invalid", f"{path} is read-only", f"allow it with: chmod u+w {path}")
    return Original(path, content)


def edit_config_file(
    path: str, environ: Mapping[str, str], change: Callable[[str, Config], str]
) -> Rewritten:
    """Change the text of a config file that loads, and write it unless it stays the same.

    `change` gets the text and what it says. Raises ConfigError where the file does not load, before or after,
    or cannot be written; and what `change` raises.
    """
    original = read_original(path)
    before = (
        load_config(path, environ)
        if original.content is None
        else parse_config(original.content, path, environ)
    )
    text = change(original.text, before)
    if text == original.text:
        return Rewritten(before, before)
    return Rewritten(before, replace(original, original.encode(text), environ))


def check_new(content: bytes, path: str, environ: Mapping[str, str]) -> Config:
    """The config that this content would be. Raises ConfigError that says that it was not written."""
    try:
        return parse_config(content, path, environ)
    except ConfigError as error:
        raise ConfigError(
            error.kind,
            f"nothing was written, since it would be wrong: {error.message}",
            "edit it by hand: jtunnel edit",
            lines=error.lines,
        ) from None


def replace(original: Original, content: bytes, environ: Mapping[str, str]) -> Config:
    """Write `content` in the place of what was read, and keep that as the backup; return the new config.

    Raises ConfigError, with the file as it was, where the content does not load, where somebody else has
    changed the file meanwhile, and where it cannot be written.
    """
    path = original.path
    config = check_new(content, path, environ)
    target = os.path.realpath(path)
    try:
        with _turn(os.path.dirname(target)):
            new = _write_beside(target, content, like=target if original.content is not None else None)
            with _removed_on_failure(new):
                if _content(path) != original.content:
                    raise ConfigError(
                        "config-invalid", f"{path} was changed by another program meanwhile", "run this again"
                    )
                if original.content is not None:
                    backup = backup_of(path)
                    kept = _write_beside(backup, original.content, like=target)
                    with _removed_on_failure(kept):
                        os.replace(kept, backup)
                os.replace(new, target)
            _sync_directory(os.path.dirname(target))
    except OSError as error:
        raise cannot("write", path, error) from None
    return config


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _write_beside(path: str, content: bytes, like: str | None) -> str:
    """A new file in the directory of `path` with the mode, owner and attributes of `like`; its path."""
    directory, name = os.path.split(path)
    descriptor, new = tempfile.mkstemp(dir=directory, prefix=f".{name}.")
    with _removed_on_failure(new), open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if like is not None:
            wanted, made = os.stat(like), os.fstat(file.fileno())
            if (wanted.st_uid, wanted.st_gid) != (made.st_uid, made.st_gid):
                os.fchown(file.fileno(), wanted.st_uid, wanted.st_gid)
            # Its times too, which are taken back: a watcher must see that it is newer.
            shutil.copystat(like, new)
            os.utime(new)
        os.fsync(file.fileno())
    return new


@contextlib.contextmanager
def _turn(directory: str) -> Iterator[None]:
    """Keeps other edits of jtunnel away while the block runs."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                "config-invalid", "another jtunnel is writing the config", "run this again"
            ) from None
        except OSError:
            # A file system without locks: the comparison with what was read has to do.
            pass
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _removed_on_failure(path: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some file systems cannot; the file itself is safe
    finally:
        os.close(descriptor)


def cannot(what: str, path: str, error: OSError) -> ConfigError:
    """Why the config file cannot be read or written (`what`)."""
    reason = os.strerror(error.errno).lower() if error.errno else type(error).__name__
    advice = "it is as it was"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = f"see who may {what} in {os.path.dirname(path)}"
    return ConfigError("config-invalid", f"cannot {what} {path}: {reason}", advice)
