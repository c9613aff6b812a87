"""Tests for access rules: BOT_ADMINS, ACCESS_CONTROLS and admin-only commands."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message
from errklein.chat.identifiers import Purpose
from errklein.commands import (
    Caller,
    CommandDeclaration,
    CommandRegistry,
    RegisteredCommand,
    admin_by_default,
    botcmd,
)
from errklein.commands.access import (
    AccessDecision,
    AccessSettings,
    applicable_pattern,
    check_access,
    explain_access,
    unmatched,
)
from errklein.config import Config
from errklein.networks.test import TestOccupant, TestPerson, TestRoom

ALICE = Caller("alice!a@example.org", None, is_admin=False)
ADMIN = Caller("root!r@example.org", None, is_admin=True)


def decide_access(
    plugin: str,
    name: str,
    args: str | None,
    caller: Caller,
    *,
    admin_only: bool = False,
    by_default: bool = False,
    rules: dict[str, Any],
    default: dict[str, Any],
) -> AccessDecision:
    """Return the decision about a command with that name by these rules."""

    def handler() -> None: ...

    command = RegisteredCommand(
        plugin,
        name,
        CommandDeclaration(name, admin_only=admin_only),
        admin_by_default(handler) if by_default else handler,
    )
    return check_access(command, args, caller, config_of(rules, default))


def config_of(rules: dict[str, Any], default: dict[str, Any]) -> AccessSettings:
    """Return the configuration of the network "ops" with these rules and the administrators "gb*"."""
    settings = {"ACCESS_CONTROLS": rules, "ACCESS_CONTROLS_DEFAULT": default, "BOT_ADMINS": ("gb*",)}
    return Config(settings, network="ops")


def reason(
    caller: Caller = ALICE,
    rules: dict[str, dict[str, Any]] | None = None,
    default: dict[str, Any] | None = None,
    admin_only: bool = False,
    args: str = "",
) -> str:
    """Return the denial of "Health:status_gc" to the caller, or "" if the command is allowed."""
    decision = decide_access(
        "Health", "status_gc", args, caller, admin_only=admin_only, rules=rules or {}, default=default or {}
    )
    return decision.denial or ""


def in_room(caller: Caller, room: str = "#ops") -> Caller:
    """Return the same caller in a room."""
    return Caller(caller.user, room, caller.is_admin)


class DecideTests(SynchronousTestCase):
    """Decisions by ACCESS_CONTROLS, ACCESS_CONTROLS_DEFAULT and the option admin_only."""

    def test_renamed_commands(self) -> None:
        """A rule for a command's own name still applies if the command was renamed because of a clash."""
        closed = {"Ops Team:deploy": {"allowusers": ("bob",)}}
        for name in ("deploy", "ops_team-deploy", "ops_team-ops_team-deploy"):
            self.assertIsNotNone(
                decide_access("Ops Team", name, "", ALICE, admin_only=False, rules=closed, default={}).denial, name
            )
        for plugin, name in (("Ops Team", "ops_team-undo"), ("Other", "ops_team-deploy")):
            self.assertIsNone(
                decide_access(plugin, name, "", ALICE, admin_only=False, rules=closed, default={}).denial, name
            )

    def test_disguised_arguments(self) -> None:
        """`denyargs` also matches other spellings of its patterns; `allowargs` matches only the exact text."""
        for args in ("Production", "pro\u200bduction", "\uff50roduction"):
            self.assertIn(
                "provided arguments", reason(args=args, rules={"*": {"denyargs": ("production*",)}}), ascii(args)
            )
            self.assertIn(
                "provided arguments", reason(args=args, rules={"*": {"allowargs": ("production*",)}}), ascii(args)
            )
        self.assertEqual(reason(args="staging", rules={"*": {"denyargs": ("production*",)}}), "")

    @given(st.text(min_size=1))
    def test_an_admin_name_must_match_exactly(self, name: str) -> None:
        """An admin-only command is denied to everyone who isn't an administrator, whatever their name is."""
        self.assertNotEqual(reason(Caller(name, None, is_admin=False), admin_only=True), "")

    def test_spaces_around_and_in_names(self) -> None:
        """Extra whitespace in patterns and plugin names is ignored."""
        self.assertIn("from this user", reason(rules={" Health : status  gc ": {"denyusers": "*"}}))
        decision = decide_access(
            "My Plugin", "x", "", ALICE, admin_only=False, rules={"my plugin:*": {"denyusers": "*"}}, default={}
        )
        self.assertIsNotNone(decision.denial)


