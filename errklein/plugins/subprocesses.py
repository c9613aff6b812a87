"""Runs other programs, such as git and pip. For use in threads."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

from errklein.text.masking import masker

_LONGEST = 1000  # the maximum length of a line of output in an error, in characters


class ProgramError(Exception):
    """A program couldn't be run, or failed. The text is one line: the program's fatal error, or its last error, or the
    last line of its output. `output` is the complete output; "" if the program couldn't be run or was stopped."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


def run(
    command: Sequence[str],
    *,
    seconds: float,
    env: Mapping[str, str] | None = None,
    directory: Path | None = None,
    text: str = "",
) -> str:
    """Run a program; return its output, with standard error, or raise ProgramError. After `seconds`, it and its children are killed."""
    name, environment = Path(command[0]).name, {**os.environ, **(env or {})}
    stdin = PIPE if text else DEVNULL
    try:
        process = subprocess.Popen(
            command, stdin=stdin, stdout=PIPE, stderr=STDOUT, cwd=directory, env=environment, start_new_session=True
        )
    except OSError as error:
        raise ProgramError(f"{name} can't be run: {error.strerror}") from error
    with process:
        try:
            output, _ = process.communicate(text.encode() or None, timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise ProgramError(f"{name} was stopped: it exceeded the timeout of {seconds:g} s") from None
    shown = masker(output.decode("utf-8", "replace"))
    if process.returncode:
        lines = [" ".join(line.split()) for line in shown.splitlines() if line.strip()]
        # git and pip add lines of advice after it.
        fatal = [line for line in lines if line.startswith("fatal: ")]
        # Exceptions of pip itself follow "ERROR: Exception:"; the last line has their text.
        errors = [line for line in lines if line.lower().startswith("error: ") and line != "ERROR: Exception:"]
        line = (fatal or errors[-1:] or lines[-1:] or [f"{name} failed without output"])[0]
        raise ProgramError(line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…", shown)
    return shown
