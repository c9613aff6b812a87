"""Negotiation of capabilities."""

from __future__ import annotations

from base64 import b64decode

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.irc._lines import WANTED, Capabilities, authenticate_lines

TOKENS = st.sampled_from([*WANTED, "sasl", "sasl=PLAIN", "-batch", "away-notify", "=", "", "draft/chathistory"])


class NegotiationTests(SynchronousTestCase):
    """Lists, requests and replies."""

    def setUp(self) -> None:
        """Create a negotiation that includes SASL."""
        self.capabilities = Capabilities((*WANTED, "sasl"))

    def test_list_of_several_lines(self) -> None:
        """Nothing is requested before the list is complete; each capability is requested separately."""
        self.assertEqual(self.capabilities.received("LS", ["*", "batch away-notify"]), [])
        self.assertEqual(self.capabilities.received("LS", ["*", "sasl=PLAIN,EXTERNAL"]), [])
        self.assertFalse(self.capabilities.settled)
        requests = self.capabilities.received("LS", ["server-time  sts=port=6697 "])
        self.assertEqual(requests, ["CAP REQ :batch", "CAP REQ :server-time", "CAP REQ :sasl"])
        self.assertFalse(self.capabilities.settled)

    def test_answers(self) -> None:
        """The negotiation is settled with the last reply, positive or negative."""
        self.capabilities.received("LS", ["batch server-time sasl"])
        self.capabilities.received("ACK", ["batch sasl "])
        self.assertFalse(self.capabilities.settled)
        self.capabilities.received("NAK", ["server-time"])
        self.assertTrue(self.capabilities.settled)
        self.assertEqual(self.capabilities.enabled, {"batch", "sasl"})

    def test_nothing_wanted(self) -> None:
        """A server without the wanted capabilities gets no request."""
        self.assertEqual(self.capabilities.received("LS", ["multi-prefix"]), [])
        self.assertTrue(self.capabilities.settled)

    def test_chathistory_is_not_requested(self) -> None:
        """`draft/chathistory` is not requested: a server that grants it replays nothing by itself."""
        requests = self.capabilities.received("LS", ["draft/chathistory batch znc.in/playback draft/event-playback"])
        self.assertEqual(requests, ["CAP REQ :batch"])

    def test_how_lines_are_confirmed(self) -> None:
        """Labels are used if the server offers all that they need, otherwise echoes."""
        for offered, requested in (
            ("labeled-response echo-message batch", {"batch", "labeled-response"}),
            ("labeled-response echo-message", {"echo-message"}),
            ("labeled-response batch", {"batch", "labeled-response"}),
            ("echo-message batch", {"batch", "echo-message"}),
            ("labeled-response", set()),
        ):
            capabilities = Capabilities(WANTED)
            requests = capabilities.received("LS", [offered])
            self.assertEqual({line.removeprefix("CAP REQ :") for line in requests}, requested)
            self.assertFalse(capabilities.confirm_lines)
            for name in requested:
                capabilities.received("ACK", [name])
            self.assertEqual(capabilities.label_lines, "labeled-response" in requested)
            self.assertEqual(capabilities.confirm_lines, requested != set())
            capabilities.received("DEL", ["labeled-response echo-message"])
            self.assertFalse(capabilities.confirm_lines)

    def test_new_and_withdrawn(self) -> None:
        """New capabilities are requested once; withdrawn ones are no longer in effect, and may be offered again."""
        self.capabilities.received("LS", ["batch"])
        self.capabilities.received("ACK", ["batch"])
        self.assertEqual(self.capabilities.received("NEW", ["batch server-time away-notify"]), ["CAP REQ :server-time"])
        self.assertEqual(self.capabilities.received("NEW", ["server-time"]), [])
        self.capabilities.received("ACK", ["server-time"])
        self.capabilities.received("DEL", ["batch other"])
        self.assertEqual(self.capabilities.enabled, {"server-time"})
        self.assertEqual(self.capabilities.received("NEW", ["batch"]), ["CAP REQ :batch"])
        self.capabilities.received("ACK", ["-server-time batch"])
        self.assertEqual(self.capabilities.enabled, {"batch"})
        self.assertTrue(self.capabilities.settled)

    def test_withdrawn_before_the_answer(self) -> None:
        """A capability that is withdrawn before the reply to its request doesn't block the negotiation."""
        self.capabilities.received("LS", ["batch"])
        self.capabilities.received("DEL", ["batch"])
        self.assertTrue(self.capabilities.settled)

    def test_what_was_not_requested(self) -> None:
        """A reply to another request enables nothing."""
        self.capabilities.received("ACK", ["batch echo-message"])
        self.assertEqual(self.capabilities.enabled, set())

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["LS", "NEW", "ACK", "NAK", "DEL", "LIST", "?"]),
                st.lists(TOKENS, max_size=4)
                .map(" ".join)
                .flatmap(lambda names: st.sampled_from([[names], ["*", names], []])),
            ),
            max_size=20,
        )
    )
    def test_any_lines(self, lines: list[tuple[str, list[str]]]) -> None:
        """For any lines, only wanted capabilities are requested, and only requested ones are enabled."""
        capabilities = Capabilities((*WANTED, "sasl"))
        requested: set[str] = set()
        for subcommand, params in lines:
            for line in capabilities.received(subcommand, params):
                self.assertTrue(line.startswith("CAP REQ :"))
                requested.add(line.removeprefix("CAP REQ :"))
            self.assertLessEqual(capabilities.enabled, requested)
        self.assertLessEqual(requested, {*WANTED, "sasl"})


class PlainTests(SynchronousTestCase):
    """SASL PLAIN."""

    @given(st.text(min_size=1), st.text(max_size=700))
    def test_what_the_server_reads(self, account: str, password: str) -> None:
        """The chunks, up to one shorter than 400, are the base64 of account, account and password."""
        account, password = account.replace("\0", ""), password.replace("\0", "")
        account, password = (text.encode("utf-8", "ignore").decode() for text in (account, password))
        parts = [line.removeprefix("AUTHENTICATE ") for line in authenticate_lines(account, password)]
        self.assertTrue(all(len(part) == 400 for part in parts[:-1]))
        self.assertLess(len(parts[-1]), 400)
        joined = "".join(part for part in parts if part != "+")
        self.assertEqual(b64decode(joined).decode().split("\0"), [account, account, password])
