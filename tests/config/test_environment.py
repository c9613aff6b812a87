"""Settings from variables of the environment."""

from __future__ import annotations

import logging
import os
import re
from textwrap import dedent

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.config import SETTINGS, Config, ConfigError, load_config, located_errors, take_variables
from errklein.config.review import shown_settings
from errklein.config.secrets import read_variables
from errklein.text.masking import masker
from tests.config.test_loading import ConfigCase
from tests.processes import ROOT

IDENTITY = '{nickname = "errklein", server = "irc.example.org", password = "correct-horse"}'


class VariablesTests(ConfigCase):
    """Variables ERRKLEIN_SET__NAME and ERRKLEIN_FILE__NAME."""

    def read(self, **variables: str) -> Config:
        """Return the configuration without a config.py; "SET" and "FILE" stand for the beginnings of the variables."""
        return load_config(None, variables={f"ERRKLEIN_{name}": value for name, value in variables.items()})

    def error(self, **variables: str) -> str:
        """Return the error about the variables, which is one line without the value."""
        with self.assertRaises(ConfigError) as raised:
            self.read(**variables)
        text = str(raised.exception)
        self.assertNotIn("hunter2", text)
        self.assertNotIn("\n", text)
        return text

    def path_of(self, text: str | bytes, name: str = "value") -> str:
        """Return the absolute path of a file with the content."""
        path = self.directory.absolute() / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def test_texts(self) -> None:
        """Texts are used as they are, without quotes."""
        config = self.read(
            SET__BACKEND="null",
            SET__BOT_PREFIX=" # ",
            SET__BOT_LOG_LEVEL="debug",
            SET__BOT_LOG_FILE="/tmp/a = b",
            SET__PUBLIC_URL="https://bot.example.net",
            SET__STATUS="tcp:3142",
            SET__COMMAND_RATE="5/min",
        )
        self.assertEqual(config.BACKEND, "Null")
        self.assertEqual((config.BOT_PREFIX, config.BOT_LOG_LEVEL), (" # ", logging.DEBUG))
        self.assertEqual((config.BOT_LOG_FILE, config.STATUS), ("/tmp/a = b", "tcp:3142"))
        self.assertEqual((config.PUBLIC_URL, config.COMMAND_RATE), ("https://bot.example.net", "5/min"))
        self.assertEqual(self.read(SET__BOT_LOG_LEVEL="15").BOT_LOG_LEVEL, 15)

    def test_texts_in_the_reference(self) -> None:
        """The settings whose type in the reference is a text or a path take texts, and no other setting does."""
        kinds = {}
        for line in (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8").splitlines():
            if line.startswith("| `") and line.count("|") == 5:
                _, name, kind, _, _, _ = line.split("|")
                kinds[name.split("`")[1]] = kind.strip()
        for name in SETTINGS:
            is_text = kinds[name].startswith(("string", "path", "level"))
            is_list_too = "list" in kinds[name]
            try:
                values, _ = read_variables({f"ERRKLEIN_SET__{name}": "= no TOML"})
            except ConfigError as error:
                self.assertEqual("invalid TOML" in str(error), not is_text, (name, kinds[name]))
            else:
                self.assertEqual(values, {name: "= no TOML"})
                self.assertTrue(is_text, name)
            if is_list_too:
                error_text = self.error(**{f"SET__{name}": "[hunter2"})
                self.assertIn("invalid TOML", error_text)

    def test_other_values(self) -> None:
        """Other values are TOML. Arrays become tuples."""
        config = self.read(
            SET__BOT_ASYNC="false",
            SET__BOT_ASYNC_POOLSIZE=" 3 ",
            SET__GRACE_PERIOD="2.5",
            SET__BOT_ADMINS='["alice!*@user/alice", "bob"]',
            SET__BOT_ADMINS_NOTIFICATIONS='"bob"',
            SET__CHATROOM_PRESENCE='[\n  "#ops",\n  ["#dev", "pass"],  # with a password\n]',
        )
        self.assertEqual((config.BOT_ASYNC, config.BOT_ASYNC_POOLSIZE, config.GRACE_PERIOD), (False, 3, 2.5))
        self.assertEqual(config.BOT_ADMINS, ("alice!*@user/alice", "bob"))
        self.assertEqual(config.BOT_ADMINS_NOTIFICATIONS, ("bob",))
        self.assertEqual(config.CHATROOM_PRESENCE, ("#ops", ["#dev", "pass"]))

    def test_texts_or_lists(self) -> None:
        """Where a setting takes a text or a list, a text needs no quotes, but may have them."""
        for value, expected in (
            ("tcp:3141", ("tcp:3141",)),
            ('"tcp:3141"', ("tcp:3141",)),
            ('["tcp:1", "tcp:2"]', ("tcp:1", "tcp:2")),
            ("[]", ()),
        ):
            self.assertEqual(self.read(SET__WEB=value).WEB, expected)
        config = self.read(SET__BOT_EXTRA_PLUGIN_DIR=str(self.directory))
        self.assertEqual(config.directories("BOT_EXTRA_PLUGIN_DIR"), [str(self.directory.absolute())])
        self.assertEqual(config.BOT_EXTRA_PLUGIN_DIR, str(self.directory))

    def test_none(self) -> None:
        """`None` is None, which TOML lacks, where a setting accepts it."""
        config = self.read(SET__COMMAND_RATE="None", SET__WEBHOOK_BODY_MEMORY="None", SET__STATUS="None")
        self.assertEqual((config.COMMAND_RATE, config.WEBHOOK_BODY_MEMORY, config.STATUS), (None, None, None))
        self.assertEqual(
            self.error(SET__BOT_ASYNC="None"), "BOT_ASYNC: expected True or False (ERRKLEIN_SET__BOT_ASYNC)"
        )

    def test_tables(self) -> None:
        """A dict is an inline table, or a document of TOML, as it is written in a manifest and in a file."""
        document = 'nickname = "errklein"\nserver = "irc.example.org"\npassword = "correct-horse"\n'
        for variables in (
            {"SET__BOT_IDENTITY": IDENTITY},
            {"SET__BOT_IDENTITY": document},
            {"FILE__BOT_IDENTITY": self.path_of(document)},
            {"FILE__BOT_IDENTITY": self.path_of(f"{IDENTITY}\r\n")},
        ):
            config = self.read(SET__BACKEND="IRC", SET__BOT_ADMINS='["alice"]', **variables)
            self.assertEqual(
                config.BOT_IDENTITY,
                {"nickname": "errklein", "server": "irc.example.org", "password": "correct-horse"},
            )
            self.assertEqual(masker("PASS correct-horse"), "PASS •••")

    def test_rules_and_webhooks(self) -> None:
        """Tables may be nested."""
        config = self.read(
            SET__ACCESS_CONTROLS='[deploy]\nallowusers = ["@alice"]\n["status*"]\nallowmuc = false\n',
            SET__WEBHOOKS='["Github:notification"]\nverify = "github"\nsecret = "env:GH_SECRET"\n'
            '[alerts]\nsource = "grafana"\nroom = "#ops"\nsecret = "env:GRAFANA"\n',
            SET__WEBHOOK_PREFIX="/in",
        )
        self.assertEqual(config.ACCESS_CONTROLS, {"deploy": {"allowusers": ["@alice"]}, "status*": {"allowmuc": False}})
        self.assertEqual(
            config.WEBHOOKS,
            {
                "Github:notification": {"verify": "github", "secret": "env:GH_SECRET"},
                "alerts": {"source": "grafana", "room": "#ops", "secret": "env:GRAFANA"},
            },
        )
        self.assertEqual(config.WEBHOOK_PREFIX, "/in")

    def test_networks(self) -> None:
        """Several networks are a table of tables."""
        config = self.read(
            SET__NETWORKS=f'[a]\nBACKEND = "IRC"\nBOT_IDENTITY = {IDENTITY}\nBOT_ADMINS = ["alice"]\n[b]\nBACKEND = "Null"\n'
        )
        self.assertEqual([*config.networks], ["a", "b"])
        self.assertEqual(config.networks["a"].BOT_IDENTITY["server"], "irc.example.org")

    def test_content_of_files(self) -> None:
        """A text in a file loses one line end at its end, and no more."""
        self.assertEqual(self.read(FILE__BOT_PREFIX=self.path_of("! \n")).BOT_PREFIX, "! ")
        self.assertEqual(self.read(FILE__BOT_PREFIX=self.path_of("!\n\n")).BOT_PREFIX, "!\n")
        self.assertEqual(self.read(FILE__BOT_ADMINS=self.path_of('["a"]\n')).BOT_ADMINS, ("a",))

    def test_unknown_names(self) -> None:
        """The name of no setting is an error, with the setting that was probably meant."""
        self.assertEqual(
            self.error(SET__BOT_ADMIN="hunter2"),
            "ERRKLEIN_SET__BOT_ADMIN: unknown setting 'BOT_ADMIN'; did you mean 'BOT_ADMINS'?",
        )
        self.assertIn("did you mean 'BOT_PREFIX'?", self.error(FILE__bot_prefix="hunter2"))
        self.assertEqual(self.error(SET__="hunter2"), "ERRKLEIN_SET__: unknown setting ''")

    def test_both_at_once(self) -> None:
        """A setting has one variable."""
        self.assertEqual(
            self.error(SET__BOT_PREFIX="hunter2", FILE__BOT_PREFIX=self.path_of("hunter2")),
            "ERRKLEIN_SET__BOT_PREFIX and ERRKLEIN_FILE__BOT_PREFIX are both set; remove one of them",
        )

    def test_invalid_toml(self) -> None:
        """What isn't TOML is an error with an example, and with the line if there are several."""
        for value in ("hunter2", "", "alice, hunter2", '["hunter2"', '"hunter2"\nBOT_PREFIX = "hunter2"', "[" * 5000):
            error = self.error(SET__CORE_PLUGINS=value, SET__BOT_PREFIX="hunter2")
            self.assertIn("CORE_PLUGINS: ", error)
            self.assertIn("TOML", error)
            self.assertTrue(error.endswith(" (ERRKLEIN_SET__CORE_PLUGINS)"), error)
        self.assertEqual(
            self.error(SET__BOT_ADMINS="hunter2"),
            'BOT_ADMINS: invalid TOML; expected a value such as ["alice", "bob"] (ERRKLEIN_SET__BOT_ADMINS)',
        )
        self.assertIn("expected a value true or false", self.error(SET__BOT_ASYNC="True"))
        path = self.path_of('nickname = "a"\npassword = hunter2\n')
        self.assertEqual(
            self.error(FILE__BOT_IDENTITY=path),
            "BOT_IDENTITY: invalid TOML at line 2; expected a value such as {port = 6697}, or a line such as port = 6697 for "
            f"each key (ERRKLEIN_FILE__BOT_IDENTITY {path})",
        )

    def test_empty_tables(self) -> None:
        """An empty variable doesn't remove all access rules: it is probably a variable of a compose file that isn't set."""
        self.assertIn("invalid TOML", self.error(SET__ACCESS_CONTROLS=""))
        self.assertEqual(self.read(SET__ACCESS_CONTROLS="{}").ACCESS_CONTROLS, {})

    def test_wrong_types(self) -> None:
        """A value of another type is an error that says what is expected, and never the value."""
        for name, value, expected in (
            ("BOT_ASYNC_POOLSIZE", '"hunter2"', "a whole number, at least 1"),
            ("BOT_ADMINS", '["a", {b = "hunter2"}]', "a tuple of names, such as ('@alice',)"),
            ("BOT_IDENTITY", '{a = "hunter2"', "a value such as {port = 6697}"),
            ("PUBLIC_URL", "hunter2", "a URL such as 'https://bot.example.net'"),
            ("WEBHOOK_LOG", "hunter2", "'bodies', 'heads' or 'off'"),
            ("BOT_LOG_LEVEL", "hunter2", "a level of the logging module"),
            ("ACCESS_CONTROLS", '[deploy]\nallowmuc = "hunter2"', "True or False for allowmuc of the rule 'deploy'"),
            ("NETWORKS", '[a]\nBOT_ASYNC = "hunter2"', "True or False"),
            ("NETWORKS", 'a = "hunter2"', "a dict of settings"),
            ("WEBHOOKS", '["A:b"]\nverify = "github"\nsecret = "hunter2"', "by reference"),
            ("TRUSTED_PROXIES", '"hunter2"', ""),
        ):
            error = self.error(**{f"SET__{name}": value})
            self.assertIn(expected, error)
            self.assertTrue(error.startswith(name), error)
            self.assertTrue(error.endswith(f"(ERRKLEIN_SET__{name})"), error)

    def test_unreadable_files(self) -> None:
        """A file that is missing, empty, no file, or writable for others is an error."""
        missing = str(self.directory.absolute() / "missing")
        self.assertEqual(
            self.error(FILE__BOT_PREFIX=missing), f"ERRKLEIN_FILE__BOT_PREFIX: {missing} is missing or empty"
        )
        self.assertIn("is missing or empty", self.error(FILE__BOT_PREFIX=self.path_of("\n")))
        self.assertIn("isn't a regular file", self.error(FILE__BOT_PREFIX="/dev/null"))
        self.assertIn("can't be read: Is a directory", self.error(FILE__BOT_PREFIX=str(self.directory.absolute())))
        path = self.path_of("hunter2")
        os.chmod(path, 0o666)
        self.assertIn(f"run chmod go-w {path}", self.error(FILE__BOT_PREFIX=path))
        self.assertIn("is larger than 64 KiB", self.error(FILE__BOT_PREFIX=self.path_of("x" * 70_000, "large")))
        self.assertIn("BOT_PREFIX: expected UTF-8", self.error(FILE__BOT_PREFIX=self.path_of(b"\xff", "bytes")))

    def test_values_in_the_wrong_variable(self) -> None:
        """If a secret is given where a path is expected, the error doesn't show it."""
        for value in ("hunter2", "/hunter2/key", "https://hunter2@sentry.example.org/1", ""):
            self.assertEqual(
                self.error(FILE__SENTRY_DSN=value),
                "ERRKLEIN_FILE__SENTRY_DSN: expected the absolute path of a file in an existing directory",
            )

    def test_missing_values(self) -> None:
        """An error about a value as a whole names its variable, also if it is found later."""
        error = self.error(SET__BACKEND="IRC", SET__BOT_IDENTITY='{nickname = "a"}', SET__BOT_ADMINS='["b"]')
        self.assertIn("'server' is missing", error)
        self.assertTrue(error.endswith("(ERRKLEIN_SET__BOT_IDENTITY)"), error)
        config = self.read(SET__BACKEND="Null", SET__STORAGE="SQL")
        with self.assertRaises(ConfigError) as raised, located_errors(config):
            raise ConfigError("STORAGE: unknown", "STORAGE")
        self.assertEqual(str(raised.exception), "STORAGE: unknown (ERRKLEIN_SET__STORAGE)")


class PrecedenceTests(ConfigCase):
    """Variables beside a config.py and options."""

    def test_file(self) -> None:
        """Variables win over the file, and options over the variables."""
        variables = {"ERRKLEIN_SET__BOT_PREFIX": "?", "ERRKLEIN_SET__BOT_DATA_DIR": "/variable"}
        text = "BACKEND = 'Null'\nBOT_PREFIX = '.'\nGRACE_PERIOD = 3\n"
        config = self.load(text, {"BOT_DATA_DIR": "/option"}, variables=variables)
        self.assertEqual((config.BOT_PREFIX, config.GRACE_PERIOD, config.BOT_DATA_DIR), ("?", 3, "/option"))
        self.assertEqual(
            list(shown_settings(config, {"BOT_DATA_DIR": ("--data-dir", "/option")}, with_defaults=False)),
            [
                "BACKEND = 'Null'  # config.py line 1",
                "BOT_DATA_DIR = '/option'  # --data-dir",
                "BOT_PREFIX = '?'  # ERRKLEIN_SET__BOT_PREFIX",
                "GRACE_PERIOD = 3.0  # config.py line 3",
            ],
        )

    def test_errors_of_the_file(self) -> None:
        """An invalid value in the file doesn't matter if a variable replaces it."""
        config = self.load("BACKEND = 'Null'\nBOT_ASYNC = 'no'", variables={"ERRKLEIN_SET__BOT_ASYNC": "false"})
        self.assertIs(config.BOT_ASYNC, False)

    def test_names_of_plugins(self) -> None:
        """A value of a plugin that has the name of a setting is replaced, and the variable's value is errklein's."""
        text = "BACKEND = 'Null'\nWEB = {'a': 1}\n"
        config = self.load(text, variables={"ERRKLEIN_SET__WEB": "tcp:3141"})
        self.assertEqual(config.setting("WEB"), ("tcp:3141",))

    def test_origins_of_files_and_networks(self) -> None:
        """The origin of a value in a file has its path, and that of a network's setting is NETWORKS'. Secrets are masked."""
        path = self.directory.absolute() / "identity"
        path.write_text(IDENTITY)
        networks = 'a = {BACKEND = "Null", BOT_IDENTITY = {password = "correct-horse"}}'
        variables = {"ERRKLEIN_FILE__BOT_IDENTITY": str(path), "ERRKLEIN_SET__NETWORKS": networks}
        config = load_config(None, variables=variables)
        masked = "{'nickname': 'errklein', 'server': 'irc.example.org', 'password': '•••'}"
        self.assertEqual(
            list(shown_settings(config, {}, with_defaults=False)),
            [
                f"BOT_IDENTITY = {masked}  # ERRKLEIN_FILE__BOT_IDENTITY {path}",
                "NETWORKS = ['a']  # ERRKLEIN_SET__NETWORKS",
                "NETWORKS['a']['BACKEND'] = 'Null'  # ERRKLEIN_SET__NETWORKS",
                "NETWORKS['a']['BOT_IDENTITY'] = {'password': '•••'}  # ERRKLEIN_SET__NETWORKS",
            ],
        )

    def test_loaded_again(self) -> None:
        """The same variables can be read again, with the present content of files."""
        path = self.directory.absolute() / "prefix"
        path.write_text("?")
        variables = {"ERRKLEIN_FILE__BOT_PREFIX": str(path)}
        self.assertEqual(load_config(None, variables=variables).BOT_PREFIX, "?")
        path.write_text(".")
        self.assertEqual(load_config(None, variables=variables).BOT_PREFIX, ".")


class TakenTests(ConfigCase):
    """The environment after the variables were taken."""

    def test_removed(self) -> None:
        """The variables of settings are removed; others, such as those of a service in Kubernetes, stay and have no effect."""
        others = {
            "ERRKLEIN_PORT": "tcp://10.0.0.1:3141",
            "ERRKLEIN_SERVICE_HOST": "10.0.0.1",
            "ERRKLEIN_SET_BOT_PREFIX": "x",
            "errklein_set__BOT_PREFIX": "x",
            "PATH": "/bin",
        }
        variables = {"ERRKLEIN_SET__BOT_PREFIX": "?", "ERRKLEIN_FILE__SENTRY_DSN": "/run/secrets/dsn"}
        environment = {**others, **variables}
        self.assertEqual(take_variables(environment), variables)
        self.assertEqual(environment, others)
        self.assertEqual(load_config(None, variables=take_variables(environment)).BOT_PREFIX, "!")


class GuideTests(ConfigCase):
    """The example of docs/guides/environment.md."""

    def test_compose_file(self) -> None:
        """The variables of the compose file are a configuration for IRC with a verified webhook."""
        examples = ROOT / "docs" / "examples"
        text = (examples / "compose_variables.yml").read_text("utf-8")
        given = text.partition("    environment:\n")[2].partition("    secrets:")[0]
        found = re.findall(r"^ {6}(\w+): ([^|\n]*)(?:\|\n((?: {8}.*\n)+))?", given, re.MULTILINE)
        variables = {name: dedent(block) or value.strip("'") for name, value, block in found}
        variables["ERRKLEIN_FILE__BOT_IDENTITY"] = str(examples / "identity.toml")
        config = load_config(None, variables=variables)
        self.assertEqual(len(variables), 8)
        self.assertEqual((config.BACKEND, config.BOT_IDENTITY["port"]), ("IRC", 6697))
        self.assertEqual(config.ACCESS_CONTROLS, {"deploy": {"allowusers": [*config.BOT_ADMINS]}})
        self.assertEqual([*config.WEBHOOKS], ["Builds:report"])


class AnyTextTests(SynchronousTestCase):
    """Values of any form."""

    TOML = (
        "{}",
        "[]",
        "{a = 1}",
        "[{}]",
        "[[1]]",
        "1979-05-27",
        "inf",
        "nan",
        "-1",
        "1e400",
        "9" * 5000,
        '"x"',
        "true",
        "None",
    )

    @settings(deadline=None, max_examples=400)
    @given(
        st.sampled_from(sorted(SETTINGS)), st.one_of(st.sampled_from(TOML), st.text(), st.text().map("a = {}".format))
    )
    def test_errors(self, name: str, text: str) -> None:
        """Any value is either accepted, also when the configuration is loaded, or an error about the variable."""
        variables = {f"ERRKLEIN_SET__{name}": text}
        try:
            values, _ = read_variables(variables)
        except ConfigError as error:
            self.assertIn(f"ERRKLEIN_SET__{name}", str(error))
            return
        self.assertEqual([*values], [name])
        try:
            load_config(None, variables=variables)
        except ConfigError as error:
            self.assertIn(name, str(error))
