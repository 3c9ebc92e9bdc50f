"""The tables of the config file as pydantic models; the JSON Schema for editors comes from them.

A field's `title` says what is expected of its value, in error messages as well as in editors. The
defaults here are for show: those that count are the ones of `jtunnel.config.profile`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from jtunnel.config.forward_syntax import parse_table
from jtunnel.config.server_tables import (
    ConflictError,
    DefaultsJupyterTable,
    JupyterTable,
    ServiceTable,
    Table,
)
from jtunnel.config.values import (
    HOOK_TITLE,
    LISTEN_TITLE,
    NAME_TITLE,
    PATH_TITLE,
    PORT_TITLE,
    TARGET_TITLE,
    ForwardText,
    Hook,
    HookWord,
    Hop,
    HostName,
    JumpText,
    LocalPath,
    Name,
    NoFile,
    Port,
    UserName,
)
from jtunnel.status import ForwardKind


class ForwardTable(Table):
    """One forward, as in ssh_config(5)."""

    kind: ForwardKind = Field(
        "local",
        title='"local", "remote" or "dynamic"',
        description='As in ssh: "local" is -L, "remote" is -R, "dynamic" (a SOCKS proxy) is -D.',
    )
    listen: str = Field(
        title=LISTEN_TITLE,
        description="Where connections are accepted: here, or on the remote host for a remote forward. "
        'Without a host it is loopback only; "*" is every interface.',
        examples=["6006", "127.0.0.1:6006", "[::1]:6006", "~/.run/pg.sock"],
    )
    target: str | None = Field(
        None,
        title=TARGET_TITLE,
        description="Where connections lead, seen from the other side; a dynamic forward has none.",
        examples=["localhost:6006", "/var/run/postgresql/.s.PGSQL.5432"],
    )
    name: Name | None = Field(
        None,
        title=NAME_TITLE,
        description="What status calls it; else its listening port or its socket's file name.",
    )

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        parse_table(self.kind, self.listen, self.target, self.name, info.context or {})
        return self


def _forward_form(value: object) -> str | None:
    if isinstance(value, str):
        return "string"
    return "table" if isinstance(value, (dict, ForwardTable)) else None


ForwardEntry = Annotated[
    Annotated[ForwardText, Tag("string")] | Annotated[ForwardTable, Tag("table")],
    Discriminator(_forward_form),
]


class _ProfileKeys(Table):
    user: UserName | None = Field(
        None, title="a user name", description="The remote account; else as ~/.ssh/config has it."
    )
    port: Port | None = Field(
        None, title=PORT_TITLE, description="The SSH server's port; else as ~/.ssh/config has it."
    )
    identity_files: LocalPath | list[LocalPath] | None = Field(
        None,
        title=f"{PATH_TITLE}, or a list of such paths",
        description="Private keys to offer, before those of ~/.ssh/config.",
        examples=[["~/.ssh/id_ed25519"]],
    )
    jump: JumpText | list[Hop] | None = Field(
        None,
        title='jump hosts as in ProxyJump ("USER@HOST:PORT,…"), a list of them, or "none"',
        description='Hosts to go through, first to last; "none" goes straight; else as ~/.ssh/config has it.',
        examples=["bastion", "me@gate:2222,bastion", "none"],
    )
    known_hosts: LocalPath | list[LocalPath] | None = Field(
        None,
        title=f"{PATH_TITLE}, or a list of such paths",
        description="Files of host keys in place of ~/.ssh/known_hosts; new keys go to the first.",
    )
    ssh_config: LocalPath | NoFile | None = Field(
        None,
        title=f"{PATH_TITLE}, or false",
        description="A file in place of ~/.ssh/config; false reads none.",
    )
    autostart: bool | Literal["on-demand"] = Field(
        False,
        title='true, false or "on-demand"',
        description='Bring up when the daemon starts; "on-demand" waits for the first local connection.',
    )
    tags: list[Name] = Field(
        [], title="a list of tags", description="Words to name several profiles by: jtunnel up --tag work."
    )
    share: bool = Field(
        True,
        title="true or false",
        description="Share one SSH connection with profiles whose connection options are all equal.",
    )
    keepalive_interval: float = Field(
        5,
        gt=0,
        le=86_400,
        allow_inf_nan=False,
        title="seconds, above 0 and up to 86400",
        description="Seconds between two questions whether the SSH server still answers.",
    )
    keepalive_count: int = Field(
        3,
        ge=1,
        le=1000,
        title="a whole number from 1 to 1000",
        description="So many of these questions without an answer mean that the connection is lost.",
    )
    hold: float = Field(
        300,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        title="seconds, from 0 to 86400",
        description="Seconds that a new local connection waits for the tunnel before it is reset; "
        "0 refuses to wait.",
    )
    waiting_page: bool = Field(
        True,
        title="true or false",
        description="Show a browser a page that waits, while the tunnel is not up.",
    )
    idle_timeout: float = Field(
        600,
        ge=0,
        le=31_536_000,
        allow_inf_nan=False,
        title="seconds, from 0 to 31536000",
        description='Seconds without use after which an "on-demand" tunnel is disconnected; 0 never does.',
    )
    gateway_ports: bool = Field(
        False,
        title="true or false",
        description="Let forwards listen on other addresses than loopback, where other machines reach them.",
    )
    notify: bool = Field(
        False,
        title="true or false",
        description="Show a desktop notification when the tunnel is blocked, and when an outage lasts.",
    )
    on_up: Hook | list[HookWord] | None = Field(
        None,
        title=HOOK_TITLE,
        description="Run when the tunnel has come up; what happened is in JTUNNEL_… variables.",
        examples=["logger tunnel up", ["/usr/local/bin/mount-data", "--quiet"]],
    )
    on_down: Hook | list[HookWord] | None = Field(
        None, title=HOOK_TITLE, description="Run when the tunnel was up and is not any more."
    )
    on_blocked: Hook | list[HookWord] | None = Field(
        None, title=HOOK_TITLE, description="Run when the tunnel is blocked: a person is needed."
    )


class DefaultsTable(_ProfileKeys):
    """What holds for each profile that does not say otherwise."""

    jupyter: DefaultsJupyterTable | None = Field(
        None,
        title="a table [defaults.jupyter]",
        description="Applies to profiles that have a jupyter table.",
    )


class ProfileTable(_ProfileKeys):
    """One profile: where to connect, and what to forward."""

    host: HostName = Field(
        title="a host name or an alias from ~/.ssh/config",
        description="An alias from ~/.ssh/config, or a host name.",
    )
    forwards: list[ForwardEntry] = Field(
        [],
        title="a list of forwards",
        description="Ports and Unix sockets to forward, in ssh -L syntax or as tables.",
        examples=[["6006:localhost:6006"]],
    )
    jupyter: JupyterTable | None = Field(
        None,
        title="a table [profiles.NAME.jupyter]",
        description="The remote Jupyter server; leave the table out for plain forwards.",
    )
    service: ServiceTable | None = Field(
        None,
        title="a table [profiles.NAME.service]",
        description="A remote server of another kind, such as TensorBoard; a profile has it or jupyter.",
    )

    @field_validator("service")
    @classmethod
    def _check_service(cls, table: ServiceTable | None, info: ValidationInfo) -> ServiceTable | None:
        if table is not None and info.data.get("jupyter") is not None:
            raise ConflictError(
                "stands beside a jupyter table; make it a profile of its own: they share one login"
            )
        return table


class Document(Table):
    """The config file of jtunnel."""

    watch_config: bool = Field(
        True,
        title="true or false",
        description="Read this file again by itself whenever it has been edited.",
    )
    defaults: DefaultsTable | None = Field(
        None, title="a table [defaults]", description="What holds for all profiles."
    )
    profiles: dict[Name, ProfileTable] = Field(
        {},
        title="tables [profiles.NAME]",
        description="The profiles, by name.",
        json_schema_extra={"additionalProperties": False},
    )


class _TomlSchema(GenerateJsonSchema):
    """JSON Schema for TOML, which has no null: a key without a value is left out."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default") is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def config_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the config file, for editors."""
    schema = Document.model_json_schema(schema_generator=_TomlSchema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "jtunnel's config.toml"}
