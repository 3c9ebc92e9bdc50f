"""Which `jtunneld` a login service is given, as pip, pipx and uv install it."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import jtunnel

SOURCE = os.path.dirname(os.path.dirname(jtunnel.__file__))


class Installed:
    """A virtual environment with this jtunnel, as an installer leaves it: scripts, and a record of them."""

    def __init__(self, home: Path, prefix: Path, *, marker: str = "") -> None:
        self._home = home
        venv.create(prefix, symlinks=True)
        self.bin = prefix / "bin"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        packages = prefix / "lib" / version / "site-packages"
        libraries = [path for path in sys.path if path.endswith("site-packages")]
        (packages / "all.pth").write_text("\n".join([SOURCE, *libraries]) + "\n")
        record = packages / "jtunnel-1.dist-info"
        record.mkdir()
        (record / "METADATA").write_text("Metadata-Version: 2.1\nName: jtunnel\nVersion: 1\n")
        (record / "RECORD").write_text("../../../bin/jtunnel,,\n../../../bin/jtunneld,,\n")
        for name in ("jtunnel", "jtunneld"):
            script = self.bin / name
            script.write_text(
                f"#!{self.bin}/python\nimport sys\nfrom jtunnel.client.cli import main\nsys.exit(main())\n"
            )
            script.chmod(0o755)
        if marker:
            (prefix / marker).write_text("")

    def link_from(self, directory: Path) -> Path:
        """Put links to the scripts where a person's commands are; the answer is that of the daemon."""
        directory.mkdir(parents=True)
        for name in ("jtunnel", "jtunneld"):
            (directory / name).symlink_to(self.bin / name)
        return directory / "jtunneld"

    def install(
        self, command: Path | None = None, *, environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `service install --print`, as it is called by its own path or by another."""
        return subprocess.run(
            [command or self.bin / "jtunnel", "service", "install", "--print"],
            env={"HOME": str(self._home), "PATH": os.environ["PATH"], **(environ or {})},
            capture_output=True,
            text=True,
        )

    def started(self, command: Path | None = None, *, environ: dict[str, str] | None = None) -> str:
        """The program that the unit or the agent would start."""
        done = self.install(command, environ=environ)
        assert done.returncode == 0, done.stderr
        (line,) = [line for line in done.stdout.splitlines() if line.rstrip('"').endswith("/jtunneld")]
        return line.removeprefix("ExecStart=").strip(':"')


pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="what is read is systemd's unit")


def test_pip_in_a_virtual_environment(tmp_path: Path) -> None:
    installed = Installed(tmp_path, tmp_path / "venv")
    assert installed.started() == str(installed.bin / "jtunneld")
    # Called as a module, or by a link to the client alone, it is the same one.
    (tmp_path / "jtunnel").symlink_to(installed.bin / "jtunnel")
    assert installed.started(tmp_path / "jtunnel") == str(installed.bin / "jtunneld")


@pytest.mark.parametrize(
    ("marker", "variable"), [("pipx_metadata.json", "PIPX_BIN_DIR"), ("uv-receipt.toml", "UV_TOOL_BIN_DIR")]
)
def test_pipx_and_uv_link_to_it_where_it_stays(tmp_path: Path, marker: str, variable: str) -> None:
    installed = Installed(tmp_path, tmp_path / "tools" / "jtunnel", marker=marker)
    # Before anything links to it.
    assert installed.started() == str(installed.bin / "jtunneld")
    usual = installed.link_from(tmp_path / ".local" / "bin")
    assert installed.started() == str(usual)
    assert installed.started(usual.with_name("jtunnel")) == str(usual)
    other = installed.link_from(tmp_path / "other bin")
    assert installed.started(environ={variable: str(other.parent)}) == str(other)


def test_somebody_elses_link_is_not_followed(tmp_path: Path) -> None:
    installed = Installed(tmp_path, tmp_path / "tools" / "jtunnel", marker="uv-receipt.toml")
    another = Installed(tmp_path, tmp_path / "another")
    another.link_from(tmp_path / ".local" / "bin")
    assert installed.started() == str(installed.bin / "jtunneld")


@pytest.mark.parametrize("cache", [".cache/uv", ".cache/pipx", ".local/share/pipx/.cache"])
def test_what_is_there_for_one_use_is_not_installed(tmp_path: Path, cache: str) -> None:
    directory = tmp_path / cache
    installed = Installed(tmp_path, directory / "archive-v0" / "x" if "uv" in cache else directory / "x")
    if ".local" not in cache:
        (directory / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    done = installed.install()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"jtunnel: this jtunnel is in a cache, {directory}, and may be gone at the next login; "
        "install it to stay: pipx install jtunnel, or: uv tool install jtunnel\n"
    )


def test_without_its_script_there_is_nothing_to_start(tmp_path: Path) -> None:
    installed = Installed(tmp_path, tmp_path / "venv")
    (installed.bin / "jtunneld").unlink()
    done = installed.install()
    assert done.returncode == 1
    assert done.stderr.startswith("jtunnel: there is no jtunneld beside this jtunnel; install it to stay: ")
