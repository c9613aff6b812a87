"""Runs other programs, such as git and pip, from a thread."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

from errklein.text.masking import masker

_LONGEST = 1000
"""Characters of the line that an error repeats."""


class ProgramError(Exception):
    """A program could not be run, or failed; str() is one line: its fatal error, else its last error, else its last output.

    `output` is the complete output; "" if the program could not be run or was stopped.
    """

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


def run(
    command: Sequence[str], *, seconds: float, env: Mapping[str, str] | None = None, directory: Path | None = None
) -> str:
    """The program's output, errors included; raises ProgramError. After the time, it and what it started are killed."""
    name, environment = Path(command[0]).name, {**os.environ, **(env or {})}
    try:
        process = subprocess.Popen(
            command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, cwd=directory, env=environment, start_new_session=True
        )
    except OSError as error:
        raise ProgramError(f"{name} can't be run: {error.strerror}") from error
    with process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise ProgramError(f"{name} had not come to its end after {seconds:g} s") from None
    text = masker(output.decode("utf-8", "replace"))
    if process.returncode:
        lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
        # git and pip give advice after it, in several lines.
        fatal = [line for line in lines if line.startswith("fatal: ")]
        # pip's own exceptions follow that line, and their text is in the last one.
        errors = [line for line in lines if line.lower().startswith("error: ") and line != "ERROR: Exception:"]
        line = (fatal or errors[-1:] or lines[-1:] or [f"{name} failed without output"])[0]
        raise ProgramError(line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…", text)
    return text
