"""What there is to call: each command's summary, examples, arguments, and the function that carries it out.

The parser, the help, the shell completion and the man page are all made from this table. A function is
named as `module:function` below `jtunnel`, and imported when it is called; it gets the environment,
and its arguments by the names that they have here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    #: An argument as argparse takes it: its flags or its name, and the rest.
    Argument = tuple[tuple[str, ...], dict[str, Any]]
    #: Summary, examples, arguments, function.
    Command = tuple[str, tuple[str, ...], tuple[Argument, ...], str]

DEFAULT_TIMEOUT_S: Final = 90.0
DEFAULT_LINES: Final = 100
#: What `--format` knows by name; anything else is a template.
BARS: Final = ("waybar", "polybar", "tmux", "xbar", "starship")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise ValueError
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def _single(text: str) -> str:
    if any(sign in text for sign in "*?["):
        raise ValueError
    return text


_seconds.__name__, _count.__name__ = "number of seconds", "whole number"
_single.__name__ = "single name, no pattern"


def _argument(*flags: str, **options: Any) -> Argument:
    return flags, options


_PROFILES: Final = "a profile; a pattern such as 'gpu*'"
_NAMES: Final[Argument] = _argument("names", nargs="*", metavar="NAME", help=_PROFILES)
_SOME: Final[Argument] = _argument("names", nargs="+", metavar="NAME", help=_PROFILES)
_NAME: Final[Argument] = _argument("name", type=_single, metavar="NAME", help="a profile")
_ONLY: Final[Argument] = _argument(
    "name", nargs="?", metavar="NAME", help="a profile, or a pattern of one; not needed where there is one"
)
_TAG: Final[Argument] = _argument(
    "--tag", dest="tags", action="append", default=[], metavar="T", help="all profiles with this tag"
)
_ALL: Final[Argument] = _argument("--all", dest="every", action="store_true", help="all profiles")
_COLOUR: Final[Argument] = _argument(
    "--color",
    dest="colour",
    metavar="WHEN",
    choices=("auto", "always", "never"),
    default="auto",
    help="colours: always, never, or where a terminal shows them (auto)",
)
_JSON: Final[Argument] = _argument(
    "--json", dest="as_json", action="store_true", help="one JSON document, for scripts"
)

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
            _NAMES,
            _TAG,
            _JSON,
            _argument(
                "--watch", action="store_true", help="repaint it whenever it changes, until q or Ctrl-C"
            ),
            _argument(
                "--format",
                dest="form",
                metavar="F",
                help=f"a line for a status bar: {', '.join(BARS)}, or a template",
            ),
            _COLOUR,
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
            _NAMES,
            _TAG,
            _ALL,
            _argument("--no-wait", dest="wait", action="store_false", help="return at once"),
            _argument(
                "--timeout",
                dest="timeout_s",
                type=_seconds,
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
        (_NAMES, _TAG, _ALL),
        "client.control:take_down",
    ),
    "restart": (
        "drop and bring up the SSH connection; Jupyter is left alone",
        ("jtunnel restart gpu", "jtunnel restart --tag work", "jtunnel restart --all"),
        (
            _NAMES,
            _TAG,
            _argument("--all", dest="every", action="store_true", help="all that are wanted"),
        ),
        "client.up:restart",
    ),
    "wait": (
        "wait until tunnels are up, or down, without asking for it",
        ("jtunnel wait gpu && make train", "jtunnel wait gpu --for down --timeout 60"),
        (
            _argument(
                "names",
                nargs="*",
                metavar="NAME",
                help=f"{_PROFILES}; without any, all that are wanted or, for down, all there are",
            ),
            _TAG,
            _argument(
                "--for", dest="goal", choices=("up", "down"), default="up", help="what to wait for (up)"
            ),
            _argument(
                "--timeout",
                dest="timeout_s",
                type=_seconds,
                metavar="S",
                help="seconds to wait; without it, for ever",
            ),
        ),
        "client.waiting:wait_for",
    ),
    "open": (
        "show a tunnel's Jupyter in the browser",
        ("jtunnel open gpu",),
        (_ONLY,),
        "client.server:open_in_browser",
    ),
    "url": (
        "print the address of a tunnel's Jupyter, with its token",
        ("jtunnel url gpu",),
        (_ONLY,),
        "client.control:print_url",
    ),
    "stop": (
        "shut the remote Jupyter server down",
        ("jtunnel stop gpu", "jtunnel stop gpu --force"),
        (_ONLY, _argument("--force", action="store_true", help="also while kernels are busy")),
        "client.server:stop_server",
    ),
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
            _NAME,
            _argument(
                "spec",
                nargs="?",
                metavar="FORWARD",
                help="as in ssh -L: PORT, PORT:HOST:PORT; or the name or port of one that is there",
            ),
            _argument(
                "-R",
                "--remote",
                dest="kind",
                action="store_const",
                const="remote",
                default="local",
                help="as in ssh -R: from there to here",
            ),
            _argument(
                "-D",
                "--dynamic",
                dest="kind",
                action="store_const",
                const="dynamic",
                help="as in ssh -D: a SOCKS proxy on PORT",
            ),
            _argument("--name", dest="label", metavar="LABEL", help="what status calls it"),
            _argument(
                "--keep",
                action="store_true",
                help="write it to the config, too; with --remove, take it out of there",
            ),
            _argument(
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
        (_NAMES, _TAG, _JSON, _COLOUR),
        "client.views.history:show_history",
    ),
    "logs": (
        "show the daemon's log, a tunnel's lines of it, or the server's log",
        ("jtunnel logs gpu -f", "jtunnel logs gpu --remote"),
        (
            _argument("name", nargs="?", type=_single, metavar="NAME", help="a profile"),
            _argument(
                "-f",
                "--follow",
                dest="follow",
                action="store_true",
                help="go on with what is added, until Ctrl-C",
            ),
            _argument(
                "--lines",
                type=_count,
                default=DEFAULT_LINES,
                metavar="N",
                help="how many of the last lines to show first (100)",
            ),
            _argument("--remote", action="store_true", help="the log of the Jupyter server of NAME"),
        ),
        "client.logs:show_logs",
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
            _argument(
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
            _SOME,
            _argument(
                "--on-demand", dest="on_demand", action="store_true", help="connect at the first use instead"
            ),
            _argument("--now", action="store_true", help="and bring them up now"),
        ),
        "commands.profiles:enable",
    ),
    "disable": (
        "bring tunnels up only when asked",
        ("jtunnel disable gpu", "jtunnel disable gpu --now"),
        (_SOME, _argument("--now", action="store_true", help="and take them down now")),
        "commands.profiles:disable",
    ),
    "rename": (
        "give a profile another name; its port and its history stay",
        ("jtunnel rename gpu gpu-old",),
        (_NAME, _argument("to", metavar="NEW", help="its new name")),
        "commands.profiles:rename",
    ),
    "rm": (
        "take profiles out of the config",
        ("jtunnel rm gpu", "jtunnel rm 'old-*'"),
        (_SOME,),
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
            _argument(
                "action",
                choices=("install", "uninstall", "status", "restart"),
                metavar="install|uninstall|status|restart",
                help="what to do",
            ),
            _argument(
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
        (_argument("shell", choices=("bash", "zsh", "fish"), metavar="bash|zsh|fish", help="the shell"),),
        "commands.completion:run",
    ),
    "demo": (
        "try it all against a throw-away SSH server on this machine",
        ("jtunnel demo", "jtunnel demo --outage"),
        (_argument("--outage", action="store_true", help="cut the connection for 10 s every 30 s"),),
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
            _argument("method", metavar="METHOD", help="see docs/protocol.md"),
            _argument("params", nargs="?", default="{}", metavar="JSON", help="its parameters, one object"),
        ),
        "client.control:call_raw",
    ),
}

#: How `jtunnel --help` groups them.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "every day": ("status", "up", "down", "restart", "wait", "open", "url", "stop"),
    "more of a tunnel": ("forward", "history", "logs"),
    "profiles": ("config", "edit", "enable", "disable", "rename", "rm"),
    "the daemon": ("service", "reload", "shutdown", "daemon", "rpc"),
    "besides": ("demo", "completion"),
}
#: What completion scripts call; it is in no list.
HIDDEN: Final[Mapping[str, Command]] = {
    "__complete": (
        "print the words that may stand in a place of the command line",
        (),
        (_argument("kind", choices=("names", "tags", "forwards")), _argument("name", nargs="?")),
        "client.complete:print_words",
    ),
}
