"""The decorator `@webhook`, and the declarations that are read from methods."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.verify import Verification
from errklein.webhooks import HookDeclaration, webhook
from errklein.webhooks.option_values import Rate

ANY = Verification("any", lambda received, secrets: None, ("env:ANY",))
WITH_IDS = Verification("with ids", lambda received, secrets: None, ("env:ANY",), delivery_id=lambda received: "1")


def declared(**options: Any) -> HookDeclaration:
    """Return the declaration of a method with these options."""

    class Plugin:
        @webhook(**options)
        def hook(self, payload: Any) -> None: ...

    declaration = HookDeclaration.of(Plugin().hook)
    assert declaration is not None
    return declaration


class OptionsTests(SynchronousTestCase):
    """The options of the decorator."""

    def test_defaults(self) -> None:
        """Without options, a webhook is neither verified nor limited, and responds after its handler has run, as on errbot."""
        self.assertEqual(declared(), HookDeclaration("/hook"))
        self.assertEqual(declared().methods, ("POST", "GET"))
        self.assertEqual(
            (declared().ack, declared().verify, declared().rate, declared().window), ("after", None, None, 0.0)
        )

    def test_all(self) -> None:
        """Each option is in the declaration, in the form in which it is used."""
        hook = declared(
            verify=WITH_IDS, ack="now", rate="10/min", dedupe="id", dedupe_window="2d", attempts=5, ordered=True
        )
        self.assertEqual((hook.verify, hook.ack, hook.rate), (WITH_IDS, "now", Rate(10, 60)))
        self.assertEqual((hook.dedupe, hook.window, hook.attempts, hook.ordered), ("id", 172800.0, 5, True))

    def test_summary(self) -> None:
        """Operators see where the deliveries run, and what else isn't the default."""
        self.assertEqual(declared().summary, "not verified")
        everywhere = declared(ack="now", anywhere=True, rate="10/min")
        self.assertEqual(everywhere.summary, f'not verified, ack="now", anywhere=True, at most {everywhere.rate}')

    def test_windows(self) -> None:
        """Ids are remembered for three days, and content for five minutes, unless the author says otherwise."""
        self.assertEqual(declared(verify=WITH_IDS, dedupe="id").window, 259200.0)
        self.assertEqual(declared(dedupe="header:X-Delivery").window, 259200.0)
        self.assertEqual(declared(dedupe="content").window, 300.0)
        self.assertEqual(declared(dedupe="content", dedupe_window=1.5).window, 1.5)
        self.assertEqual(declared(dedupe="content", dedupe_window="366d").window, 31622400.0)

    def test_methods_given(self) -> None:
        """Methods are the author's choice if they are in the decorator, also if they are the default ones."""
        self.assertFalse(declared().methods_given)
        self.assertTrue(declared(methods=["POST", "GET"]).methods_given)
        self.assertEqual(declared(methods="put").methods, ("PUT",))

    def test_methods_set_by_a_plugin(self) -> None:
        """Methods that a plugin has assigned to the attribute of errbot's decorator are its author's choice."""

        @webhook
        def hook(self: Any, payload: Any) -> None: ...

        hook._err_webhook_methods = ["POST"]  # type: ignore[attr-defined]
        declaration = HookDeclaration.of(hook)
        assert declaration is not None
        self.assertEqual((declaration.methods, declaration.methods_given), (("POST",), True))


