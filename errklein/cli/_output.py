"""Lines that the commands print, with masked secrets and escaped control characters."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from errklein.logs import escape
from errklein.text.masking import masker


def print_lines(lines: Iterable[str]) -> int:
    """Print the lines, and return the exit status 0."""
    sys.stdout.write("".join(f"{escape(masker(line))}\n" for line in lines))
    return 0


def complain(lines: Iterable[str]) -> int:
    """Print the lines to standard error. Return the exit status: 1, or 0 if there are none."""
    text = "".join(f"errklein: {escape(masker(line))}\n" for line in lines)
    sys.stderr.write(text)
    return 1 if text else 0
