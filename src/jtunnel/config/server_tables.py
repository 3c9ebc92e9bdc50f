"""The tables of a profile that are about a remote server, as pydantic models; see `schema` for the others."""

from __future__ import annotations

import difflib
import re
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from jtunnel.config.values import (
    DURATION_TITLE,
    PATH_TITLE,
    PORT_TITLE,
    Command,
    CondaEnv,
    Duration,
    Port,
    ReadyText,
    RemoteDirectory,
    RemotePath,
    ShellLine,
    UrlPath,
    VariableName,
    VariableValue,
)

#: Keys of [profiles.NAME.jupyter] that a later version brings; known, so that nobody hunts a typo.
LATER_KEYS: Final = frozenset({"slurm"})
LATER_LAUNCHERS: Final = frozenset({"slurm"})


class ConflictError(ValueError):
    """A value that is right in itself, and wrong beside another; the message stands alone."""


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _EnvironmentKeys(Table):
    python: RemotePath | None = Field(
        None,
        title=PATH_TITLE,
        description="The Python interpreter on the remote host that runs the server.",
        examples=["/opt/python/bin/python3"],
    )
    conda_env: CondaEnv | None = Field(
        None,
        title="the name of a conda environment, or its directory",
        description="The conda environment that the server runs in: conda's, mamba's or micromamba's, "
        "wherever it is; conda itself is not needed.",
        examples=["torch", "~/envs/torch"],
    )
    venv: RemotePath | None = Field(
        None,
        title=PATH_TITLE,
        description="The virtual environment on the remote host that the server runs in.",
        examples=["~/venvs/torch"],
    )
    setup: ShellLine | list[ShellLine] | None = Field(
        None,
        title="a line for the login shell, or a list of such lines",
        description="Run in the account's login shell before anything is looked for, for what it sets.",
        examples=[["module load python"]],
    )
    env: dict[VariableName, VariableValue] = Field(
        {},
        title='a table of environment variables: NAME = "value"',
        description="Environment variables for the server; values are taken as they are.",
        examples=[{"CUDA_VISIBLE_DEVICES": "0"}],
        json_schema_extra={"additionalProperties": False},
    )


class _JupyterKeys(_EnvironmentKeys):
    directory: RemoteDirectory | None = Field(
        None,
        title="a remote directory that starts with / or ~/",
        description='The server\'s root directory on the remote host; "~" unless given, and then a server '
        "with any other root directory is taken as well.",
        examples=["~/work"],
    )
    command: Command = Field(
        "jupyter lab",
        title="a command with its arguments, in one line",
        description="What starts the server; looked for on the remote host.",
    )
    listen: Literal["auto", "socket", "tcp"] = Field(
        "auto",
        title='"auto", "socket" or "tcp"',
        description='Where the server listens on the remote host: "socket" is a Unix socket that only the '
        'account can open, "tcp" a loopback port, "auto" the first where possible, else the second.',
    )
    start: Literal["if-absent", "never"] = Field(
        "if-absent",
        title='"if-absent" or "never"',
        description='"never" only adopts a server that runs already.',
    )
    launcher: Literal["nohup"] = Field(
        "nohup", title='"nohup"', description="How the server is started so that it outlives the connection."
    )
    allow_root: bool = Field(
        False, title="true or false", description="Start a server as root where the remote account is root."
    )
    idle_stop: Duration = Field(
        0,
        title=DURATION_TITLE,
        description="A server that jtunnel starts ends by itself, with its kernels, when unused for so long.",
        examples=["8h"],
    )


class DefaultsJupyterTable(_JupyterKeys):
    """What holds for each profile that has a jupyter table, unless it says otherwise."""


class JupyterTable(_JupyterKeys):
    """The remote Jupyter server of a profile; an empty table takes the defaults."""

    local_port: Port | Literal["auto"] = Field(
        8888,
        title='a port (1 to 65535) or "auto"',
        description='The local port, stable across outages; "auto" picks a free one once and keeps it.',
    )
    remote_port: Port | None = Field(
        None,
        title=PORT_TITLE,
        description="The server's port on the remote host; any free one unless given. "
        'With it, listen is "tcp".',
    )

    @field_validator("remote_port")
    @classmethod
    def _check_remote_port(cls, port: int | None, info: ValidationInfo) -> int | None:
        if port is not None and info.data.get("listen") == "socket":
            raise ConflictError('goes with listen = "tcp", and listen is "socket"; leave one of the two out')
        return port


class ServiceTable(_EnvironmentKeys):
    """A server of another kind than Jupyter: code-server, TensorBoard, MLflow, marimo, Ollama and so on."""

    port: Port | None = Field(
        None,
        title=PORT_TITLE,
        description="Where it listens on the remote host's loopback; {port} in the command stands for it. "
        "Any free port unless given.",
    )
    socket: RemotePath | None = Field(
        None,
        title=PATH_TITLE,
        description="The Unix socket that it listens on instead; {socket} in the command stands for it.",
    )
    start: Literal["if-absent", "never"] = Field(
        "if-absent",
        title='"if-absent" or "never"',
        description='"never" only adopts what listens there already.',
    )
    command: Command | None = Field(
        None,
        title="a command with its arguments, in one line",
        description="What starts it; looked for on the remote host. No shell reads it: for variables, or "
        "several commands, take sh -c '...'.",
        examples=["tensorboard --logdir runs --port {port}", "code-server --bind-addr 127.0.0.1:{port}"],
    )
    local_port: Port | Literal["auto"] | None = Field(
        None,
        title='a port (1 to 65535) or "auto"',
        description='The local port; the same as `port` unless given, or else as "auto" picks it.',
    )
    ready: ReadyText = Field(
        "tcp",
        title='"tcp", or a path such as "/healthz"',
        description="What shows that it serves: that it accepts a connection, or a page that answers.",
    )
    page: UrlPath | None = Field(
        None,
        title='a path such as "/"',
        description='The page that `jtunnel open` shows; "/" where `ready` is a page, else none.',
    )
    directory: RemoteDirectory | None = Field(
        None, title="a remote directory that starts with / or ~/", description='Where it is started; "~".'
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        words = self.command or ""
        if self.port and self.socket:
            raise ConflictError("port and socket exclude each other; leave one of the two out")
        if self.start == "never" and not (self.port or self.socket):
            raise ConflictError('start = "never" needs the port or the socket to look at')
        if self.start == "if-absent" and self.command is None:
            raise ConflictError('needs a command, or start = "never"')
        for name in re.findall(r"\{(\w+)\}", words):
            if name not in ("port", "socket") and difflib.get_close_matches(name, ("port", "socket"), n=1):
                near = difflib.get_close_matches(name, ("port", "socket"), n=1)[0]
                raise ConflictError(f"{{{name}}} in the command stands for nothing; did you mean {{{near}}}?")
        if self.command and not (self.port or self.socket or "{port}" in words or "{socket}" in words):
            raise ConflictError("needs a port or a socket, or {port} in the command for a free one")
        return self
