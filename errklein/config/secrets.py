"""Secrets that a configuration names by reference: in the environment, in a file, or as a credential of systemd."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from errklein.text.masking import masker
from errklein.verify import parse_reference

MOST_BYTES = 64 * 1024

_read: set[str] = set()
"""All secrets that this process has read. They stay masked, as an old one may still be in use."""


class SecretError(Exception):
    """A secret is missing or empty, or can't be read safely. The text names the reference and the remedy, never the value."""


def read_secret(reference: str, environment: Mapping[str, str] | None = None) -> bytes:
    """Return a secret, and let the masker replace it in all texts.

    One line end at the end of a file is removed. A file must be a regular one that only its owner may write, since whoever
    writes it can forge requests. Others may read it: Docker and Kubernetes mount secrets in this way.

    :param reference: "env:NAME", "file:/path" or "credential:NAME". The last is a file in the directory that systemd names in
        CREDENTIALS_DIRECTORY, for a service with LoadCredential= or SetCredential=.
    :param environment: The variables of the environment; by default those of the process.
    :raises SecretError: The secret is missing, empty, or can be changed by others.
    """
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
        remedy = f"write the secret to {name}, and reload the plugin"
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
    _read.add(secret.decode("utf-8", "backslashreplace"))
    masker.learn(masker, "secrets by reference", _read)
    return secret


def read_file(reference: str, path: str) -> bytes:
    """Return the content of a regular file without one line end at its end; b"" if it is missing.

    :param reference: What names the file, which begins the error.
    :raises SecretError: The file can't be read, or can be changed by others.
    """
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
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SecretError(f"{reference}: users other than its owner may write {path}; run chmod go-w {path}")
    if len(content) > MOST_BYTES:
        raise SecretError(f"{reference}: {path} is larger than {MOST_BYTES // 1024} KiB")
    return content.removesuffix(b"\n").removesuffix(b"\r")
