"""What follows from the output of a command that was to run one of our scripts."""

from __future__ import annotations

import pytest

from jtunnel.errors import ChannelError, ServerError
from jtunnel.remote import CommandResult
from jtunnel.service.script import read_report


def test_a_report_stands_between_its_marks() -> None:
    noisy = "welcome\nbegin-x\n\nbegin-n\nroot /a\u2028b c\n\nend-n\nbye\nroot /z\n"
    report = read_report(CommandResult(0, noisy, ""), "n")
    assert report.lines == (("root", "/a\u2028b c"),)


@pytest.mark.parametrize(
    "result",
    [
        CommandResult(None, "", ""),
        CommandResult(None, "welcome\n", "oops\n"),
        CommandResult(0, "\nbegin-n\nroot /a\n", ""),
        CommandResult(None, "\nbegin-n\nroot /a\n", ""),
        CommandResult(137, "\nbegin-n\n", ""),
    ],
)
def test_a_command_that_was_cut_short_is_tried_again(result: CommandResult) -> None:
    with pytest.raises(ChannelError) as caught:
        read_report(result, "n")
    assert caught.value.kind == "connection-lost"


@pytest.mark.parametrize("status", [0, 1])
def test_an_account_that_runs_nothing_is_blocked(status: int) -> None:
    said = "\x1b]0;mine\x07This account is not available.\n"
    with pytest.raises(ServerError, match=r"runs no shell commands.*This account is not") as caught:
        read_report(CommandResult(status, said, ""), "n")
    assert caught.value.kind == "jupyter-failed"
    assert caught.value.message.isprintable()
