"""Values from outside of a config.py. A reference names a secret: in the environment, in a file, as a credential of
systemd, or in the bot's own store. Variables of the environment take precedence over a config.py: ERRKLEIN_SET__NAME
has the value of the setting NAME, and ERRKLEIN_FILE__NAME the path of a file with the value. Other variables, such as
those that Kubernetes sets for a service named errklein, have no effect."""

from __future__ import annotations

import os
import re
import secrets
import stat
import tempfile
from collections.abc import Collection, Iterable, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path

from errklein.config._settings import DEPENDENT, SETTINGS, TEXTS_OR_LISTS, ConfigError, checked
from errklein.text.masking import OWN_SECRET, masker
from errklein.text.suggestions import did_you_mean
from errklein.verify import ADDRESS_SCHEME, Verification, parse_reference

MOST_BYTES = 64 * 1024
_SHORTEST_TOKEN = 22  # the characters of 128 random bits in Base64

_WRITERS_OF_OWN = stat.S_IWOTH
"""Kubernetes lets a group write all files of a volume (fsGroup), which could then change the bot's database, too."""

_read: set[str] = set()  # All secrets that this process has read. They stay masked, as an old one may still be in use.


class SecretError(Exception):
    """A secret is missing or empty, or can't be read safely. The text names the reference and the remedy, never the value."""


def read_secret(reference: str, environment: Mapping[str, str] | None = None, stored_in: Path | None = None) -> bytes:
    """Return a secret, and let the masker replace it in all texts. The reference is "env:NAME", "file:/path" or
    "credential:NAME", a file in the directory that systemd names in CREDENTIALS_DIRECTORY, for a service with
    LoadCredential= or SetCredential=. With `stored_in`, the directory of the bot's own secrets, it may also be
    "secret:NAME". One line end at the end of a file is removed. A file must be a regular one that only its owner may
    write, since whoever writes it can forge requests. Others may read it: Docker and Kubernetes mount secrets in this
    way. Raises SecretError if the secret is missing, empty, or can be changed by others."""
    # Not a default value: a test may replace `os.environ`.
    environment = os.environ if environment is None else environment
    try:
        kind, name = parse_reference(reference)
    except ValueError as error:
        raise SecretError(str(error)) from None
    if kind == "env":
        secret = os.fsencode(environment.get(name, ""))
        remedy = f"set the variable {name} in the environment of errklein, and restart it"
    elif kind == "file":
        secret = read_file(reference, name)
        reload = "reload the plugin, or the configuration if it has a webhook of a room"
        remedy = f"write the secret to {name}, and {reload}"
    elif kind == "secret":
        if stored_in is None:
            raise SecretError(f"{reference}: the bot makes such secrets itself; name one as env:NAME or file:/path")
        secret = read_file(reference, str(stored_in / name), _WRITERS_OF_OWN)
        remedy = "restore a backup that has the secrets, or make a new one with `!webhook rotate`"
    else:
        directory = environment.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise SecretError(
                f"{reference}: systemd has given no credentials; add LoadCredential={name}:/path to the unit, "
                f"or run a command with `systemd-run --pipe --wait -p LoadCredential={name}:/path`"
            )
        secret = read_file(reference, f"{directory}/{name}")
        remedy = f"write the secret to the file that LoadCredential={name}:/path names, and restart errklein"
    if not secret:
        raise SecretError(f"{reference}: the secret is missing or empty; {remedy}")
    text = secret.decode("utf-8", "backslashreplace")
    # The masker recognises the bot's own by their form.
    if OWN_SECRET.fullmatch(text) is None:
        _read.add(text)
        masker.learn(masker, "secrets by reference", _read)
    return secret


def read_secrets(verification: Verification | None, stored_in: Path | None = None) -> list[bytes]:
    """Return the secrets of a verification; see `read_secret`. Raises SecretError, whose text names all problems, if
    none is set yet, or one is missing or can't be read, or is a token that is too short or can't be in an address."""
    read, errors = [], [verification.unusable] if verification is not None and verification.unusable else []
    for reference in verification.secrets if verification is not None else ():
        try:
            read.append(_checked(read_secret(reference, stored_in=stored_in), reference, verification))
        except SecretError as error:
            errors.append(str(error))
    if errors:
        raise SecretError("; ".join(errors))
    return read


def _checked(secret: bytes, reference: str, verification: Verification | None) -> bytes:
    is_token = verification is not None and verification.scheme == ADDRESS_SCHEME
    if is_token and (len(secret) < _SHORTEST_TOKEN or b"/" in secret):
        raise SecretError(
            f"{reference}: the token in an address must have at least {_SHORTEST_TOKEN} characters and no '/'; "
            "take the output of: openssl rand -hex 16"
        )
    return secret


