"""Encoding, decoding and splitting of lines."""

from __future__ import annotations

from time import process_time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.irc._lines import encode_line, split_lines, strip_controls, text_capacity
from errklein.networks.irc._protocol import decode_line

ANYTHING = st.text(alphabet=st.characters(), max_size=2000)
TRICKY = st.text(alphabet=st.sampled_from("a ü€😀\u200d\ufe0f\u0301\r\n\0\x01\x02\ud800"), max_size=3000)


class LineTests(SynchronousTestCase):
    """Lines that the bot writes."""

    @given(ANYTHING | TRICKY, st.integers(40, 450))
    def test_every_line_fits(self, text: str, size: int) -> None:
        """No line is empty, too long, or contains line ends or CTCP markers."""
        for line in split_lines(text, size):
            self.assertTrue(line)
            self.assertLessEqual(len(line.encode()), size)
            self.assertFalse(set(line) & set("\r\n\0\x01\x10"))

    @given(ANYTHING | TRICKY, st.integers(40, 450))
    def test_nothing_is_lost(self, text: str, size: int) -> None:
        """The joined pieces are the text, without line breaks, blank lines and removed control characters."""
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        expected = "".join(strip_controls(line) for line in lines if strip_controls(line).strip())
        self.assertEqual("".join(split_lines(text, size)), expected)

    @given(ANYTHING | TRICKY, st.sampled_from(["#ops", "alice", "#" + "ü" * 20]))
    def test_whole_line_has_512_bytes_at_most(self, text: str, target: str) -> None:
        """With the longest possible mask, other clients receive at most 512 bytes."""
        size = text_capacity("errklein", "errklein", "PRIVMSG", target)
        mask = f"errklein!~errklein@{'h' * 63}"
        for line in split_lines(text, size):
            whole = f":{mask} ".encode() + encode_line(f"PRIVMSG {target} :{line}") + b"\r\n"
            self.assertLessEqual(len(whole), 512)
            self.assertTrue(whole.endswith(f"{line}\r\n".encode()))

    @given(ANYTHING | TRICKY)
    def test_wire_has_one_line(self, text: str) -> None:
        """Any text becomes one line."""
        data = encode_line(text)
        self.assertLessEqual(len(data), 510)
        self.assertFalse(set(data) & set(b"\r\n\0"))
        data.decode("utf-8")

    def test_wire_is_cut_between_characters(self) -> None:
        """A line that is too long is truncated between characters."""
        self.assertEqual(encode_line("x" + "ü" * 300), b"x" + "ü".encode() * 254)

    @given(st.binary(max_size=600))
    def test_any_bytes_are_text(self, data: bytes) -> None:
        """Bytes that aren't UTF-8 are decoded as Latin-1."""
        self.assertIsInstance(decode_line(data), str)

    def test_character_that_a_server_has_cut(self) -> None:
        """Only the truncated character is lost, and Latin-1 of old clients is still decoded."""
        cut = ("!echo " + "é" * 3).encode()[:-1]
        self.assertEqual(decode_line(cut), "!echo éé\ufffd")
        self.assertEqual(decode_line(cut + b"[CUT]"), "!echo éé\ufffd[CUT]")
        self.assertEqual(decode_line("caf\xe9 \xfc".encode("latin-1")), "caf\xe9 \xfc")

    def test_split_at_words(self) -> None:
        """Lines are split between words that fit."""
        self.assertEqual(split_lines("one two three four", 10), ["one two ", "three four"])

    def test_split_between_characters(self) -> None:
        """A long word is split between characters, and an accent stays with its letter."""
        self.assertEqual(split_lines("€" * 20, 31), ["€" * 10, "€" * 10])
        self.assertEqual(split_lines("x" * 9 + "e\u0301" + "y" * 9, 10), ["x" * 9, "e\u0301" + "y" * 7, "yy"])

    def test_megabytes_in_one_line(self) -> None:
        """A line of megabytes is split in linear time."""
        begun = process_time()
        self.assertEqual("".join(split_lines("é" * 4_000_000, 400)), "é" * 4_000_000)
        self.assertLess(process_time() - begun, 2)

    def test_action_request_is_neutral(self) -> None:
        """Text can't be a CTCP request; colours are kept."""
        self.assertEqual(split_lines("\x01DCC SEND x\x01 \x0304red\x0f", 100), ["DCC SEND x \x0304red\x0f"])
