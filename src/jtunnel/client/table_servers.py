"""The commands about a tunnel's remote server; see `table`."""

from __future__ import annotations

from jtunnel.client.argument_kinds import DEFAULT_LINES, JSON, NAME, ONLY, argument, count, port, single

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from jtunnel.client.argument_kinds import Command

SERVER_COMMANDS: Final[Mapping[str, Command]] = {
    "open": (
        "show a tunnel's Jupyter in the browser",
        ("jtunnel open gpu",),
        (ONLY,),
        "client.server:open_in_browser",
    ),
    "url": (
        "print the address of a tunnel's Jupyter, with its token",
        ("jtunnel url gpu",),
        (ONLY,),
        "client.control:print_url",
    ),
    "stop": (
        "shut a remote server down",
        ("jtunnel stop gpu", "jtunnel stop gpu --force", "jtunnel stop gpu --pid 4711"),
        (
            ONLY,
            argument("--force", action="store_true", help="also while kernels are busy"),
            argument(
                "--pid",
                type=count,
                metavar="PID",
                help="another server of yours on that host, as `jtunnel servers` lists it",
            ),
        ),
        "client.server:stop_server",
    ),
    "servers": (
        "list the Jupyter servers that run for you on a tunnel's host",
        ("jtunnel servers gpu", "jtunnel servers gpu --json"),
        (ONLY, JSON),
        "client.views.servers:show_servers",
    ),
    "adopt": (
        "use a Jupyter server that runs there already, now and next time",
        (
            "jtunnel adopt gpu 4711",
            "jtunnel adopt gpu 9999",
            "jtunnel adopt gpu 'http://localhost:9999/?token=abc'",
        ),
        (
            NAME,
            argument(
                "which",
                metavar="PID|PORT|URL",
                help="its process, its port there, or its address; - reads that from standard input",
            ),
        ),
        "client.adopt:adopt_server",
    ),
    "setup": (
        "set up Jupyter on a tunnel's host to serve without jtunnel, too",
        (
            "jtunnel setup gpu --dry-run",
            "jtunnel setup gpu --port 9999 --tls",
            "jtunnel setup gpu --directory '~/work' --start",
            "jtunnel setup gpu --undo",
        ),
        (
            NAME,
            argument(
                "--port",
                type=port,
                metavar="N|auto",
                help="the port there; without it the one that is set, else 8888 or the next that is free",
            ),
            argument("--directory", metavar="DIR", help="the server's root directory there"),
            argument(
                "--password",
                action="store_const",
                const="set",
                default="keep",
                help="ask for a new password; without it, only where none is set",
            ),
            argument(
                "--no-password",
                dest="password",
                action="store_const",
                const="none",
                help="set none: Jupyter makes a token at each start",
            ),
            argument(
                "--password-stdin",
                dest="from_stdin",
                action="store_true",
                help="take the password from standard input, for scripts",
            ),
            argument(
                "--tls",
                action="store_const",
                const=True,
                help="serve https, with a self-signed certificate where there is none",
            ),
            argument("--no-tls", dest="tls", action="store_const", const=False, help="serve http"),
            argument("--renew", action="store_true", help="make a new certificate"),
            argument(
                "--public",
                action="store_true",
                help="listen on all addresses of the host, which needs a password and TLS",
            ),
            argument("--start", action="store_true", help="start it there, too, and bring the tunnel up"),
            argument(
                "--dry-run", dest="dry_run", action="store_true", help="show what would be changed, only"
            ),
            argument("--undo", action="store_true", help="put back what was there before the first setup"),
            argument("-y", "--yes", action="store_true", help="do not ask"),
        ),
        "commands.setup:run",
    ),
    "logs": (
        "show the daemon's log, a tunnel's lines of it, or the server's log",
        ("jtunnel logs gpu -f", "jtunnel logs gpu --remote"),
        (
            argument("name", nargs="?", type=single, metavar="NAME", help="a profile"),
            argument(
                "-f",
                "--follow",
                dest="follow",
                action="store_true",
                help="go on with what is added, until Ctrl-C",
            ),
            argument(
                "--lines",
                type=count,
                default=DEFAULT_LINES,
                metavar="N",
                help="how many of the last lines to show first (100)",
            ),
            argument("--remote", action="store_true", help="the log of the Jupyter server of NAME"),
        ),
        "client.logs:show_logs",
    ),
}
