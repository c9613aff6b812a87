"""`SourceContract` accepts a good source, and names what is wrong with others."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.testing.source_contract import REPLACEMENTS, SourceContract, changed_payloads
from errklein.verify import Verification, hmac_signature
from errklein.webhooks.source import Source

BODY = b'{"name": "web", "state": "failed", "url": "https://ci.example.org/7"}'


def lines(event: str, payload: Any) -> Sequence[str]:
    """Return the lines of a good source."""
    return ["[{name}]({url}) {state}"]


def signature(secret: str | Sequence[str]) -> Verification:
    """Return the verification of a good source."""
    return hmac_signature(secret=secret, header="X-Signature")


GOOD = Source("ci", "CI", lines, signature, signs=True, setup=("Enter {url} and {secret}.",))


class SourceContractTests(SynchronousTestCase):
    """The tests of the contract."""

    def failures(self, source: Source) -> dict[str, str]:
        """Return the names of the tests that fail for the source, each with the end of its message."""
        given = source

        class Case(SourceContract, unittest.TestCase):
            source = given

            def samples(self) -> Iterable[tuple[Mapping[str, str], bytes]]:
                return [({"X-Event": "build"}, BODY)]

        result = unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(unittest.TestResult())
        self.assertEqual(result.testsRun, 5)
        return {case.id().rpartition(".")[2]: text for case, text in [*result.failures, *result.errors]}

    def of_lines(self, other: Callable[[str, Any], Sequence[str]]) -> dict[str, str]:
        return self.failures(replace(GOOD, lines=other))

    def test_good_source(self) -> None:
        """A good source passes all tests."""
        self.assertEqual(self.failures(GOOD), {})

    def test_message_without_a_link(self) -> None:
        """A message needs a link."""
        failed = self.of_lines(lambda event, payload: ["{name} {state}"])
        self.assertEqual(list(failed), ["test_messages"])
        self.assertIn("the message of '' has no link", failed["test_messages"])

    def test_missing_field(self) -> None:
        """A source must not rely on a field."""
        failed = self.of_lines(lambda event, payload: ["[{name}]({url})" + payload["state"] * 0])
        self.assertIn("KeyError: 'state'", failed["test_changed_payloads"])
        self.assertIn("test_other_bodies", failed)

    def test_value_in_a_text(self) -> None:
        """A source must not put a value into a text itself."""

        def with_value(event: str, payload: Any) -> Sequence[str]:
            state = str(payload.get("state")) if isinstance(payload, dict) else ""
            return ["[{name}]({url}) " + state.replace("{", "{{")]

        self.assertIn("test_changed_payloads", self.of_lines(with_value))

    def test_none(self) -> None:
        """A message must not contain None."""
        failed = self.of_lines(lambda event, payload: ["[{name}]({url}) None"])
        self.assertIn("None", failed["test_messages"])

    def test_verification_that_accepts_everything(self) -> None:
        """A signature must be checked."""

        def unchecked(secret: str | Sequence[str]) -> Verification:
            return replace(signature(secret), check=lambda received, secrets: None)

        self.assertEqual(list(self.failures(replace(GOOD, verification=unchecked))), ["test_verification"])

    def test_setup(self) -> None:
        """A placeholder in the instructions must be one that errklein fills, and there are three lines."""
        self.assertIn("{name}", self.failures(replace(GOOD, setup=("Enter {name}.",)))["test_setup"])
        self.assertEqual(list(self.failures(replace(GOOD, setup=("",) * 4))), ["test_setup"])

    def test_changed_payloads(self) -> None:
        """Each value is once missing, and once replaced by each of the replacements."""
        changed = [payload for _, payload in changed_payloads({"a": [{"b": 1}]})]
        self.assertEqual(len(changed), 3 * (1 + len(REPLACEMENTS)))
        for expected in ({}, {"a": None}, {"a": []}, {"a": [None]}, {"a": [{}]}, {"a": [{"b": None}]}):
            self.assertIn(expected, changed)
        self.assertEqual(max(len(str(payload)) for payload in changed) // 1_000, 10)
