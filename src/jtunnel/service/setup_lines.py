"""The text that a login shell is fed to run a profile's setup lines, and to tell what became of each. Pure.

Which family the shell is of may show only when it runs: start-up files go on with others. So the first step
tells a status in the family's own way, and the lines are run only where that was understood.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

Family = Literal["sh", "csh", "fish"]
FAMILIES: Final[tuple[Family, ...]] = ("sh", "csh", "fish")
#: For start-up files that read standard input.
_EMPTY: Final = "\n" * 8
_STATUS: Final = {"sh": '"$?"', "csh": "$status", "fish": "$status"}
_ELSE_EXIT: Final = {"sh": "|| exit", "csh": "|| exit", "fish": "; or exit"}
#: On both outputs, so that what a line writes can be told from what others wrote.
_STEP: Final = (
    '/bin/sh -c \'echo; echo "step-NONCE $0 $1"; { echo; echo "step-NONCE $0"; } >&2; exit "${1:-1}"\' NUMBER'
)
_END: Final = "exec /bin/sh -c 'echo; echo begin-NONCE; export -p; echo end-NONCE'\n"


def setup_text(lines: Sequence[str], family: Family, nonce: str) -> str:
    """What to feed a shell of that family; empty where there are no lines.

    Each line is evaluated by itself, so that one with a mistake takes no other along.
    """
    if not lines:
        return ""
    # An interactive shell would write its prompts among the errors.
    parts = [
        _EMPTY,
        "PS1= PS2= PROMPT_EOL_MARK=\n" if family == "sh" else "",
        "/bin/sh -c true\n",
        _step(family, 0),
    ]
    for number, line in enumerate(lines, 1):
        parts += [f"eval {_quote(line, family)}\n", _step(family, number)]
    return ("".join(parts) + _END).replace("NONCE", nonce)


def _step(family: Family, number: int) -> str:
    return f"{_STEP.replace('NUMBER', str(number))} {_STATUS[family]} {_ELSE_EXIT[family]}\n"


def _quote(line: str, family: Family) -> str:
    if family == "fish":
        return "'" + line.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return "'" + line.replace("'", "'\\''") + "'"
