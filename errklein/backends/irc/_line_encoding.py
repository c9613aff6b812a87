"""Text on its way into lines of IRC, and bytes on their way out of them.

RFC 1459, section 2.3: a line has at most 512 bytes, CR LF included, and neither NUL nor CR nor LF within; the server
puts the sender's mask in front of what others get, which counts.
"""

from __future__ import annotations

import re

from errklein.text import grapheme_boundary

LINE = 512
"""The maximum length of a line in bytes, CR LF included (RFC 2812, section 2.3)."""

# A user name as servers cut it, with the "~" of those who aren't identified, and the longest host name of RFC 2812.
_USER = 11
_HOST = 63

_LONGEST_CHARACTER = 4

_NEWLINE = re.compile(r"\r\n|\r|\n")

# Bold, colour, hex colour, reset, monospace, reverse, italics, strikethrough and underline stay. \x01 would make a CTCP
# request of the text, \x10 is an old escape for line breaks; the others mean nothing in a chat.
_CONTROLS = re.compile(r"[\x00\x01\x05-\x08\x0b\x0c\x0e\x10\x12-\x15\x17-\x1c\x7f]")


def decode_line(line: bytes) -> str:
    """The text of a line: UTF-8, or else Latin-1, in which every byte means something.

    Servers cut what is too long between bytes. So a line that begins as UTF-8 is that, but for the character that was cut.
    """
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        if line[: error.start].isascii():
            return line.decode("latin-1")
        return line.decode("utf-8", "replace")


def encode_line(line: str) -> bytes:
    """The line without its CR LF, of at most 510 bytes; whatever would end it before is taken out."""
    line = line.replace("\r", "").replace("\n", " ").replace("\x00", "")
    data = line.encode("utf-8", "replace")
    if len(data) > LINE - 2:
        data = data[: LINE - 2].decode("utf-8", "ignore").encode("utf-8")
    return data


def text_capacity(nick: str, user: str, command: str, target: str) -> int:
    """How many bytes of text fit into a line that others get from `nick`, whatever host the server shows them."""
    nick_size = len(nick.encode("utf-8"))
    user_size = max(_USER, len(user.encode("utf-8")) + 1)
    around = f":!@ {command} {target} :\r\n"
    return LINE - nick_size - user_size - _HOST - len(around.encode("utf-8"))


def split_lines(text: str, size: int) -> list[str]:
    """The lines of `text`, none empty, each of at most `size` bytes in UTF-8.

    Long ones are split after a space if that is not too far back, else between characters. A piece keeps its space, so
    that the pieces joined are the line. Raises ValueError if `size` leaves no room for a character.
    """
    if size < _LONGEST_CHARACTER:
        raise ValueError(f"lines of {size} bytes have no room for text")
    lines: list[str] = []
    for line in _NEWLINE.split(text):
        line = strip_controls(line)
        if line.strip():
            lines.extend(_pieces(line, size))
    return lines


def strip_controls(line: str) -> str:
    """One line without anything that has a meaning for the protocol."""
    line = _CONTROLS.sub("", _NEWLINE.sub(" ", line)).replace("\t", " ")
    return line.encode("utf-8", "replace").decode("utf-8")


def _pieces(line: str, size: int) -> list[str]:
    pieces: list[str] = []
    start = 0
    # Only as much is looked at as fits at most, or a line of megabytes would take minutes.
    while len((ahead := line[start : start + size + 1]).encode("utf-8")) > size:
        head = ahead.encode("utf-8")[:size].decode("utf-8", "ignore")
        cut = head.rfind(" ") + 1
        if cut <= len(head) // 2 or not head[:cut].strip():
            cut = grapheme_boundary(ahead, len(head))
        pieces.append(ahead[:cut])
        start += cut
    return [*pieces, ahead]
