"""The table of schemes, from which settings choose."""

from __future__ import annotations

import contextlib
import inspect
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from errklein.verify import SCHEMES, Received, Refused, Verification, verification
from errklein.webhooks.deliveries import DeliveryState, StoredDelivery, StoredRequest


class VerificationByNameTests(SynchronousTestCase):
    """`verification` with the name of a scheme and its options."""

    def rejected(self, *scheme: object, **options: object) -> str:
        """Return the text of the ValueError."""
        return str(self.assertRaises(ValueError, verification, *scheme, **options))

    def test_known_scheme(self) -> None:
        """The name and the options give the same verification as the function."""
        found = verification("github", secret="env:GH_SECRET")
        self.assertIsInstance(found, Verification)
        self.assertEqual((found.scheme, found.secrets), ("github", ("env:GH_SECRET",)))

    def test_unknown_scheme(self) -> None:
        """The error names the scheme, the valid ones and a suggestion."""
        text = self.rejected("githup", secret="env:GH_SECRET")
        self.assertIn("unknown verification: 'githup'; expected one of ", text)
        self.assertIn(", ".join(sorted(SCHEMES)), text)
        self.assertTrue(text.endswith("; did you mean 'github'?"), text)
        self.assertIn("unknown verification: 5", self.rejected(5))

    def test_unknown_option(self) -> None:
        """The error names the option, the valid ones and a suggestion."""
        self.assertEqual(
            self.rejected("slack", secret="env:S", tolerence=5),
            "unknown option of the verification slack: 'tolerence'; expected secret, tolerance; did you mean 'tolerance'?",
        )

    def test_missing_option(self) -> None:
        """The error names the missing option."""
        self.assertEqual(
            self.rejected("github"), "the verification github needs the option 'secret', such as 'secret': 'env:NAME'"
        )

    def test_values_of_other_types(self) -> None:
        """Any value of an option makes a verification or is an error; one of another type is named with its option."""
        options = {"secret": "env:A", "user": "u", "allowed": "10.0.0.0/8", "header": "X-Sig", "public_key": "00" * 32}
        values = (
            None,
            True,
            1,
            -1.5,
            float("nan"),
            "",
            "x",
            "\udc80",
            b"hunter2",
            [],
            ["hunter2", 3],
            {"hunter2": 1},
            [[]],
        )
        for scheme, factory in SCHEMES.items():
            names = inspect.signature(factory).parameters
            for name in names:
                for value in values:
                    given = {key: option for key, option in options.items() if key in names} | {name: value}
                    with contextlib.suppress(ValueError):
                        self.assertEqual(verification(scheme, **given).scheme, scheme)
        error = self.assertRaises(ValueError, verification, "hmac_signature", secret="env:A", header=b"hunter2")
        self.assertEqual(
            str(error), "the option 'header' of the verification hmac_signature must be a string, not a bytes"
        )

    def test_invalid_tolerance(self) -> None:
        """A tolerance that isn't a positive number is an error."""
        for name in ("stripe", "slack"):
            scheme = verification(name, secret="env:S", tolerance=0.5)
            received = Received("POST", "", (), b"{}", "", 10.0)
            signed = replace(received, headers=scheme.sign(received, b"key"))
            self.assertIsNone(scheme.verify(signed, [b"key"]))
            self.assertRaises(Refused, scheme.verify, replace(signed, now=11.0), [b"key"])
        for tolerance in (0, -1, float("nan"), float("inf"), "5", None, True):
            self.assertIn("tolerance", self.rejected("slack", secret="env:S", tolerance=tolerance))

    def test_invalid_values(self) -> None:
        """The errors name the invalid value, and what is expected."""
        for options, text in (
            ({"allowed": "192.0.2.7/24"}, "invalid address or range: 192.0.2.7/24 has host bits set"),
            ({"allowed": []}, "no address is allowed; name addresses or ranges, such as '198.51.100.0/24'"),
            ({"user": "a:b"}, "invalid user name: 'a:b'; expected a text without a colon"),
            ({"public_key": "ab"}, "invalid public key: 'ab'; expected 32 bytes, encoded as the source shows them"),
            ({"algorithm": "md5"}, "invalid algorithm: 'md5'; expected 'sha1' or 'sha256'"),
            ({"prefix": "é"}, "invalid prefix of headers: 'é'; expected 'webhook' or 'svix'"),
            ({"header": "X: y"}, "invalid name of a header: 'X: y'"),
            ({"header": "X", "timestamp_header": "é"}, "invalid name of a header: 'é'"),
            (
                {"header": "X", "algorithm": "md5"},
                "invalid algorithm: 'md5'; expected one of sha1, sha256, sha384, sha512",
            ),
            ({"header": "X", "encoding": "HEX"}, "invalid encoding: 'HEX'; expected one of base64, hex"),
            (
                {"header": "X", "signed": "x"},
                "invalid signed text: 'x'; expected {body}, and {timestamp} with a timestamp_header",
            ),
            ({"header": "X", "signed": "{body}{body}"}, "invalid signed text: '{body}{body}'; expected {body}"),
            (
                {"header": "X", "signed": "{timestamp}{body}"},
                "invalid signed text: '{timestamp}{body}'; expected {body}",
            ),
            (
                {"header": "X", "timestamp_header": "Y", "signed": "{body}"},
                "invalid signed text: '{body}'; expected {body}",
            ),
        ):
            found = []
            for name, scheme in SCHEMES.items():
                parameters = inspect.signature(scheme).parameters
                if set(options) <= set(parameters):
                    secret = {"secret": "env:A"} if "secret" in parameters else {}
                    try:
                        verification(name, **secret, **options)
                    except ValueError as error:
                        found.append(str(error))
            self.assertTrue(any(one.startswith(text) for one in found), (options, found))


class ReferenceTests(SynchronousTestCase):
    """References to secrets, in the configuration of each scheme."""

    def test_rotation(self) -> None:
        """Several references are accepted."""
        self.assertEqual(verification("github", secret=["env:NEW", "file:/old"]).secrets, ("env:NEW", "file:/old"))

    def test_value_instead_of_a_reference(self) -> None:
        """The value of a secret is an error, which doesn't repeat it."""
        for secret in (
            "hunter2hunter2",
            ["env:GH", "hunter2hunter2"],
            "env:hunter2-hunter2",
            "file:hunter2",
            b"hunter2",
        ):
            text = str(self.assertRaises(ValueError, verification, "github", secret=secret))
            self.assertNotIn("hunter2", text)
            self.assertIn("'env:NAME', 'file:/path' or 'credential:NAME'", text)

    def test_no_secret(self) -> None:
        """No reference, or an empty one, is an error."""
        for secret in ("", None, 5, [], [""], ["env:"], "credential:../x"):
            self.assertRaises(ValueError, verification, "github", secret=secret)

    def test_own_verification(self) -> None:
        """A verification that a plugin defines itself takes references, too."""
        self.assertRaises(ValueError, Verification, "own", lambda *_: None, ("hunter2",))


class ReprTests(SynchronousTestCase):
    def test_secrets_of_requests(self) -> None:
        """The repr of a request, as in a traceback, has no header, URL or body, which may be secret."""
        headers = [(b"x-gitlab-token", b"5ecre7")]
        received = Received("POST", "https://bot.example/?token=5ecre7", headers, b"5ecre7", "192.0.2.1", 0.0)
        stored = StoredRequest("POST", "/?token=5ecre7", headers, b"5ecre7")
        delivery = StoredDelivery(1, "Builds:build", DeliveryState.RECEIVED, 0.0, request=stored)
        self.assertNotIn("5ecre7", repr((received, stored, delivery)))
