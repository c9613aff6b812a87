"""Rates of requests."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.webhooks.option_values import InvalidOption, Rate

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
