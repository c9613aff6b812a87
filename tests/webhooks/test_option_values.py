"""Rates of requests, and responses to them."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.webhooks.option_values import CHECKS, InvalidOption, Rate

RATES = st.builds(Rate, st.integers(1, 10**4), st.sampled_from((1, 60, 3600)))


class RateTests(SynchronousTestCase):
    """The text of a rate."""

    @given(RATES)
    def test_text_and_back(self, rate: Rate) -> None:
        """The text of a rate is read as the same rate."""
        self.assertEqual(Rate.of(str(rate)), rate)

    def test_units(self) -> None:
        """A rate counts requests in a second, a minute or an hour."""
        self.assertEqual(
            [Rate.of(text) for text in ("10/s", "100/min", "1000/h")], [Rate(10, 1), Rate(100, 60), Rate(1000, 3600)]
        )

    def test_interval(self) -> None:
        """The interval is the time in which one request is allowed."""
        self.assertEqual(Rate(120, 60).interval, 0.5)

    @given(st.text(max_size=8))
    @example("0/s")
    @example("-1/s")
    @example("1/d")
    @example("1 /s")
    @example("1/s\n")
    @example("٣/s")
    @example("1.5/s")
    @example("s")
    @example("9999999999/s")
    def test_other_texts(self, text: str) -> None:
        """Any other text is an error that shows the text and valid ones."""
        try:
            rate = Rate.of(text)
        except InvalidOption as error:
            self.assertEqual(str(error), f"expected a rate such as '10/s', '100/min' or '1000/h', not {text!r}")
        else:
            self.assertEqual(str(rate), text)

    def test_other_values(self) -> None:
        """A number isn't a rate, since its period is unknown; the content of a collection isn't shown."""
        self.assertRaisesRegex(InvalidOption, "not 10$", Rate.of, 10)
        self.assertRaisesRegex(InvalidOption, "not a list$", Rate.of, ["secret"])


class ResponseTests(SynchronousTestCase):
    """The response as soon as a request is recorded."""

    def test_responses(self) -> None:
        """A status, a text, a JSON object, or one with a status; lists are those of a configuration in JSON or TOML."""
        cases: list[tuple[Any, tuple[int, str, bytes]]] = [
            (204, (204, "", b"")),
            (200, (200, "", b"")),
            ("ok", (200, "text/plain; charset=utf-8", b"ok")),
            ("", (200, "", b"")),
            (("grün", 201), (201, "text/plain; charset=utf-8", "grün".encode())),
            (["ok", 202], (202, "text/plain; charset=utf-8", b"ok")),
            ({"ok": True}, (200, "application/json", b'{"ok": true}')),
            (({"ok": True}, 201), (201, "application/json", b'{"ok": true}')),
        ]
        for value, expected in cases:
            response = CHECKS["response"](value)
            kind = dict(response.headers).get(b"Content-Type", b"").decode()
            self.assertEqual((response.status, kind, response.body), expected)

    def test_invalid_responses(self) -> None:
        """Errors and redirects aren't responses to a request that was accepted."""
        for value in (
            404,
            302,
            100,
            True,
            2.5,
            b"ok",
            None,
            ["ok"],
            ("ok", "201"),
            ("ok", 500),
            (201, "ok"),
            {"a": {1}},
        ):
            self.assertRaisesRegex(InvalidOption, "a status from 200 to 299", CHECKS["response"], value)
        self.assertRaisesRegex(InvalidOption, "no text with the status 204", CHECKS["response"], ("ok", 204))
