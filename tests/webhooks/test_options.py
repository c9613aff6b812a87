"""The setting WEBHOOKS: its check, and how it changes the declarations of plugins."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.verify import Received, UnusableSecret, github
from errklein.webhooks import Hook, HookDeclaration, webhook
from errklein.webhooks.option_values import HookError, Rate
from errklein.webhooks.options import configured, hook_options, unknown_hooks
from errklein.webhooks.source import Source

ROUTE = "Github:notification"
KEYS = (ROUTE, "verify", "ack", "rate", "secret", "methods", "dedupe", "dedupe_window", "allowed", "header", "prefix")
PLAIN = HookDeclaration("/github")
METHODS = ("POST", "GET")


def invalid(setting: Any) -> str:
    """Return the error of an invalid value of WEBHOOKS."""
    try:
        hook_options(setting)
    except HookError as error:
        return str(error)
    raise AssertionError("the setting is valid")


def with_options(declaration: HookDeclaration, **options: Any) -> HookDeclaration:
    """Return the declaration of a webhook for which the operator has set options."""
    hook = Hook("Github", "notification", declaration, print)
    return configured(hook, hook_options({ROUTE: options}), METHODS, find).declaration


SOURCE = Source("hub", "Hub", lambda event, payload: [], github)


def find(name: str) -> Source:
    """Return the only source that these tests have."""
    if name != "hub":
        raise HookError(f"there is no source {name!r}")
    return SOURCE


class SourceTests(SynchronousTestCase):
    """Webhooks of plugins with a source."""

    def of_source(self, options: dict[str, Any] | None = None, **given: Any) -> HookDeclaration:
        """Return the declaration of a webhook with a source, as the operator has configured it."""
        method = webhook("/hub", **{"source": "hub", **given})(lambda self, event: "")
        declaration = HookDeclaration.of(method)
        assert declaration is not None
        return configured(
            Hook("Hub", "event", declaration, print), hook_options({"Hub:event": options or {}}), METHODS, find
        ).declaration

    def test_verified_as_the_source_signs(self) -> None:
        """The source decides how its requests are verified, and that they are POST."""
        found = self.of_source(secret="env:GH", events=["push"])
        assert found.verify is not None
        self.assertEqual((found.verify.scheme, found.verify.secrets), ("github", ("env:GH",)))
        self.assertEqual((found.source, found.events, found.methods), (SOURCE, ("push",), ("POST",)))

    def test_secret_of_the_operator(self) -> None:
        """The operator names the secret and the events."""
        found = self.of_source({"secret": ["env:NEW", "env:OLD"], "events": ["issues"]})
        assert found.verify is not None
        self.assertEqual((found.verify.secrets, found.events), (("env:NEW", "env:OLD"), ("issues",)))

    def test_no_secret(self) -> None:
        """Without a secret no request is authentic, and the reason says what to set."""
        verify = self.of_source().verify
        assert verify is not None
        error = self.assertRaises(UnusableSecret, verify.verify, Received("POST", "", (), b"", "", 0.0), [])
        self.assertIn(
            "set it in config.py, by the option secret of WEBHOOKS['Hub:event'], such as env:NAME", str(error)
        )

    def test_other_verification(self) -> None:
        """The operator may replace or switch off the source's verification."""
        self.assertIsNone(self.of_source({"verify": None}, secret="env:GH").verify)

    def test_unknown_source(self) -> None:
        """An unknown source is an error that names the webhook."""
        error = self.assertRaises(HookError, self.of_source, source="hup")
        self.assertEqual(str(error), "Hub:event: there is no source 'hup'")

    def test_options_that_exclude_each_other(self) -> None:
        """A source has its own verification and payload."""
        for options in ({"raw": True}, {"form_param": "payload"}, {"verify": github(secret="env:X")}):
            error = self.assertRaises(ValueError, self.of_source, **options)
            self.assertIn(f"expected no {next(iter(options))} with the source 'hub'", str(error))

    def test_options_without_a_source(self) -> None:
        """Events and a secret need a source."""
        for options in ({"events": ["push"]}, {"secret": "env:X"}):
            error = self.assertRaises(ValueError, self.of_source, source=None, **options)
            self.assertIn("expected source='github' or another one for", str(error))


