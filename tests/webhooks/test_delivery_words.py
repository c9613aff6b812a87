"""Tests for the words that select deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState
from errklein.webhooks.delivery_words import (
    MAX_COUNT,
    InvalidWords,
    ReplayWords,
    UnknownWebhook,
    parse_ids,
    parse_list,
    parse_replay,
    parse_time,
)

NOW = 1_800_000_000.0
HOOKS = {"/github": "Github:notification", "/builds/<int:number>": "Builds:build"}
WEBHOOKS = ("Gone:hook",)

FIELDS: st.SearchStrategy[DeliveryQuery] = st.builds(
    DeliveryQuery,
    webhook=st.sampled_from([None, "Github", "Github:notification", "Gone:hook"]),
    states=st.one_of(st.none(), st.lists(st.sampled_from(DeliveryState), min_size=1).map(tuple)),
    since=st.one_of(st.none(), st.integers(0, 10**9 - 1).map(lambda ago: NOW - ago)),
    until=st.one_of(st.none(), st.integers(0, 10**9 - 1).map(lambda ago: NOW - ago)),
    before=st.one_of(st.none(), st.integers(1, 10**18 - 1)),
    limit=st.integers(1, MAX_COUNT),
    key=st.sampled_from([None, "72d3162e", "failed", "since"]),
    status=st.sampled_from([None, 0, 401, 599]),
    reason=st.sampled_from([None, "doesn't match", "limit"]),
)


def groups(query: DeliveryQuery) -> list[list[str]]:
    """Return the words of a query. Those of one group belong together; the groups may have any order."""
    named = {
        "before": query.before,
        "limit": query.limit,
        "source-id": query.key,
        "status": query.status,
        "reason": query.reason,
    }
    ago = {"since": query.since, "until": query.until}
    return [
        *([[query.webhook]] if query.webhook else []),
        [str(state) for state in query.states or ()],
        *([name, str(value)] for name, value in named.items() if value is not None),
        *([name, f"{NOW - value:.0f}s"] for name, value in ago.items() if value is not None),
    ]


class ParseWordsTests(SynchronousTestCase):
    """`parse_list`, `parse_time` and `parse_ids`."""

    def invalid(self, words: str, hooks: dict[str, str] = HOOKS) -> str:
        """Return the error of words."""
        return str(self.assertRaises(InvalidWords, parse_list, words.split(), NOW, hooks, WEBHOOKS))

    @given(FIELDS, st.data())
    def test_any_order(self, query: DeliveryQuery, data: st.DataObject) -> None:
        """The words of a query give that query in any order."""
        words = [word for group in data.draw(st.permutations(groups(query))) for word in group]
        self.assertEqual(parse_list(words, NOW, HOOKS, WEBHOOKS), (query, False))

    @given(st.lists(st.one_of(st.text(), st.sampled_from(["since", "until", "limit", "2h", "Github", "failed"]))))
    def test_any_text(self, words: Sequence[str]) -> None:
        """Any words give a query or InvalidWords."""
        for hooks in (HOOKS, {}):
            try:
                self.assertLessEqual(parse_list(words, NOW, hooks)[0].limit, MAX_COUNT)
            except InvalidWords as error:
                self.assertNotIn("\n", str(error))

    @given(st.datetimes(datetime(1980, 1, 1), datetime(2200, 1, 1)))
    def test_iso_dates(self, time: datetime) -> None:
        """An ISO date is in the local time zone unless it has one."""
        self.assertEqual(parse_time(time.isoformat(), NOW), time.timestamp())
        self.assertEqual(
            parse_time(f"{time.isoformat()}+02:00", NOW), datetime.fromisoformat(f"{time}+02:00").timestamp()
        )

    def test_times(self) -> None:
        """A duration is a time before now; other texts are errors with examples."""
        for text, seconds in (("45s", 45), ("30m", 1800), ("2h", 7200), ("3d", 259200), ("1w", 604800), ("10min", 600)):
            self.assertEqual(parse_time(text, NOW), NOW - seconds)
        for text in ("", "2", "h", "2 h", "-2h", "2y", "yesterday", "0001-01-01", "٢h", "9" * 5000 + "h"):
            self.assertIn("examples are 10min, 2h", str(self.assertRaises(InvalidWords, parse_time, text, NOW)))

    def test_urls(self) -> None:
        """The path of a webhook selects it."""
        self.assertEqual(parse_list(["/github"], NOW, HOOKS)[0].webhook, "Github:notification")
        self.assertIn("unknown webhook '/gitub'; did you mean '/github'?", self.invalid("/gitub"))
        self.assertEqual(self.invalid("/github", {}), "unknown webhook '/github'; known are Gone:hook")

    def test_unknown_words(self) -> None:
        """The error for an unknown word has a suggestion and the valid words."""
        for hooks in (HOOKS, {}):
            error = self.invalid("faild", hooks)
            self.assertTrue(error.startswith("unknown word 'faild'; did you mean 'failed'? valid are "), error)
            self.assertIn("received, running, retry, done, dead, failed, duplicate, refused, since TIME", error)

    def test_unknown_webhooks(self) -> None:
        """The error for a name that no webhook has is one of its own, with a suggestion and the known ones."""
        for word in ("Gitub", "Gitub:notification", "/x", "Github:"):
            error = self.assertRaises(UnknownWebhook, parse_list, [word], NOW, HOOKS, WEBHOOKS)
            self.assertIn(f"unknown webhook '{word}'; ", str(error))
            self.assertTrue(str(error).endswith("known are Builds:build, Github:notification, Gone:hook"), str(error))
        self.assertIn("did you mean 'Github'?", self.invalid("Gitub"))
        self.assertIn("unknown word 'github'; did you mean 'Github'?", self.invalid("github"))
        many = [f"Plugin{number}:hook" for number in range(30)]
        error = self.assertRaises(UnknownWebhook, parse_list, ["X:y"], NOW, {}, many)
        self.assertTrue(str(error).endswith("Plugin27:hook …"), str(error))

    def test_invalid_values(self) -> None:
        """The error for a missing, repeated or invalid value has the keyword."""
        for words, error in (
            ("failed since", "the value after 'since' is missing"),
            ("since 2h since 3h", "since is given twice; the second is '3h'"),
            ("Github Builds", "webhook is given twice; the second is 'Builds'"),
            ("limit 0", "the value after 'limit': expected a number from 1 to 1000, not '0'"),
            ("limit 1001", "the value after 'limit': expected a number from 1 to 1000, not '1001'"),
            ("status 600", "the value after 'status': expected an HTTP status, or 0 for none, not '600'"),
            ("answered 99999", "the value after 'answered': expected an HTTP status, or 0 for none, not '99999'"),
            ("before x", "the value after 'before': expected the id of a delivery, not 'x'"),
        ):
            self.assertEqual(self.invalid(words), error)

    def test_replays(self) -> None:
        """Without a state, failed and dead deliveries are replayed, as many as possible without a limit."""
        failed = (DeliveryState.FAILED, DeliveryState.DEAD)
        query = DeliveryQuery("Github", failed, limit=MAX_COUNT)
        self.assertEqual(parse_replay(["Github"], NOW, HOOKS), ReplayWords((), query, False))
        self.assertEqual(parse_replay(["force", "Github"], NOW, HOOKS), ReplayWords((), query, True))
        done = DeliveryQuery(states=(DeliveryState.DONE,), limit=1000)
        self.assertEqual(parse_replay(["done", "limit", "1000"], NOW, HOOKS).query, done)
        self.assertEqual(parse_replay(["done", "limit", "7"], NOW, HOOKS).query.limit, 7)
        self.assertEqual(parse_replay(["7", "force", "9"], NOW, HOOKS), ReplayWords([7, 9], DeliveryQuery(), True))
        for words, spacing in (("7 rate 2/s", 0.5), ("rate 500/h Github", 7.2), ("7 force", 0.0)):
            self.assertEqual(parse_replay(words.split(), NOW, HOOKS).spacing, spacing)
        for words in (["7", "rate"], ["7", "rate", "fast"], ["rate", "0/s", "failed"]):
            self.assertIn("'rate'", str(self.assertRaises(InvalidWords, parse_replay, words, NOW, HOOKS)))
        for words in ([], ["force"]):
            self.assertIn("name ids", str(self.assertRaises(InvalidWords, parse_replay, words, NOW, HOOKS)))

    def test_options_as_values(self) -> None:
        """A word after a keyword is its value, also if it is an option or keyword elsewhere."""
        query, is_grouped = parse_list(["reason", "grouped", "source-id", "limit"], NOW, HOOKS)
        self.assertEqual((query.reason, query.key, query.limit, is_grouped), ("grouped", "limit", 20, False))
        self.assertEqual(
            parse_list(["failed", "grouped"], NOW, HOOKS),
            (DeliveryQuery(states=(DeliveryState.FAILED,), limit=1000), True),
        )
        given = parse_replay(["reason", "force", "source-id", "limit"], NOW, HOOKS)
        self.assertEqual((given.query.reason, given.query.limit, given.force), ("force", MAX_COUNT, False))

    def test_ids(self) -> None:
        """Ids are recognised only if all words are ids."""
        self.assertEqual(parse_ids(["7", "12"]), [7, 12])
        for words in ([], ["7", "failed"], ["-7"], ["7" * 19], ["٧"]):
            self.assertIsNone(parse_ids(words))
