"""Encoding, decoding and splitting of IRC lines.

RFC 1459, section 2.3: a line has at most 512 bytes, CR LF included, and contains no NUL, CR or LF. The server puts the
sender's mask before the lines that other clients receive, and counts it.
"""

from __future__ import annotations

import re

from errklein.text import grapheme_boundary

LINE = 512
"""The maximum length of a line in bytes, CR LF included (RFC 2812, section 2.3)."""

# Servers truncate user names to 10 characters and may put a "~" before them. RFC 2812 limits host names to 63.
_USER = 11
_HOST = 63

_LONGEST_CHARACTER = 4

_NEWLINE = re.compile(r"\r\n|\r|\n")

# Bold, colour, hex colour, reset, monospace, reverse, italics, strikethrough and underline are kept. \x01 marks CTCP
# requests, and \x10 is an old escape for line breaks; the others have no meaning in a chat.
_CONTROLS = re.compile(r"[\x00\x01\x05-\x08\x0b\x0c\x0e\x10\x12-\x15\x17-\x1c\x7f]")


def decode_line(line: bytes) -> str:
    """Decode a line from UTF-8, or from Latin-1 if it isn't UTF-8.

    Servers truncate long lines between bytes. A line that begins with valid UTF-8 is therefore UTF-8, with a replacement
    character for the truncated one.
    """
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        if line[: error.start].isascii():
            return line.decode("latin-1")
        return line.decode("utf-8", "replace")


def encode_line(line: str) -> bytes:
    """Encode a line, without CR LF, as at most 510 bytes of UTF-8. CR and NUL are removed, and LF becomes a space."""
    line = line.replace("\r", "").replace("\n", " ").replace("\x00", "")
    data = line.encode("utf-8", "replace")
    if len(data) > LINE - 2:
        data = data[: LINE - 2].decode("utf-8", "ignore").encode("utf-8")
    return data


def text_capacity(nick: str, user: str, command: str, target: str) -> int:
    """Return the number of bytes for text in a line, as other clients receive it from `nick` with the longest host name."""
    nick_size = len(nick.encode("utf-8"))
    user_size = max(_USER, len(user.encode("utf-8")) + 1)
    around = f":!@ {command} {target} :\r\n"
    return LINE - nick_size - user_size - _HOST - len(around.encode("utf-8"))


def split_lines(text: str, size: int) -> list[str]:
    """Split text into non-empty lines of at most `size` bytes of UTF-8.

    A long line is split after a space in the second half of the piece, else between characters. Pieces keep their spaces:
    joined, they are the line. Raises ValueError if `size` is less than 4, the length of the longest character.
    """
    if size < _LONGEST_CHARACTER:
        raise ValueError(f"size must be at least {_LONGEST_CHARACTER}, not {size}")
    lines: list[str] = []
    for line in _NEWLINE.split(text):
        line = strip_controls(line)
        if line.strip():
            lines.extend(_pieces(line, size))
    return lines


def strip_controls(line: str) -> str:
    """Return the text as one line without control characters of the protocol; formatting codes are kept."""
    line = _CONTROLS.sub("", _NEWLINE.sub(" ", line)).replace("\t", " ")
    return line.encode("utf-8", "replace").decode("utf-8")


def _pieces(line: str, size: int) -> list[str]:
    pieces: list[str] = []
    start = 0
    # Encodes no more than fits into a piece: encoding the whole rest each time would be quadratic.
    while len((ahead := line[start : start + size + 1]).encode("utf-8")) > size:
        head = ahead.encode("utf-8")[:size].decode("utf-8", "ignore")
        cut = head.rfind(" ") + 1
        if cut <= len(head) // 2 or not head[:cut].strip():
            cut = grapheme_boundary(ahead, len(head))
        pieces.append(ahead[:cut])
        start += cut
    return [*pieces, ahead]