def read_file(reference: str, path: str, writers: int = stat.S_IWGRP | stat.S_IWOTH) -> bytes:
    """Return the content of a regular file without one line end at its end; b"" if it is missing. Raises SecretError, which
    begins with the reference, if the file can't be read, or others can change it: its mode has one of the bits `writers`."""
    try:
        # A pipe without a writer would block.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MOST_BYTES + 1) if stat.S_ISREG(mode) else b""
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise SecretError(f"{reference}: {path} can't be read: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise SecretError(f"{reference}: {path} isn't a regular file")
    if mode & writers:
        raise SecretError(f"{reference}: users other than its owner may write {path}; run chmod go-w {path}")
    if len(content) > MOST_BYTES:
        raise SecretError(f"{reference}: {path} is larger than {MOST_BYTES // 1024} KiB")
    return content.removesuffix(b"\n").removesuffix(b"\r")


def changed_at(reference: str, stored_in: Path) -> float:
    """Return the Unix time at which the file of a secret was written; 0 without a file. See `read_secret`. Waits for the disk."""
    kind, name = parse_reference(reference)
    directory = {"file": "/", "credential": os.environ.get("CREDENTIALS_DIRECTORY"), "secret": stored_in}.get(kind)
    with suppress(OSError):
        return Path(directory, name).stat().st_mtime if directory else 0.0
    return 0.0


class SecretStore:
    """The secrets that the bot makes or gets at run time: a file of mode 0600 for each, which "secret:NAME" names. The
    directory is created with the first one. A file never changes: a new secret gets a new name. All methods wait for
    the disk, and may be called from any thread, but only one thread at a time may call those that change files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def of(cls, data_directory: str | Path) -> SecretStore:
        return cls(Path(data_directory, "secrets"))

    def read(self, reference: str) -> bytes:
        return read_secret(reference, stored_in=self.directory)

    def write(self, name: str, secret: str) -> str:
        """Store a secret, and return its reference: the name with a random end. Raises SecretError."""
        name = f"{name}-{secrets.token_hex(4)}"
        self.put({name: secret.encode()})
        return f"secret:{name}"

    def put(self, stored: Mapping[str, bytes]) -> None:
        """Store the secrets under these names. Existing files stay as they are. Raises SecretError if a name is
        invalid, which is found before any file is written, or a file can't be written."""
        if invalid := [name for name in stored if not _is_name(name)]:
            raise SecretError(f"invalid name of a stored secret: {invalid[0]!r:.100}")
        missing = [name for name in stored if not (self.directory / name).exists()]
        try:
            if not self.directory.is_dir():
                self.directory.mkdir(0o700)
                flush_directory(self.directory.parent)
            for name in missing:
                write_private_file(self.directory / name, [stored[name]])
        except OSError as error:
            raise SecretError(f"the secrets can't be written to {self.directory}: {error.strerror}") from None

    def remove(self, reference: str) -> None:
        """Remove the file of a reference to a stored secret, if it exists. Other texts are ignored."""
        kind, _, name = reference.partition(":")
        if kind == "secret" and _is_name(name):
            (self.directory / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        return sorted(path.name for path in self._files() if _is_name(path.name))

    def contents(self) -> dict[str, bytes]:
        """Return the stored secrets by name, for a backup. Raises SecretError if a file can't be read or used."""
        found = {
            name: read_file(f"secret:{name}", str(self.directory / name), _WRITERS_OF_OWN) for name in self.names()
        }
        # The bot may have removed one since its name was read.
        return {name: secret for name, secret in found.items() if secret}

    def remove_unused(self, used: Collection[str], before: float) -> None:
        """Remove files that no reference in `used` names, and that were written before this Unix time."""
        for path in self._files():
            with suppress(FileNotFoundError):
                if f"secret:{path.name}" not in used and path.stat().st_mtime < before:
                    path.unlink()

    def _files(self) -> list[Path]:
        return list(self.directory.iterdir()) if self.directory.is_dir() else []


def _is_name(name: str) -> bool:
    with suppress(ValueError):
        return bool(parse_reference(f"secret:{name}"))
    return False


def flush_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_private_file(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file of mode 0600. It is complete, or is as before, also after a crash of the machine. Raises OSError."""
    # mkstemp creates the file with mode 0600.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
        flush_directory(path.parent)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise


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
    """Remove the variables of settings, and return them: programs of plugins would inherit their passwords."""
    names = [name for name in environment if name.startswith((_VALUE, _FILE))]
    return {name: environment.pop(name) for name in names}


def read_variables(variables: Mapping[str, str]) -> tuple[Mapping[str, object], Mapping[str, str]]:
    """Return the values of the settings, and their origins, both by the setting's name. An origin is the variable, with the
    path of the file if it names one. Raises ConfigError, whose text never has the value, for an invalid variable."""
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
