"""From `!webhook new` in a room to a message there, as GitHub, GitLab and Gitea send their events."""

from __future__ import annotations

import re

from errklein.sources import find_source
from errklein.testing import PluginTestCase
from errklein.verify import Received
from tests.sources.bodies import Sample, as_form, example

URL, SECRET = re.compile(r"(/hooks/[\w/-]+)"), re.compile(r"Secret: `?([^\s`]+)")


class ForgesTests(PluginTestCase):
    plugins = ()
    config = {"PUBLIC_URL": "https://bot.example.net"}

    def check(self, source: str, sample: Sample, signed: bytes, message: str) -> None:
        """Check that a request of which this part is signed has a message in the room, and that another one is refused."""
        shown = "\n".join(one.text for one in self.bot.say(f"!webhook new {source}", room="#ops") if one.to == "@admin")
        url, secret = URL.search(shown), SECRET.search(shown)
        assert url and secret, shown
        headers, body = sample
        given = {"Content-Type": "application/json", **headers}
        pairs = [(name.lower().encode(), value.encode()) for name, value in given.items()]
        signed_part = Received("POST", "", pairs, signed, "", self.bot.reactor.seconds())
        verification = find_source(source).verification(secret="env:SECRET")
        for key, status, sent in ((b"another", 401, []), (secret[1].encode(), 202, [message])):
            before = len(self.bot.sent_to("#ops"))
            signature = {name.decode(): value.decode() for name, value in verification.sign(signed_part, key)}
            self.assertEqual(self.post(url[1], body=body, headers={**given, **signature}).status, status)
            self.bot.advance(1)
            self.assertEqual(self.bot.sent_to("#ops")[before:], sent)

    def test_github(self) -> None:
        """GitHub signs the body, also that of a form."""
        commit = "https://github.com/Codertocat/Hello-World/commit/6113728f27ae82c7b1a177c8d03f9e96e0adf246"
        message = (
            f"Codertocat pushed 1 commit to master ({commit}) in Codertocat/Hello-World\n"
            f"- 6113728 ({commit}) Initial commit (Codertocat)"
        )
        sample = example("github", "X-GitHub-Event")
        self.check("github", sample, sample[1], message)
        self.check("github", as_form(sample), as_form(sample)[1], message)

    def test_gitlab(self) -> None:
        """GitLab sends a token."""
        sample = example("gitlab")
        self.check(
            "gitlab",
            sample,
            sample[1],
            "Ada Novak opened merge request !12 Show the basket on phones"
            " (https://gitlab.example.net/shop/website/-/merge_requests/12) in shop/website\n"
            " The basket was hidden below 600 pixels.",
        )

    def test_gitea(self) -> None:
        """Gitea signs the JSON, also that in a form; so does Forgejo."""
        shop, new = "https://git.example.net/shop/website", "5f3e1c2b4a6978d0e1f2a3b4c5d6e7f809182736"
        message = (
            f"ada pushed 1 commit to main ({shop}/compare/28e1879d029cb852e4844d9c718537df08844e03...{new})"
            f" in shop/website\n- 5f3e1c2 ({shop}/commit/{new}) Show the basket (Ada Novak)"
        )
        sample = example("gitea", "X-Gitea-Event")
        self.check("gitea", sample, sample[1], message)
        self.check("forgejo", as_form(sample), sample[1], message)
