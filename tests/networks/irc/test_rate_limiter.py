"""Rate limits of lines, by the server's software."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.irc._lines import PACES, SLOWEST, USUAL, IRCRateLimiter


class RateLimiterTests(SynchronousTestCase):
    """Tokens for lines, over 100 seconds."""

    def setUp(self) -> None:
        """Create a clock."""
        self.clock = Clock()

    def sent(self, limiter: IRCRateLimiter, target: str = "#ops", pings: bool = False) -> int:
        """Return how many lines may be sent within 100 s."""
        lines = 0
        while True:
            wait = limiter.take(target)
            if wait == 0:
                lines += 1
                if pings:
                    limiter.count_ping()
            elif self.clock.seconds() + wait > 100:
                return lines
            else:
                self.clock.advance(wait)

    def test_pace_of_the_server(self) -> None:
        """The pace is that of the server's software, and the usual one for other servers."""
        for version, pace in (
            ("InspIRCd-4", PACES["inspircd"]),
            ("ngircd-27", PACES["ngircd"]),
            ("ergo-v2.15.0", PACES["ergo"]),
            ("u2.10.12", USUAL),
        ):
            self.clock = Clock()
            limiter = IRCRateLimiter(self.clock.seconds, None, None)
            limiter.server_is(version)
            self.assertEqual(limiter.pace, pace)
            self.clock.advance(10)
            self.assertAlmostEqual(self.sent(limiter), pace.burst + 90 / pace.interval, delta=1)

    def test_pings_count(self) -> None:
        """With a PING for each line, half as many lines are sent."""
        limiter = IRCRateLimiter(self.clock.seconds, None, None)
        self.assertAlmostEqual(self.sent(limiter, pings=True), (USUAL.burst + 100 / USUAL.interval) / 2, delta=2)

    def test_settings_take_precedence(self) -> None:
        """A rate of the configuration is used whatever the server is."""
        limiter = IRCRateLimiter(self.clock.seconds, 5.0, None)
        limiter.server_is("InspIRCd-4")
        self.assertAlmostEqual(self.sent(limiter), 21, delta=1)

    def test_slowed_down(self) -> None:
        """After a connection was closed for flooding, the pace of the server isn't used for some minutes."""
        limiter = IRCRateLimiter(self.clock.seconds, None, None)
        limiter.slow_down()
        limiter.server_is("ngircd-27")
        self.assertIn(self.sent(limiter), range(51, 57))

    def test_recovery(self) -> None:
        """After a flood the pace returns to that of the server within ten minutes, and after a further one within twenty."""
        limiter = IRCRateLimiter(self.clock.seconds, None, None)
        limiter.server_is("ngircd-27")
        for minutes in (10, 20):
            limiter.slow_down()
            limiter.take("#ops")
            self.assertEqual(limiter.interval, SLOWEST)
            intervals = []
            for _ in range(minutes):
                self.clock.advance(60)
                limiter.take("#ops")
                intervals.append(limiter.interval)
            self.assertEqual(intervals, sorted(intervals, reverse=True))
            self.assertGreater(intervals[minutes // 2], 0.8)
            self.assertEqual(intervals[-1], PACES["ngircd"].interval)

    def test_slowed_down_with_settings(self) -> None:
        """After that, rates of the configuration aren't faster than SLOWEST, and slower ones are kept."""
        limiter = IRCRateLimiter(self.clock.seconds, 0.1, 5.0)
        limiter.slow_down()
        self.assertIn(self.sent(limiter), range(51, 57))
        self.clock = Clock()
        limiter = IRCRateLimiter(self.clock.seconds, 0.1, 5.0)
        limiter.slow_down()
        self.assertAlmostEqual(self.sent(limiter, "alice"), 21, delta=1)

    def test_kinds_of_rooms(self) -> None:
        """Rooms of one server, and those without modes, are rooms as well."""
        for target in ("&local", "+modeless", "!ABCDEsafe"):
            self.clock = Clock()
            limiter = IRCRateLimiter(self.clock.seconds, 5.0, None)
            self.assertAlmostEqual(self.sent(limiter, target), 21, delta=1)