class HookOptionsTests(SynchronousTestCase):
    """The check of the setting."""

    def test_example(self) -> None:
        """Options of the webhook and of its verification are in one dict."""
        options = {
            "verify": "github",
            "secret": "env:GH_SECRET",
            "ack": "now",
            "rate": "10/s",
            "methods": ["post"],
            "dedupe": "id",
            "dedupe_window": "1d",
        }
        checked = hook_options({ROUTE: options})[ROUTE]
        verify = checked["verify"]
        self.assertEqual((verify.scheme, verify.secrets), ("github", ("env:GH_SECRET",)))
        self.assertEqual((checked["ack"], checked["rate"], checked["methods"]), ("now", Rate(10, 1), ("POST",)))
        self.assertEqual((checked["dedupe"], checked["dedupe_window"]), ("id", 86400.0))
        self.assertEqual(hook_options({}), {})

    def test_verification_as_a_value(self) -> None:
        """config.py may create the verification itself."""
        verify = github(secret="env:GH_SECRET")
        self.assertIs(hook_options({ROUTE: {"verify": verify}})[ROUTE]["verify"], verify)

    def test_names(self) -> None:
        """A webhook is named by its plugin and its method."""
        for name in ("Github", "Github.notification", ":x", "Github:", "Github:a b", 3, None):
            self.assertEqual(
                invalid({name: {}}),
                "WEBHOOKS: expected names such as 'Github:notification', of a plugin and its method, or such as 'alerts', of a "
                f"webhook of a room, not {name!r}",
            )

    def test_structure(self) -> None:
        """A collection of another kind isn't shown, since it may contain secrets."""
        self.assertEqual(invalid(["secret"]), "WEBHOOKS: expected a dict of webhooks, not a list")
        self.assertEqual(
            invalid({ROUTE: ["secret"]}), "WEBHOOKS['Github:notification']: expected a dict of options, not a list"
        )

    def test_errors(self) -> None:
        """An error names the webhook, the option and valid values, with a suggestion for a misspelt name."""
        for options, text in (
            ({"rat": "10/s"}, "unknown option 'rat'; did you mean 'rate'?"),
            ({"verify": "github", "secert": "x"}, "unknown option 'secert'; did you mean 'secret'?"),
            ({"raw": True}, "unknown option 'raw'; expected one of ack, anywhere, attempts, dedupe, dedupe_window, "),
            ({"secret": "hunter2"}, "secret: expected a reference such as 'env:GH_SECRET', or several, not a str"),
            ({"events": "push"}, "events: expected a list of events such as ['push', 'pull_request.*'], not 'push'"),
            ({1: 2}, "unknown option 1; expected one of ack, "),
            ({"rate": "10/d"}, "rate: expected a rate such as '10/s', '100/min' or '1000/h', not '10/d'"),
            ({"ack": None}, "ack: expected 'after' or 'now', not None"),
            (
                {"methods": "PSOT"},
                "methods: expected HTTP methods among GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, not ",
            ),
            (
                {"methods": ["PSOT"]},
                "methods: expected HTTP methods among GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, not 'PSOT'; did you mean 'POST'?",
            ),
            ({"methods": []}, "methods: expected HTTP methods such as ('POST',), not a list"),
            ({"timeout": 0}, "timeout: expected a number of seconds, more than 0, not 0"),
            ({"max_body": "1 MB"}, "max_body: expected a whole number, at least 1, not '1 MB'"),
            ({"verify": "gihub", "secret": "env:X"}, "unknown verification: 'gihub'; expected one of "),
            ({"verify": "github"}, "the verification github needs the option 'secret', such as 'secret': 'env:NAME'"),
            (
                {"verify": True},
                "verify: expected a verification such as errklein.verify.github(secret='env:NAME'), not a bool",
            ),
        ):
            self.assertTrue(
                invalid({ROUTE: options}).startswith(f"WEBHOOKS[{ROUTE!r}]: {text}"), invalid({ROUTE: options})
            )
        self.assertTrue(invalid({ROUTE: {"verify": "gihub"}}).endswith("; did you mean 'github'?"))

    def test_no_secret_in_errors(self) -> None:
        """A secret that is given as a value is an error, which doesn't repeat it."""
        for options in (
            {"verify": "github", "secret": "hunter2"},
            {"verify": "github", "secret": ["env:OLD", "hunter2"]},
            {"verify": "github", "secret": b"hunter2"},
            {"verify": b"hunter2"},
            {"verify": ["github", "hunter2"]},
        ):
            self.assertNotIn("hunter2", invalid({ROUTE: options}))

    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.floats()
            | st.text(max_size=5)
            | st.sampled_from(("github", "hmac_signature", "addresses", "now", ROUTE)),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
        )
    )
    @example({ROUTE: {"verify": "github", "secret": {}}})
    @example({ROUTE: {"methods": {"POST"}}})
    def test_any_value(self, setting: Any) -> None:
        """Any other value is an error with the name of the setting, in one line, and nothing else is raised."""
        try:
            hook_options(setting)
        except HookError as error:
            self.assertTrue(str(error).startswith("WEBHOOKS"))
            self.assertEqual(len(str(error).splitlines()), 1)


