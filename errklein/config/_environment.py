"""Settings from variables of the environment, which take precedence over those of a config.py. ERRKLEIN_SET__NAME has
the value of the setting NAME, and ERRKLEIN_FILE__NAME the path of a file with the value. Other variables, such as those
that Kubernetes sets for a service named errklein, have no effect."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path

from errklein.config._settings import DEPENDENT, SETTINGS, TEXTS_OR_LISTS, ConfigError, checked
from errklein.config.secrets import SecretError, read_file
from errklein.text.suggestions import did_you_mean

_VALUE, _FILE = "ERRKLEIN_SET__", "ERRKLEIN_FILE__"

_EXAMPLES: Mapping[type, str] = {
    bool: "true or false",
    int: "such as 10",
    float: "such as 2.5",
    list: 'such as ["/srv/plugins"]',
    tuple: 'such as ["alice", "bob"]',
    dict: "such as {port = 6697}, or a line such as port = 6697 for each key",
}


def take_variables(environment: MutableMapping[str, str]) -> Mapping[str, str]:
    """Remove the variables of settings from the environment, and return them. Programs that plugins start would inherit
    them otherwise, with the passwords in them."""
    names = [name for name in environment if name.startswith((_VALUE, _FILE))]
    return {name: environment.pop(name) for name in names}


def settings_set(variables: Iterable[str]) -> frozenset[str]:
    return frozenset(variable.partition("__")[2] for variable in variables)


def read_variables(variables: Mapping[str, str]) -> tuple[Mapping[str, object], Mapping[str, str]]:
    """Return the values of the settings, and their origins, both by the setting's name. An origin is the variable, with
    the path of the file if it names one. If a variable is invalid, raises ConfigError, whose text never has the
    value."""
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for variable, text in sorted(variables.items()):
        _, _, name = variable.partition("__")
        if name not in SETTINGS and name not in DEPENDENT:
            meant = did_you_mean(name, (*SETTINGS, *DEPENDENT))
            raise ConfigError(f"{variable}: unknown setting {name!r}{meant}")
        if {_VALUE + name, _FILE + name} <= variables.keys():
            raise ConfigError(f"{_VALUE}{name} and {_FILE}{name} are both set; remove one of them")
        is_file = variable.startswith(_FILE)
        content = _content(variable, text) if is_file else os.fsencode(text)
        origins[name] = f"{variable} {text}" if is_file else variable
        try:
            values[name] = _parsed(name, content)
            _check(name, values[name])
        except ConfigError as error:
            raise ConfigError(f"{error} ({origins[name]})", name) from None
    return values, origins


def _content(variable: str, path: str) -> bytes:
    # The path may be a secret that was meant for the other variable, unless there is such a directory.
    # Path.is_dir raises an exception for a name that is too long.
    if not (Path(path).is_absolute() and os.path.isdir(Path(path).parent)):  # noqa: PTH112
        raise ConfigError(f"{variable}: expected the absolute path of a file in an existing directory")
    try:
        content = read_file(variable, path)
    except SecretError as error:
        raise ConfigError(str(error)) from None
    if not content:
        raise ConfigError(f"{variable}: {path} is missing or empty")
    return content


def _parsed(name: str, content: bytes) -> object:
    setting = SETTINGS.get(name)
    default = setting and setting.default
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: expected UTF-8") from None
    begins = text.strip()[:1]
    if text.strip() == "None":
        # TOML has no null.
        return None
    is_text = isinstance(default, str) or (setting is not None and setting.is_text)
    if is_text or (name in TEXTS_OR_LISTS and begins not in ("[", '"', "'")):
        return text
    import tomllib

    is_document = isinstance(default, Mapping) and begins not in ("{", "")
    try:
        document = tomllib.loads(text if is_document else f"{name} = {text.strip()}")
    except (ValueError, RecursionError) as error:
        found = re.search("at line [0-9]+", str(error)) if "\n" in text else None
        where = f" {found[0]}" if found else ""
        example = _EXAMPLES.get(type(default), 'such as true, 10, "text" or ["alice"]')
        raise ConfigError(f"{name}: invalid TOML{where}; expected a value {example}") from None
    if is_document:
        return document
    if len(document) > 1:
        raise ConfigError(f"{name}: expected one value of TOML, not several keys")
    value = document[name]
    return tuple(value) if isinstance(value, list) and not isinstance(default, list) else value


def _check(name: str, value: object) -> None:
    checked(name, value, is_shown=False)
    if name == "NETWORKS" and isinstance(value, Mapping):
        for network, settings in value.items():
            for setting, own in settings.items():
                try:
                    checked(setting, own, is_shown=False)
                except ConfigError as error:
                    raise ConfigError(f"{name}[{network!r}]: {error}") from None
