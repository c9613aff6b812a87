"""`errklein sign`: signed requests for tests."""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein import cli
from errklein.verify import Received
from tests.verify.vectors import EVERY, TOKENS, VECTORS, Vector

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class SignTests(SynchronousTestCase):
    """The command line, with a secret in the environment."""

    def setUp(self) -> None:
        """Create a body, and capture the output."""
        self.body = Path(self.mktemp()).resolve()
        self.body.write_bytes(b'{"it\'s": "a body"}')
        os.environ["A"] = SECRET
        self.addCleanup(os.environ.pop, "A")
        self.output, self.errors = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.output)
        self.patch(sys, "stderr", self.errors)

    def sign(self, *arguments: str) -> str:
        """Run `errklein sign` and return its output, which must not have the secret."""
        self.output.seek(0)
        self.output.truncate()
        self.assertEqual(cli.main(["sign", *arguments]), 0)
        self.assertNotIn(SECRET, self.output.getvalue())
        return self.output.getvalue()

    def error(self, *arguments: str) -> str:
        """Run `errklein sign` and return the error."""
        raised = self.assertRaises(SystemExit, cli.main, ["sign", *arguments])
        self.assertNotIn(SECRET, self.errors.getvalue())
        return f"{raised}{self.errors.getvalue()}"

    def arguments(self, vector: Vector) -> list[str]:
        """Return the arguments for the scheme of a vector."""
        options = [f"--option={name}={value}" for name, value in vector.options.items()]
        content = "application/x-www-form-urlencoded" if vector.others and b"content-type" in vector.others else "a/b"
        url = f"--url={vector.url}"
        return [vector.scheme, str(self.body), "--secret=env:A", f"--header=Content-Type: {content}", url, *options]

    def test_own_verification_accepts_it(self) -> None:
        """The headers of each scheme with a signature are accepted by its verification."""
        signed = [vector for vector in VECTORS if vector.secret]
        self.assertGreater(len({vector.scheme for vector in signed}), 11)
        for vector in signed:
            now = time.time()
            body = {
                "linear": b'{"webhookTimestamp": %d}' % (now * 1000),
                "twilio": vector.body,
            }.get(vector.scheme, b"any \xff body")
            self.body.write_bytes(body)
            given = json.loads(self.sign(*self.arguments(vector), "--json"))
            headers = [(name.encode(), value.encode()) for name, value in given.items()]
            received = Received("POST", vector.url, headers, body, "", now)
            self.assertIsNone(vector.verification.verify(received, [SECRET.encode()]), vector.name)

    def test_curl(self) -> None:
        """The command is curl's, with the URL, the headers, and the file."""
        name = "x-hub-signature-256"
        arguments = ["github", str(self.body), "--secret=env:A"]
        written = self.sign(*arguments, "--url=http://x/?a&b", "--header=X-A: 'b")
        given = shlex.split(written.replace("\\\n", ""))
        signature = json.loads(self.sign(*arguments, "--json"))[name]
        headers = ["-H", "x-a: 'b", "-H", "content-type: application/json", "-H", f"{name}: {signature}"]
        self.assertEqual(given, ["curl", "-i", "http://x/?a&b", *headers, "--data-binary", f"@{self.body}"])

    def test_content_type(self) -> None:
        """A body that isn't JSON is a form, unless a header says otherwise."""
        self.body.write_bytes(b"a=b")
        for more, expected in (([], "application/x-www-form-urlencoded"), (["--header=Content-type:x/y"], "x/y")):
            given = json.loads(self.sign("github", str(self.body), "--secret=env:A", "--json", *more))
            self.assertEqual(given["content-type"], expected)

    def test_own_id(self) -> None:
        """An id that is given as a header is signed."""
        arguments = ["standard_webhooks", str(self.body), "--secret=env:A", "--json"]
        self.assertEqual(json.loads(self.sign(*arguments, "--header=Webhook-Id: 5"))["webhook-id"], "5")
        self.assertRegex(json.loads(self.sign(*arguments))["webhook-id"], "^msg_[0-9a-f]{24}$")

    def test_tokens(self) -> None:
        """For a scheme whose secret is a token, the header has the token, and the scheme's verification accepts it."""
        for vector in TOKENS:
            self.assertEqual(cli.main(["sign", *self.arguments(vector), "--json"]), 0)
            headers = [(name.encode(), value.encode()) for name, value in self.written().items()]
            received = Received("POST", vector.url, headers, self.body.read_bytes(), "", 0)
            self.assertIsNone(vector.verification.verify(received, [SECRET.encode()]), vector.name)
        self.assertEqual(cli.main(["sign", "bearer", str(self.body), "--secret=env:A"]), 0)
        self.assertIn(f"-H 'authorization: Bearer {SECRET}'", self.output.getvalue())

    def written(self) -> dict[str, str]:
        """Return the last line of the output."""
        values: dict[str, str] = json.loads(self.output.getvalue().splitlines()[-1])
        return values

    def test_schemes_without_signature(self) -> None:
        """A scheme with an address or a private key can't be signed."""
        signed = {vector.scheme for vector in [*VECTORS, *TOKENS] if vector.secret}
        for vector in EVERY:
            if vector.scheme not in signed:
                secret = ["--secret=env:A"] if vector.secret else []
                arguments = [one for one in self.arguments(vector) if not one.startswith("--secret")]
                self.assertIn(f"can't be signed for {vector.scheme}", self.error(*arguments, *secret))

    def test_errors(self) -> None:
        """Invalid arguments, and a file or secret that can't be read, are errors of one line."""
        body = str(self.body)
        for arguments, text in (
            (["githup", body, "--secret=env:A"], "did you mean 'github'?"),
            (["github", body], "the verification github needs the option 'secret', such as --secret env:NAME"),
            (["github", body, f"--secret={SECRET}"], "a secret must be given by reference"),
            (["github", body, "--secret=env:B_MISSING"], "errklein: env:B_MISSING: the secret is missing"),
            (["github", body, "--secret=env:A", "--header=x"], "invalid header: 'x'; expected 'Name: value'"),
            (["github", body, "--secret=env:A", "--option=x=1"], "unknown option of the verification github: 'x'"),
            (["github", f"{body}.x", "--secret=env:A"], f"errklein: {body}.x can't be read: No such file or directory"),
            (
                ["addresses", body, "--option=allowed=192.0.2.1"],
                "can't be signed for addresses: it has no secret, or",
            ),
            (["twilio", body, "--secret=env:A"], "can't be signed for twilio: the body isn't a form, and the query"),
        ):
            self.assertIn(text, self.error(*arguments))
