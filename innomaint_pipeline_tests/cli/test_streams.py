"""Standard streams as shells leave them: closed, full, without a reader, of another encoding."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from innomaint_pipeline_tests.cli.conftest import INNOMAINT, Cli

ROW = "Asset ID,Make\nP-\u00fc\u0939,KSB\n"


@pytest.fixture
def connected(connected: Cli) -> Cli:
    """The command line with databases, and a workbook that was written long ago."""
    Path("master.csv").write_text(ROW, encoding="utf-8")
    os.utime("master.csv", (1_750_000_000, 1_750_000_000))
    return connected


def shell(command: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell's command line, in which `innomaint` is the installed command."""
    line = command.replace("innomaint", str(INNOMAINT))
    environment = {**os.environ, **variables}
    return subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {line}"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("innomaint status --json >&-", 0),
        ("innomaint status 2>&-", 0),
        ("innomaint status --json >&- 2>&- <&-", 0),
        ("innomaint status --json | true", 0),
        ("innomaint status 2>&1 >/dev/null | true", 0),
        ("innomaint status --json 2>/dev/full", 0),
        ("innomaint --help >&-", 0),
        ("innomaint --help | true", 0),
        ("innomaint nonsense 2>&-", 2),
        ("innomaint status --json >/dev/full", 2),
    ],
)
def test_who_does_not_read_changes_no_exit_code_and_no_traceback_is_shown(
    connected: Cli, command: str, code: int
) -> None:
    assert connected("db", "upgrade").code == 0

    ended = shell(command)

    assert ended.returncode == code, ended.stderr
    assert b"Traceback" not in ended.stderr + ended.stdout
    assert b"Exception ignored" not in ended.stderr
    if "/dev/full" in command and code:
        assert b"could not be written to standard output (No space left on device)" in ended.stderr


def test_a_watch_ends_when_nobody_reads_any_more(connected: Cli) -> None:
    assert connected("db", "upgrade").code == 0
    for command in (
        "innomaint status --watch --json | head -n 1",
        "innomaint status --watch 2>&1 | head -n 1",
    ):
        assert shell(command).returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_is_escaped_in_json_and_ends_nothing(connected: Cli, encoding: str) -> None:
    del connected
    ended = shell("innomaint import master.csv --json", PYTHONIOENCODING=encoding, PYTHONUTF8="0")

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.decode("utf-8"))["inserted"] == 1
    again = shell("innomaint sync --asset $'P-\\xc3\\xbc\\xe0\\xa4\\xb9' --json", PYTHONIOENCODING=encoding)
    assert again.returncode == 1, again.stderr
    (error,) = json.loads(again.stdout.decode("utf-8"))["errors"]
    assert error.startswith("P-\u00fc\u0939: not_found")


@pytest.mark.parametrize(
    "command",
    [
        "innomaint sync --asset $'P-\\xff'",
        "innomaint sync --partition $'\\xff'",
        "innomaint import $'\\xff.csv'",
        "innomaint import master.csv --sheet $'\\xff'",
        "innomaint $'\\xff'",
    ],
)
def test_an_argument_that_is_no_text_is_refused_in_words(connected: Cli, command: str) -> None:
    del connected
    ended = shell(command)

    assert ended.returncode == 2, ended.stderr
    assert b"\\xff" in ended.stderr
    assert b"is not UTF-8" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_a_file_whose_name_is_no_text_is_a_file(connected: Cli) -> None:
    Path("master.csv").rename(os.fsdecode(b"m\xfcster.csv"))

    ended = shell("innomaint import $'m\\xfcster.csv' --json")

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["inserted"] == 1
    assert connected.home.exists()