class CallerTests(SynchronousTestCase):
    """The sender's name, room and network in access rules."""

    def caller(self, frm: Any, to: Any) -> Caller:
        """A direct message has a sender and no room."""
        return Caller.from_message(Message("x", frm=frm, to=to), config_of({}, {}))

    def test_direct(self) -> None:
        """An occupant of a room who writes to the bot in private is in no room."""
        self.assertEqual(self.caller(TestPerson("gbin"), TestPerson("err")), Caller("gbin", None, True, "ops"))
        self.assertEqual(self.caller(TestOccupant("bob", "#ops"), TestPerson("err")), Caller("bob", None, False, "ops"))

    def test_room(self) -> None:
        """The room is the one to which the message was sent."""
        self.assertEqual(
            self.caller(TestOccupant("bob", "#ops"), TestRoom("#ops")), Caller("bob", "#ops", False, "ops")
        )
        self.assertEqual(self.caller(TestPerson("bob"), TestRoom("#ops")), Caller("bob", "#ops", False, "ops"))

    def test_nobody(self) -> None:
        """A message without a sender isn't from an administrator."""
        config = Config({"BOT_ADMINS": ("*",)})
        self.assertFalse(Caller.from_message(Message("x"), config).is_admin)


class Aliased(TestPerson):
    """A person or room with an id, further names that the server vouches for, and names that somebody claims."""

    def __init__(self, name: str, vouched: Sequence[str] = (), claimed: Sequence[str] = (), admin: bool = True) -> None:
        super().__init__(name)
        self.vouched, self.claimed, self.may_be_admin = vouched, claimed, admin

    def access_names(self, purpose: Purpose) -> tuple[str, ...]:
        """See `Identifier`."""
        if purpose == "admin" and not self.may_be_admin:
            return ()
        return (self.aclattr, *self.vouched, *(self.claimed if purpose == "deny" else ()))


class AliasTests(SynchronousTestCase):
    """Rules on networks on which people and rooms have several names."""

    def decide(self, who: Aliased, where: Aliased | None = None, **rule: Any) -> AccessDecision:
        """Return the decision about a command by one rule."""
        caller = Caller.from_identifier(who, where, config_of({}, {}))
        return decide_access("Health", "status_gc", "", caller, rules={"*": rule}, default={})

    def test_rooms(self) -> None:
        """`allowrooms` matches the id and vouched names, `denyrooms` claimed names, too."""
        where = Aliased("!1:hs", ["#ops:hs"], ["#dev:hs"])
        for name, allowed in (("!1:hs", True), ("#ops:hs", True), ("#dev:hs", False)):
            denial = self.decide(Aliased("bob"), where, allowrooms=(name,)).denial
            self.assertEqual(denial is None, allowed, name)
            self.assertIsNotNone(self.decide(Aliased("bob"), where, denyrooms=(name,)).denial, name)

    def test_administrators(self) -> None:
        """Somebody whose address may be another person's is no administrator, whatever the patterns match."""
        config = Config({"BOT_ADMINS": ("*",)})
        for may_be in (True, False):
            caller = Caller.from_identifier(Aliased("room/bob", admin=may_be), None, config)
            self.assertEqual(caller.is_admin, may_be)

    @given(
        st.lists(st.sampled_from("abcdef"), unique=True, min_size=1),
        st.integers(0, 6),
        st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "[ab]", "*"]), max_size=3),
    )
    def test_claimed_names_never_open(self, names: list[str], vouched: int, patterns: list[str]) -> None:
        """Claimed names open nothing that the others don't open, and each name closes what a rule denies to it."""
        known = max(1, vouched)
        who = Aliased(names[0], names[1:known], names[known:])
        honest = Aliased(names[0], names[1:known])
        for rule in ("allowusers", "denyusers"):
            allowed = self.decide(who, **{rule: patterns}).denial is None
            self.assertLessEqual(allowed, self.decide(honest, **{rule: patterns}).denial is None)
        closed = any(self.decide(Aliased(name), denyusers=patterns).denial for name in names)
        self.assertEqual(self.decide(who, denyusers=patterns).denial is not None, closed)
        config = Config({"BOT_ADMINS": tuple(patterns)})
        admins = [Caller.from_identifier(one, None, config).is_admin for one in (who, honest)]
        self.assertEqual(*admins)


class Doors:
    """A stand-in for a plugin."""

    @admin_by_default
    @botcmd
    def open_door(self, msg: object, args: str) -> str:
        """Open the door."""
        return "open"