class ConfiguredTests(SynchronousTestCase):
    """The merging of the operator's options with those of the plugin."""

    def test_precedence(self) -> None:
        """The operator's options replace those of the plugin; the others stay."""
        author = HookDeclaration("/github", ("PUT",), raw=True, max_body=10, ack="now", attempts=3, rate=Rate(1, 1))
        hook = with_options(author, attempts=7, rate=None, max_body=20)
        self.assertEqual((hook.attempts, hook.rate, hook.max_body), (7, None, 20))
        hook = with_options(author, attempts=1, max_body=1, timeout=2)
        self.assertEqual((hook.attempts, hook.max_body, hook.timeout), (1, 1, 2.0))
        self.assertEqual((hook.raw, hook.ack, hook.methods), (True, "now", ("PUT",)))

    def test_verification_switched_off(self) -> None:
        """A verification of the plugin is only switched off by None."""
        verified = HookDeclaration("/github", verify=github(secret="env:GH_SECRET"))
        self.assertEqual(with_options(verified, ack="now").verify, verified.verify)
        self.assertIsNone(with_options(verified, verify=None).verify)

    def test_methods(self) -> None:
        """The operator's methods apply first, then those of the plugin, then the default ones."""
        given = HookDeclaration("/github", ("PUT",), methods_given=True)
        hook = Hook("Github", "notification", PLAIN, print)
        self.assertEqual(configured(hook, {}, ("POST",), find).declaration.methods, ("POST",))
        self.assertFalse(configured(hook, {}, ("POST",), find).declaration.methods_given)
        self.assertEqual(
            configured(Hook("Github", "x", given, print), {}, ("POST",), find).declaration.methods, ("PUT",)
        )
        self.assertEqual(with_options(given, methods="get").methods, ("GET",))
        self.assertEqual(with_options(given, methods=["get", "POST", "GET"]).methods, ("GET", "POST"))
        self.assertTrue(with_options(PLAIN, methods="get").methods_given)

    def test_other_hooks(self) -> None:
        """Options of one webhook don't change others, not even of the same method in another plugin."""
        options = hook_options({ROUTE: {"rate": "1/s"}})
        for owner, name in (("Github", "other"), ("Gitlab", "notification")):
            self.assertIsNone(configured(Hook(owner, name, PLAIN, print), options, METHODS, find).declaration.rate)

    def test_contradictions(self) -> None:
        """Options that require others, which neither the operator nor the plugin has set, are an error."""
        for options, text in (
            ({"attempts": 3}, "expected ack='now' for attempts, not 'after'"),
            ({"ordered": True}, "expected ack='now' for ordered, not 'after'"),
            (
                {"dedupe": "id"},
                "expected a verification of a source that gives its deliveries ids, for dedupe='id', not None",
            ),
        ):
            error = self.assertRaises(HookError, with_options, PLAIN, **options)
            self.assertEqual(str(error), f"WEBHOOKS[{ROUTE!r}]: {text}")
        self.assertEqual(with_options(HookDeclaration("/github", ack="now"), attempts=3).attempts, 3)


class UnknownHooksTests(SynchronousTestCase):
    """Names in the setting that don't exist."""

    def unknown(self, *names: str) -> list[str]:
        """Return the errors about names, each without the name with which it begins."""
        methods = {"Github": ["notification", "ping"], "Broken": None, "Chat": []}
        errors = [error for _, error in unknown_hooks(names, methods)]
        for error in errors:
            self.assertTrue(error.startswith("WEBHOOKS["))
        return [error.partition("]: ")[2] for error in errors]

    def test_known(self) -> None:
        """A webhook that exists is no error, nor is one of a plugin that can't be loaded."""
        self.assertEqual(self.unknown("Github:notification", "Broken:anything"), [])

    def test_unknown(self) -> None:
        """An unknown plugin or method is an error with a suggestion, or else with the names of the plugin's webhooks."""
        self.assertEqual(
            self.unknown("Gihub:notification", "Github:notificaton", "Github:x", "Chat:x"),
            [
                "unknown plugin 'Gihub'; did you mean 'Github'?",
                "the plugin Github has no webhook 'notificaton'; did you mean 'notification'?",
                "the plugin Github has no webhook 'x'; it has notification, ping",
                "the plugin Chat has no webhook 'x'; it has none",
            ],
        )
