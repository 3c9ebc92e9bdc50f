"""What there is to call: each command's summary, examples, arguments, and the function that carries it out.

The parser, the help, the shell completion and the man page are all made from this table. A function is
named as `module:function` below `jtunnel`, and imported when it is called; it gets the environment,
and its arguments by the names that they have here.
"""

from __future__ import annotations

from jtunnel.client.argument_kinds import (
    ALL,
    BARS,
    COLOUR,
    DEFAULT_TIMEOUT_S,
    JSON,
    NAME,
    NAMES,
    PROFILES,
    SOME,
    TAG,
    argument,
    seconds,
)
from jtunnel.client.table_servers import SERVER_COMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from jtunnel.client.argument_kinds import Command

COMMANDS: Final[Mapping[str, Command]] = {
    "status": (
        "show the state of all or some tunnels",
        (
            "jtunnel status",
            "jtunnel status --watch",
            "jtunnel status 'gpu*' --json",
            "jtunnel status --format waybar",
            "jtunnel status --format '{up} of {wanted} up'",
        ),
        (
            NAMES,
            TAG,
            JSON,
            argument(
                "--watch", action="store_true", help="repaint it whenever it changes, until q or Ctrl-C"
            ),
            argument(
                "--format",
                dest="form",
                metavar="F",
                help=f"a line for a status bar: {', '.join(BARS)}, or a template",
            ),
            COLOUR,
        ),
        "client.views.show:show_status",
    ),
    "up": (
        "bring tunnels up and wait until they answer",
        (
            "jtunnel up gpu",
            "jtunnel up 'gpu*'",
            "jtunnel up --tag work --timeout 30",
            "jtunnel up --all --no-wait",
        ),
        (
            NAMES,
            TAG,
            ALL,
            argument("--no-wait", dest="wait", action="store_false", help="return at once"),
            argument(
                "--timeout",
                dest="timeout_s",
                type=seconds,
                default=DEFAULT_TIMEOUT_S,
                metavar="S",
                help="seconds to wait, those for questions and queues not counted (90)",
            ),
        ),
        "client.up:bring_up",
    ),
    "down": (
        "drop tunnels; Jupyter and its kernels live on",
        ("jtunnel down gpu", "jtunnel down --tag work", "jtunnel down --all"),
        (NAMES, TAG, ALL),
        "client.control:take_down",
    ),
    "restart": (
        "renew the SSH connection or, with --server, the remote server",
        ("jtunnel restart gpu", "jtunnel restart --tag work", "jtunnel restart --server gpu"),
        (
            NAMES,
            TAG,
            argument("--all", dest="every", action="store_true", help="all that are wanted"),
            argument(
                "--server",
                action="store_true",
                help="restart the remote server of NAME itself, with the loss of its kernels",
            ),
            argument("--force", action="store_true", help="with --server: do not ask"),
        ),
        "client.restart:run",
    ),
    "wait": (
        "wait until tunnels are up, or down, without asking for it",
        ("jtunnel wait gpu && make train", "jtunnel wait gpu --for down --timeout 60"),
        (
            argument(
                "names",
                nargs="*",
                metavar="NAME",
                help=f"{PROFILES}; without any, all that are wanted or, for down, all there are",
            ),
            TAG,
            argument(
                "--for", dest="goal", choices=("up", "down"), default="up", help="what to wait for (up)"
            ),
            argument(
                "--timeout",
                dest="timeout_s",
                type=seconds,
                metavar="S",
                help="seconds to wait; without it, for ever",
            ),
        ),
        "client.waiting:wait_for",
    ),
    **SERVER_COMMANDS,
    "forward": (
        "show a tunnel's forwards, add one to it, or take one away",
        (
            "jtunnel forward gpu",
            "jtunnel forward gpu 8787",
            "jtunnel forward gpu 6006:localhost:6006 --keep",
            "jtunnel forward gpu 9000:localhost:9000 --remote",
            "jtunnel forward gpu 8787 --remove",
            "jtunnel forward gpu 6006 --remove --keep",
        ),
        (
            NAME,
            argument(
                "spec",
                nargs="?",
                metavar="FORWARD",
                help="as in ssh -L: PORT, PORT:HOST:PORT; or the name or port of one that is there",
            ),
            argument(
                "-R",
                "--remote",
                dest="kind",
                action="store_const",
                const="remote",
                default="local",
                help="as in ssh -R: from there to here",
            ),
            argument(
                "-D",
                "--dynamic",
                dest="kind",
                action="store_const",
                const="dynamic",
                help="as in ssh -D: a SOCKS proxy on PORT",
            ),
            argument("--name", dest="label", metavar="LABEL", help="what status calls it"),
            argument(
                "--keep",
                action="store_true",
                help="write it to the config, too; with --remove, take it out of there",
            ),
            argument(
                "--remove",
                action="store_true",
                help="take it away; without FORWARD, all that were added and not kept",
            ),
        ),
        "client.forwards:change_forwards",
    ),
    "history": (
        "show past outages, and how much of a day and a week it was up",
        ("jtunnel history gpu", "jtunnel history --json"),
        (NAMES, TAG, JSON, COLOUR),
        "client.views.history:show_history",
    ),
    "reload": (
        "read the config again; unchanged tunnels are left untouched",
        ("jtunnel reload",),
        (),
        "client.control:reload",
    ),
    "shutdown": (
        "end the daemon and wait for its end",
        ("jtunnel shutdown",),
        (),
        "client.control:shut_down",
    ),
    "config": (
        "check the config file, print its path or its JSON Schema",
        ("jtunnel config check", "jtunnel config schema > jtunnel.schema.json"),
        (
            argument(
                "action", choices=("check", "path", "schema"), metavar="check|path|schema", help="what to do"
            ),
        ),
        "commands.config:run",
    ),
    "edit": (
        "edit the config file; it is checked before it counts",
        ("jtunnel edit",),
        (),
        "commands.edit:edit_config",
    ),
    "enable": (
        "bring tunnels up whenever the daemon starts",
        ("jtunnel enable gpu", "jtunnel enable gpu --on-demand", "jtunnel enable gpu --now"),
        (
            SOME,
            argument(
                "--on-demand", dest="on_demand", action="store_true", help="connect at the first use instead"
            ),
            argument("--now", action="store_true", help="and bring them up now"),
        ),
        "commands.profiles:enable",
    ),
    "disable": (
        "bring tunnels up only when asked",
        ("jtunnel disable gpu", "jtunnel disable gpu --now"),
        (SOME, argument("--now", action="store_true", help="and take them down now")),
        "commands.profiles:disable",
    ),
    "rename": (
        "give a profile another name; its port and its history stay",
        ("jtunnel rename gpu gpu-old",),
        (NAME, argument("to", metavar="NEW", help="its new name")),
        "commands.profiles:rename",
    ),
    "rm": (
        "take profiles out of the config",
        ("jtunnel rm gpu", "jtunnel rm 'old-*'"),
        (SOME,),
        "commands.profiles:remove",
    ),
    "service": (
        "start the daemon at login; see that, undo it, restart the daemon",
        (
            "jtunnel service install",
            "jtunnel service install --print",
            "jtunnel service status",
            "jtunnel service restart",
        ),
        (
            argument(
                "action",
                choices=("install", "uninstall", "status", "restart"),
                metavar="install|uninstall|status|restart",
                help="what to do",
            ),
            argument(
                "--print",
                dest="prints",
                action="store_true",
                help="with install: print the unit or the agent, and change nothing",
            ),
        ),
        "commands.service.command:run",
    ),
    "completion": (
        "print the completion script of a shell",
        (
            'eval "$(jtunnel completion bash)"',
            "jtunnel completion zsh > ~/.zfunc/_jtunnel",
            "jtunnel completion fish > ~/.config/fish/completions/jtunnel.fish",
        ),
        (argument("shell", choices=("bash", "zsh", "fish"), metavar="bash|zsh|fish", help="the shell"),),
        "commands.completion:run",
    ),
    "demo": (
        "try it all against a throw-away SSH server on this machine",
        ("jtunnel demo", "jtunnel demo --outage"),
        (argument("--outage", action="store_true", help="cut the connection for 10 s every 30 s"),),
        "commands.demo:run",
    ),
    "daemon": (
        "run the daemon in the foreground (the same as jtunneld)",
        ("jtunnel daemon",),
        (),
        "daemon.process:main",
    ),
    "rpc": (
        "make one raw call of the control protocol; the answer is JSON",
        ("""jtunnel rpc status '{"names": ["gpu"]}'""",),
        (
            argument("method", metavar="METHOD", help="see docs/protocol.md"),
            argument("params", nargs="?", default="{}", metavar="JSON", help="its parameters, one object"),
        ),
        "client.control:call_raw",
    ),
}

#: How `jtunnel --help` groups them.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "every day": ("status", "up", "down", "restart", "wait", "open", "url", "stop"),
    "more of a tunnel": ("forward", "history", "logs"),
    "servers over there": ("servers", "adopt", "setup"),
    "profiles": ("config", "edit", "enable", "disable", "rename", "rm"),
    "the daemon": ("service", "reload", "shutdown", "daemon", "rpc"),
    "besides": ("demo", "completion"),
}
#: What completion scripts call; it is in no list.
HIDDEN: Final[Mapping[str, Command]] = {
    "__complete": (
        "print the words that may stand in a place of the command line",
        (),
        (argument("kind", choices=("names", "tags", "forwards")), argument("name", nargs="?")),
        "client.complete:print_words",
    ),
}