class AdminByDefaultTests(SynchronousTestCase):
    """Commands that are admin-only unless ACCESS_CONTROLS allows them to others."""

    def decision(self, caller: Caller, rules: dict[str, Any], default: dict[str, Any] | None = None) -> str:
        """Return the denial, or "" if the command is allowed."""
        registry = CommandRegistry()
        registry.add("Doors", [Doors().open_door])
        command = registry.get("open_door")
        assert command is not None
        return check_access(command, "", caller, config_of(rules, default or {})).denial or ""

    def test_closed(self) -> None:
        """Rules that name no users, and ACCESS_CONTROLS_DEFAULT, open nothing."""
        self.assertEqual(self.decision(ADMIN, {}), "")
        self.assertIn("requires bot-admin", self.decision(ALICE, {}))
        self.assertIn("requires bot-admin", self.decision(ALICE, {"*": {"allowmuc": True, "allowusers": None}}))
        self.assertIn("requires bot-admin", self.decision(ALICE, {}, default={"allowusers": "*"}))

    def test_opened(self) -> None:
        """Users whom a rule allows may use the command, in rooms too; others may not, not even administrators."""
        rules = {"open door": {"allowusers": ("alice!*",)}}
        self.assertEqual(self.decision(ALICE, rules), "")
        self.assertEqual(self.decision(in_room(ALICE), rules), "")
        self.assertIn("from this user", self.decision(ADMIN, rules))
        self.assertIn("from a chatroom", self.decision(in_room(ALICE), {"*": {"allowusers": "*", "allowmuc": False}}))


NAMES = st.sampled_from(["alice", "bob", "#ops", "#dev", "", "a b", "*", "b?b", "status", "status_gc", "nothing"])
LISTS = st.none() | NAMES | st.lists(NAMES, max_size=2).map(tuple)
RULE = st.dictionaries(
    st.sampled_from(["allowusers", "denyusers", "allowrooms", "denyrooms", "allowargs", "denyargs"]), LISTS, max_size=3
).flatmap(
    lambda lists: st.dictionaries(
        st.sampled_from(["allowmuc", "allowprivate"]), st.none() | st.booleans(), max_size=2
    ).map(lambda flags: {**lists, **flags})
)
PATTERNS = st.sampled_from(["*", "status*", "Health:*", "health:status gc", "other", "Other:*", "[", "?tatus_gc"])
CALLERS = st.builds(Caller, NAMES, st.none() | NAMES, st.booleans())


class VerdictTests(SynchronousTestCase):
    """Explanations of decisions."""

    @given(CALLERS, NAMES, st.booleans(), st.booleans(), st.dictionaries(PATTERNS, RULE, max_size=3), RULE)
    def test_the_explanation_agrees(
        self,
        caller: Caller,
        args: str,
        admin_only: bool,
        by_default: bool,
        rules: dict[str, Any],
        default: dict[str, Any],
    ) -> None:
        """The explanation agrees with the decision, and names a rule of the configuration that decides it."""
        how: dict[str, Any] = {"admin_only": admin_only, "by_default": by_default}
        decision = decide_access("Health", "status_gc", args, caller, rules=rules, default=default, **how)
        denial = decision.denial
        text = explain_access(caller, "!status gc", decision)
        self.assertEqual(denial is None, " may use !status gc " in text)
        self.assertEqual(denial is not None, " may not use !status gc " in text)
        for rule in decision.rules:
            if rule.value is not None:
                source = default if rule.pattern is None else rules[rule.pattern]
                self.assertEqual(source[rule.key], rule.value)
                self.assertIn(repr(rule.value), text if rule is decision.rules[-1] else repr(rule))
        if denial is None:
            return
        self.assertIn(denial, text)
        decisive = decision.rules[-1]
        if decisive.value is None:
            self.assertTrue(admin_only or by_default)
            return
        # Without that one key something else decides, or nothing does.
        if decisive.pattern is None:
            default = {key: value for key, value in default.items() if key != decisive.key}
        else:
            changed = {**rules[decisive.pattern], decisive.key: None}
            rules = {**rules, decisive.pattern: changed}
        again = decide_access("Health", "status_gc", args, caller, rules=rules, default=default, **how)
        self.assertNotIn(decisive, again.rules)

    @given(CALLERS, NAMES, st.dictionaries(PATTERNS, RULE, max_size=3), RULE)
    def test_admin_only_is_always_enforced(
        self, caller: Caller, args: str, rules: dict[str, Any], default: dict[str, Any]
    ) -> None:
        """No configuration opens an admin-only command to other people."""
        stranger = Caller(caller.user, caller.room, is_admin=False)
        self.assertIsNotNone(
            decide_access("Health", "status_gc", args, stranger, admin_only=True, rules=rules, default=default).denial
        )


class UnmatchedTests(SynchronousTestCase):
    """Patterns that match no command."""

    @given(st.lists(st.sampled_from(["*", "help", "Help:*", "he?p", "about", "Health:*", "status gc", "x y"])))
    def test_unmatched(self, patterns: list[str]) -> None:
        """Unmatched patterns match none of the commands, and all others match at least one."""
        commands = [("Help", "help"), ("Health", "status_gc")]
        alone = unmatched(patterns, commands)
        for pattern in patterns:
            self.assertEqual(pattern in alone, not any(applicable_pattern(*command, [pattern]) for command in commands))