class InvalidOptionsTests(SynchronousTestCase):
    """Invalid options are errors when the class is defined."""

    def invalid(self, **options: Any) -> str:
        """Return the error without the name of the method, with which it begins."""
        error = self.assertRaises(ValueError, declared, **options)
        place, _, text = str(error).partition(".hook: ")
        self.assertTrue(place.startswith("@webhook on ") and place.endswith("Plugin"), place)
        return text

    def test_values(self) -> None:
        """The error names the option, the valid values and the invalid one."""
        for option, value, text in (
            ("ack", "later", "expected 'after' or 'now', not 'later'"),
            ("ack", None, "expected 'after' or 'now', not None"),
            ("rate", "10", "expected a rate such as '10/s', '100/min' or '1000/h', not '10'"),
            ("dedupe", "key", "expected 'id', 'content' or 'header:NAME', not 'key'"),
            ("dedupe", "header:a b", "expected 'id', 'content' or 'header:NAME', not 'header:a b'"),
            ("attempts", 0, "expected a whole number, at least 1, not 0"),
            ("attempts", True, "expected a whole number, at least 1, not True"),
            ("ordered", 1, "expected True or False, not 1"),
            ("anywhere", "yes", "expected True or False, not 'yes'"),
        ):
            self.assertEqual(self.invalid(**{option: value}), f"{option}: {text}")

    def test_unknown_option(self) -> None:
        """An option of another name is an error with the right name."""
        error = self.assertRaises(TypeError, declared, method="POST")
        self.assertEqual(str(error), "webhook() got an unexpected keyword argument 'method'; did you mean 'methods'?")

    def test_invalid_arguments(self) -> None:
        """The error about an argument of another type names the method, the argument and a valid value."""
        for given, said in (
            (["POST"], "uri_rule: expected a path such as '/builds', not a list"),
            (5, "uri_rule: expected a path such as '/builds', not 5"),
            ({"methods": 5}, "methods: expected HTTP methods such as ['POST'], not 5"),
            ({"methods": [5]}, "methods: expected HTTP methods such as ['POST'], not a list"),
            ({"form_param": True}, "form_param: expected the name of a field, such as 'payload', not True"),
            ({"raw": "yes"}, "raw: expected True or False, not 'yes'"),
            ({"threaded": "no"}, "threaded: expected True or False, not 'no'"),
            ({"max_body": "1MB"}, "max_body: expected a whole number, at least 1, not '1MB'"),
            ({"timeout": "5"}, "timeout: expected a number of seconds, more than 0, not '5'"),
        ):
            options: Any = given if isinstance(given, dict) else {"uri_rule": given}
            self.assertEqual(self.invalid(**options), said)
        for allowed in ({"methods": None}, {"methods": {"COPY"}}, {"raw": 1}, {"uri_rule": None}, {"methods": "put"}):
            webhook(**allowed)(lambda self, payload: None)  # type: ignore[call-overload]

    def test_windows(self) -> None:
        """A window is a positive number of seconds, or a number with a unit."""
        for window in (
            0,
            -1,
            float("nan"),
            float("inf"),
            True,
            "3",
            "0d",
            "3 d",
            "1.5d",
            "3y",
            "3days",
            "3d\n",
            "367d",
            [3],
        ):
            self.assertIn(
                "dedupe_window: expected seconds, or a text such as '300s', '10min', '12h' or '3d', at most 366 days, not ",
                self.invalid(dedupe="content", dedupe_window=window),
            )

    def test_verify_shows_no_secret(self) -> None:
        """A secret in place of a verification isn't repeated in the error."""
        for value, kind in (("hunter2", "str"), (b"hunter2", "bytes"), (["hunter2"], "list")):
            self.assertEqual(
                self.invalid(verify=value),
                f"verify: expected a verification such as errklein.verify.github(secret='env:NAME'), not a {kind}",
            )

    def test_options_that_require_others(self) -> None:
        """An option without the one that it requires is an error, which names both."""
        for options, text in (
            ({"attempts": 3}, "expected ack='now' for attempts, not 'after'"),
            ({"ordered": True}, "expected ack='now' for ordered, not 'after'"),
            ({"anywhere": True}, "expected ack='now' for anywhere, not 'after'"),
            ({"response": "ok"}, "expected ack='now' for response, not 'after'"),
            ({"dedupe_window": 3}, "expected dedupe='id', 'content' or 'header:NAME' for dedupe_window, not None"),
            (
                {"dedupe": "id"},
                "expected a verification of a source that gives its deliveries ids, for dedupe='id', not None",
            ),
            (
                {"dedupe": "id", "verify": ANY},
                "expected a verification of a source that gives its deliveries ids, for dedupe='id', not 'any'",
            ),
        ):
            self.assertEqual(self.invalid(**options), text)
