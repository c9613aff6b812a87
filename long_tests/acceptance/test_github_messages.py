"""The messages about all events that GitHub documents, and about each of their payloads with a field that is missing or hostile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from twisted.trial.unittest import SynchronousTestCase

from errklein.sources import find_source
from errklein.testing.source_contract import SourceContract
from long_tests.acceptance.payloads import deliveries, require_package


class GitHubMessagesTests(SourceContract, SynchronousTestCase):
    """What is expected of every source, with all changes of all 329 payloads: about two minutes."""

    source = find_source("github")

    def samples(self) -> Iterable[tuple[Mapping[str, str], bytes]]:
        """Return each payload once: as a form, it is the same."""
        for delivery in deliveries(require_package()):
            if not delivery.as_form:
                yield delivery.headers, delivery.body

    def test_forms(self) -> None:
        """A form has the same message as JSON."""
        texts: dict[bool, list[str]] = {False: [], True: []}
        for delivery in deliveries(require_package()):
            texts[delivery.as_form].append(self.source.read(self.received(delivery.headers, delivery.body)).text())
        self.assertEqual(len(texts[True]), 329)
        self.assertEqual(texts[True], texts[False])
