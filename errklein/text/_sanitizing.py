"""Removal of control characters and terminal sequences from untrusted text."""

from __future__ import annotations

import re

_UNPRINTABLE = re.compile(r"[^\t\n -~\u00a0-\ud7ff\ue000-\ufdcf\ufdf0-\U0010ffff]")
"""Control characters (C0, DEL and C1) except tab and line feed; lone surrogates, which can't be encoded; and the
noncharacters U+FDD0 to U+FDEF, which this package uses for styles (see `styles`)."""

_NEWLINES = re.compile(r"\r\n?")

# The whole sequence is removed: without its ESC, the rest would show as "[31m". A title or link (OSC) ends with BEL or ST.
# If the end is missing, only the ESC is removed, to keep the text after it.
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b\][^\x00-\x1f\x7f-\x9f]*(?:\x07|\x1b\\)"
)

_SURROGATES = re.compile(r"[\ud800-\udfff]")


def sanitize(text: str) -> str:
    r"""Return the text without control characters and terminal sequences.

    Tab and line feed are kept. CR LF and CR become line feeds, and lone surrogates become U+FFFD.
    """
    if not _UNPRINTABLE.search(text):
        return text
    text = _NEWLINES.sub("\n", text)
    text = _SEQUENCES.sub("", text)
    text = _SURROGATES.sub("\ufffd", text)
    return _UNPRINTABLE.sub("", text)
