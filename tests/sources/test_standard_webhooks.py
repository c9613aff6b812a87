"""Tests of the source of Standard Webhooks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from errklein.sources import find_source
from errklein.testing.source_contract import SourceContract
from errklein.verify import Refused
from tests.sources.events import Sample, body, in_page, lines, read, received, samples, without_links
from tests.sources.in_a_room import InARoomCase


class StandardWebhooksContractTests(SourceContract, SynchronousTestCase):
    """What is expected of every source; others have no address."""

    source = find_source("standard_webhooks")
    every = 10

    def samples(self) -> Iterable[Sample]:
        return samples("standard_webhooks", "user.created")

    def test_page(self) -> None:
        """The page about the source shows messages as they are."""
        self.assertLessEqual(in_page("standard_webhooks"), without_links("standard_webhooks"))


class StandardWebhooksTests(SynchronousTestCase):
    """Events of services that nothing else is known of."""

    def test_event(self) -> None:
        """The message has the type of the event, its title with a link, and fields that people understand."""
        given = body("standard_webhooks", "invoice.paid.json")
        self.assertEqual(
            lines("standard_webhooks", given),
            [
                "**invoice.paid**",
                "[**Kiosk at the station**](https://billing.example.net/invoices/in_8Xk2)",
                "- number: 2026-0042",
                "- amount: 129\\.90",
                "- currency: EUR",
            ],
        )
        self.assertEqual(read("standard_webhooks", given).name, "invoice.paid")

    def test_secrets_are_left_out(self) -> None:
        """Fields whose names are those of secrets aren't shown."""
        given = b'{"type": "key.created", "data": {"api_key": "hush", "password": "hush", "note": "for the shop"}}'
        self.assertEqual(lines("standard_webhooks", given), ["**key.created**", "- note: for the shop"])

    def test_other_forms(self) -> None:
        """Without an object in `data`, the payload itself is described."""
        self.assertEqual(lines("standard_webhooks", b'{"type": "ping", "data": null}'), ["**ping**"])
        self.assertEqual(lines("standard_webhooks", b'{"type": "ping", "data": "pong"}'), ["**ping**", "- data: pong"])

    def test_verification(self) -> None:
        """The example of the specification is authentic, also with Svix's names of headers; its id is that of the delivery."""
        verification = find_source("standard_webhooks").verification(secret="env:STANDARD")
        for prefix in ("webhook", "svix"):
            headers = {
                f"{prefix}-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
                f"{prefix}-timestamp": "1614265330",
                f"{prefix}-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            }
            request = replace(received(b'{"test": 2432232314}', headers), now=1614265330.0)
            self.assertIsNone(verification.verify(request, [b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]))
            assert verification.delivery_id is not None
            self.assertEqual(verification.delivery_id(request), "msg_p5jXN8AQM9LWM0D4loKWxJek")
            self.assertRaises(Refused, verification.verify, replace(request, body=b"{}"), [b"whsec_" + b"A" * 32])
            # Another id, by which a repeated request would pass for a new one.
            other = replace(request, headers=[*request.headers, (b"webhook-id", b"msg_2")])
            self.assertRaises(Refused, verification.verify, other, [b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
            self.assertIn(f"{prefix}-signature".encode(), verification.secret_headers)


class StandardWebhooksInARoomTests(InARoomCase):
    """The service makes the secret."""

    def test_standard_webhooks(self) -> None:
        """An event is announced once the secret is set, and not again if the service repeats it."""
        sample = {"webhook-id": "msg_1"}, body("standard_webhooks", "user.created.json")
        self.check_issued("standard_webhooks", sample, "user.created\nJana\n- created_at: 2026-11-29T10:00:00Z")
