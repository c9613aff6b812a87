"""The lines of SASL's PLAIN."""

from __future__ import annotations

from base64 import b64decode

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.backends.irc.sasl import plain


class PlainTests(SynchronousTestCase):
    """Account and password as a server takes them."""

    @given(st.text(min_size=1), st.text(max_size=700))
    def test_what_the_server_reads(self, account: str, password: str) -> None:
        """The parts, up to one that is shorter than 400, are the base64 of account, account and password."""
        account, password = account.replace("\0", ""), password.replace("\0", "")
        account, password = (text.encode("utf-8", "ignore").decode() for text in (account, password))
        parts = [line.removeprefix("AUTHENTICATE ") for line in plain(account, password)]
        self.assertTrue(all(len(part) == 400 for part in parts[:-1]))
        self.assertLess(len(parts[-1]), 400)
        joined = "".join(part for part in parts if part != "+")
        self.assertEqual(b64decode(joined).decode().split("\0"), [account, account, password])
