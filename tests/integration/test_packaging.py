"""What an installed jtunnel brings along beside its code."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import jtunnel

ROOT = Path(jtunnel.__file__).parents[2]
SHIPPED = ("systemd/jtunneld.service", "launchd/jtunnel.jtunneld.plist")


def build(target: str, directory: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(directory)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (made,) = directory.iterdir()
    return made


def test_the_wheel_has_the_services_files_and_uses_them(tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(build("wheel", tmp_path / "dist")) as wheel:
        wheel.extractall(unpacked)
    for name in SHIPPED:
        shipped = unpacked / "jtunnel" / "shipped" / os.path.basename(name)
        assert shipped.read_text() == (ROOT / name).read_text()
        shipped.write_text(
            shipped.read_text().replace("jtunneld from login to logout", "what the wheel brought")
        )
    reading = (
        "from jtunnel.commands.service.shipped import read_shipped; "
        f"print(read_shipped(*{SHIPPED[0].split('/')}))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", reading],
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "what the wheel brought" in printed.stdout


def test_the_sdist_has_them_where_the_source_has(tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tmp_path / "dist")) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert names >= set(SHIPPED)
