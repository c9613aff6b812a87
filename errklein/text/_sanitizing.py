"""Text from anywhere, made safe to show: a terminal or a chat client must do nothing but display it."""

from __future__ import annotations

import re

_UNPRINTABLE = re.compile(r"[^\t\n -~\u00a0-\ud7ff\ue000-\ufdcf\ufdf0-\U0010ffff]")
"""Control characters (C0, DEL and C1) except tab and line feed; lone surrogates, which no encoding can carry; and the
non-characters U+FDD0 to U+FDEF, which stand for marks such as bold inside this package."""

_NEWLINES = re.compile(r"\r\n?")

# A whole sequence is removed rather than its ESC alone, since the rest of it would stay behind as "[31m". A title or a
# link (OSC) ends with BEL or ST; of one that never ends only the ESC goes, not the text after it.
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b\][^\x00-\x1f\x7f-\x9f]*(?:\x07|\x1b\\)"
)

_SURROGATES = re.compile(r"[\ud800-\udfff]")


def sanitize(text: str) -> str:
    r"""`text` without control characters and terminal sequences; only `\t` and `\n` stay, other newlines become `\n`."""
    if not _UNPRINTABLE.search(text):
        return text
    text = _NEWLINES.sub("\n", text)
    text = _SEQUENCES.sub("", text)
    text = _SURROGATES.sub("\ufffd", text)
    return _UNPRINTABLE.sub("", text)
