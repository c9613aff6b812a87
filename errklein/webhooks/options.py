"""The setting WEBHOOKS: the operator's options of plugins' webhooks, which take precedence over those of plugins, and webhooks of
rooms, which need no plugin and may also be made in a chat."""

from __future__ import annotations

import inspect
import re
import secrets
from base64 import b32encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from functools import lru_cache
from math import inf
from typing import Any, Self

from errklein.text.suggestions import did_you_mean
from errklein.verify import SCHEMES, Expired, Received, Verification, parse_reference, url_token, verification
from errklein.webhooks import option_values
from errklein.webhooks.declaration import DEFAULT_METHODS, Hook, HookDeclaration
from errklein.webhooks.option_values import CHECKS, HookError, InvalidOption, Rate, check_names, check_option, where
from errklein.webhooks.source import FindSource, Source, check_text

HookOptions = Mapping[str, Any]  # the options of one webhook, as fields of its declaration


def hook_options(setting: Any) -> Mapping[str, HookOptions]:
    """Return the options of plugins' webhooks in the value of WEBHOOKS, by the names of webhooks. Raises HookError. The value is a
    dict such as `{"Github:notification": {"verify": "github", "secret": "env:GH_SECRET", "rate": "10/s"}}`. The keys of an inner
    dict are options of the decorator, and those of the verification. Names without a colon are webhooks of rooms, which are left
    out."""
    if not isinstance(setting, Mapping):
        raise HookError(f"WEBHOOKS: expected a dict of webhooks, not a {type(setting).__name__}")
    for route in setting:
        plugin, _, method = route.rpartition(":") if isinstance(route, str) else ("", "", "")
        if not (plugin.strip() and method.isidentifier()) and not (isinstance(route, str) and NAME.fullmatch(route)):
            valid = "'Github:notification', of a plugin and its method, or such as 'alerts', of a webhook of a room"
            raise HookError(f"WEBHOOKS: expected names such as {valid}, not {route!r}")
    return {route: _options_of(route, options) for route, options in setting.items() if ":" in route}


def configured(
    hook: Hook, options: Mapping[str, HookOptions], default_methods: Sequence[str], find_source: FindSource
) -> Hook:
    """Return the webhook as the operator has configured it. Raises HookError."""
    own = options.get(hook.full_name, {})
    fields = dict(own)
    if "methods" in own:
        fields["methods_given"] = True
    elif not hook.declaration.methods_given and hook.declaration.methods == DEFAULT_METHODS:
        fields["methods"] = tuple(default_methods)
    declaration = replace(hook.declaration, **fields)
    try:
        if own:
            option_values.check_together(vars(declaration))
    except InvalidOption as error:
        raise HookError(f"WEBHOOKS[{hook.full_name!r}]: {error}") from None
    if not declaration.source_name:
        return replace(hook, declaration=declaration)
    try:
        source = find_source(declaration.source_name)
        of_source = None if "verify" in own else _verification_of(hook.full_name, source, declaration.secret)
    except ValueError as error:
        raise HookError(f"{hook.full_name}: {error}") from None
    methods = declaration.methods if declaration.methods_given else ("POST",)
    verify = declaration.verify if of_source is None else of_source
    return replace(hook, declaration=replace(declaration, source=source, verify=verify, methods=methods))


@lru_cache(1024)
def _verification_of(webhook: str, source: Source, secret: Sequence[str]) -> Verification:
    """Return the verification by a source: always the same, so that a webhook that doesn't change keeps its rate at a reload."""
    if secret:
        return source.verification(secret=secret)
    option = f"by the option secret of WEBHOOKS[{webhook!r}], such as env:NAME"
    return _unusable(source.name, f"no secret of {source.title} is configured; set it in config.py, {option}")


def _unusable(scheme: str, reason: str) -> Verification:
    return Verification(scheme, lambda received, secrets: None, unusable=reason)


def unknown_hooks(options: Iterable[str], methods: Mapping[str, Iterable[str] | None]) -> Iterator[tuple[str, str]]:
    """Yield the plugin and an error for each name of a webhook that doesn't exist."""
    for route in options:
        plugin, _, method = route.rpartition(":")
        if plugin not in methods:
            yield plugin, f"WEBHOOKS[{route!r}]: unknown plugin {plugin!r}{did_you_mean(plugin, methods)}"
        elif (known := methods[plugin]) is not None and method not in (names := sorted(known)):
            hint = did_you_mean(method, names) or (f"; it has {', '.join(names)}" if names else "; it has none")
            yield plugin, f"WEBHOOKS[{route!r}]: the plugin {plugin} has no webhook {method!r}{hint}"


def _options_of(route: str, given: Any) -> HookOptions:
    try:
        if not isinstance(given, Mapping):
            raise ValueError(f"expected a dict of options, not a {type(given).__name__}")
        options, scheme = dict(given), given.get("verify")
        if isinstance(scheme, str):
            # An unknown scheme is reported before its options.
            names = inspect.signature(SCHEMES[scheme]).parameters if scheme in SCHEMES else {}
            check_names(options if names else (), (*CHECKS, *names))
            options["verify"] = verification(scheme, **{name: options.pop(name) for name in names if name in options})
        check_names(options, CHECKS)
        return {
            option_values.OPTION_FIELDS.get(name, name): check_option(name, value) for name, value in options.items()
        }
    except ValueError as error:
        raise HookError(f"WEBHOOKS[{route!r}]: {error}") from None


NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_VERSION = 1
DAY = 86400.0
PREVIOUS_IS_VALID = DAY  # the seconds for which the token or secret before a rotation stays valid
NOTICE_BEFORE = 3 * DAY  # the seconds between the notice of an expiry and the expiry
KEPT_EXPIRED = 7 * DAY  # the seconds until an expired webhook is removed; another expiry makes it valid again before
_NOT_STORED = {"name", "is_from_file", "unusable"}
_PATTERN = re.compile(r"[\w.:*?-]{1,100}")
_MOST_PATTERNS = 50


@dataclass(frozen=True)
class RoomWebhook:
    """A webhook whose source's messages go to a room. Times are Unix times."""

    name: str  # the name in addresses and commands, such as "grafana"
    source: str  # the name of the source, such as "grafana"
    room: str  # such as "#ops" or "libera:#ops"; in the configuration file it may have placeholders
    rooms: tuple[str, ...] = ()  # those that placeholders in `room` may choose from; the first one is for all others
    events: tuple[str, ...] = ()  # patterns of the events that are shown; by default all
    text: str = ""  # a text with placeholders in place of the source's messages
    template: str = ""  # a file beside config.py that is a template in place of the source's messages
    secret: str = ""  # the reference to a secret
    signed: bool = False  # whether a source that only signs its requests on demand does so
    token: str = ""  # the hexadecimal SHA-256 digest of the token in the address
    previous: tuple[str, float] | None = None
    """The reference or digest before the last rotation, and the time until which it is valid."""
    expires: float = 0.0  # the time after which requests are refused; 0 without one
    noticed: bool = False  # whether the notice of the expiry was sent
    messages: str = "20/min"  # the rate of messages, beyond which they are counted
    rate: str = "600/min"  # the rate of requests, beyond which they are refused
    made_by: str = ""
    made_at: float = 0.0
    rotated_at: float = 0.0  # 0 without a rotation
    is_from_file: bool = False  # whether it is in the configuration file
    unusable: str = ""  # why what is stored can't be used, so that all requests get 503; "" if it can

    def stored(self) -> dict[str, Any]:
        """Return the webhook as JSON values, without its name."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {"version": _VERSION, **{key: value for key, value in values.items() if key not in _NOT_STORED}}

    @classmethod
    def of_stored(cls, name: str, stored: Mapping[str, Any]) -> Self:
        """Return the webhook of stored values. Raises HookError, LookupError and TypeError."""
        if NAME.fullmatch(name) is None:
            raise HookError(f"invalid name {name!r}")
        if stored.get("version", 0) > _VERSION:
            raise HookError(f"the webhook {name} was stored by a later version of errklein; upgrade errklein")
        known = [(key, stored[key]) for key in {field.name for field in fields(cls)} - _NOT_STORED if key in stored]
        values: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in known}
        found = cls(name=name, **values)
        if not (found.due >= 0 and all(isinstance(one, str) for one in (*found.digests, *found.references))):
            raise HookError(f"the webhook {name} has invalid times or secrets")
        return found

    @classmethod
    def of_unusable(cls, name: str, stored: Any, reason: str) -> Self:
        """Return the webhook of stored values that can't be used for this reason."""
        known, keys = stored if isinstance(stored, dict) else {}, ("source", "room", "secret", "token", "made_by")
        return cls(name, **{key: str(known.get(key) or "") for key in keys}, unusable=reason)  # type: ignore[arg-type]

    @property
    def digests(self) -> list[str]:
        """The digests of the tokens that are valid."""
        before = [self.previous[0]] if self.previous is not None and ":" not in self.previous[0] else []
        return [one for one in [self.token, *before] if one]

    @property
    def references(self) -> list[str]:
        """The references to the secrets that are valid."""
        before = [self.previous[0]] if self.previous is not None and ":" in self.previous[0] else []
        return [one for one in [self.secret, *before] if one]

    @property
    def due(self) -> float:
        """The Unix time at which something is to be done: the end of the previous secret, a notice, the removal; `inf` if never."""
        times = [self.previous[1]] if self.previous is not None else []
        if self.expires:
            times.append(self.expires + KEPT_EXPIRED if self.noticed else self.expires - NOTICE_BEFORE)
        return min(times, default=inf)

    def changed(self, option: str, text: str, now: float = 0.0) -> Self:
        """Return the webhook with another value of an option, which is given as a text. Raises HookError."""
        if option not in OPTIONS:
            known = (*OPTIONS, "secret")
            hint = did_you_mean(option, known) or f"; expected one of {', '.join(known)}"
            raise HookError(f"unknown option {option!r}{hint}")
        try:
            changed = replace(self, **{option: OPTIONS[option](text.strip(), now)})
        except InvalidOption as error:
            error.option = option
            raise HookError(str(error)) from None
        # Who sets an expiry that is so near needs no notice of it.
        return replace(changed, noticed=0 < changed.expires <= now + NOTICE_BEFORE) if option == "expires" else changed

    def rotated(self, now: float) -> Self:
        """Return the webhook without its token or secret, which stays valid for a day."""
        before = self.token or self.secret
        previous = (before, now + PREVIOUS_IS_VALID) if before else None
        return replace(self, secret="", token="", previous=previous, rotated_at=now)

    def declaration(self, find_source: FindSource, prefix: str) -> HookDeclaration:
        """Return the declaration of the webhook's route."""
        rule = f"{prefix}/{self.name}"
        if self.unusable:
            verify = _unusable("an unknown source", self.unusable)
            return HookDeclaration(rule, ("POST",), verify=verify, ack="now", source_name=self.source)
        source = find_source(self.source)
        of_source = self._verification(source)

        def check(received: Received, secrets: Sequence[bytes], **options: Any) -> Any:
            if received.now >= self.expires:
                raise Expired(f"the webhook {self.name} has expired")
            return of_source.check(received, secrets, **options)

        verify = replace(of_source, check=check) if self.expires else of_source
        return HookDeclaration(
            rule=rule,
            methods=("POST",),
            verify=verify,
            ack="now",
            rate=Rate.of(self.rate),
            dedupe="id" if verify.delivery_id is not None else None,
            methods_given=True,
            source_name=self.source,
            source=source,
            events=self.events,
        )

    def _verification(self, source: Source) -> Verification:
        if self.token or not (source.signs or self.signed):
            return url_token(self.references, digests=self.digests, delivery_id=source.delivery_id)
        if not self.secret:
            return _unusable(
                source.name, f"{source.title} makes the secret; set it with `!webhook set {self.name} secret`"
            )
        return source.verification(secret=self.references)


def expiry_of(text: str, now: float) -> float:
    """Return the Unix time of an expiry: "90d" from now, a date, which is that of its end, or "never", which is 0. Raises
    InvalidOption: the text is invalid, or the time isn't in the future."""
    if text in ("", "never"):
        return 0.0
    time = now + (option_values.duration_of(text) or 0)
    with suppress(ValueError, OverflowError):
        time = datetime.fromisoformat(text).timestamp() + (DAY if len(text) <= len("2027-01-31") else 0.0)
    if not now < time < now + 100 * 366 * DAY:
        raise InvalidOption("a future time such as '90d' or '2027-01-31', or 'never'", text)
    return time


def _events_of(text: str, now: float) -> tuple[str, ...]:
    patterns = tuple(dict.fromkeys(re.split(r"[\s,]+", text))) if text not in ("", "all") else ()
    if len(patterns) > _MOST_PATTERNS or not all(map(_PATTERN.fullmatch, patterns)):
        raise InvalidOption(f"at most {_MOST_PATTERNS} names of events such as 'push pull_request.*', or 'all'", text)
    return patterns


OPTIONS: Mapping[str, Callable[[str, float], Any]] = {
    "events": _events_of,
    "expires": expiry_of,
    "messages": lambda text, now: str(Rate.of(text)),
    "rate": lambda text, now: str(Rate.of(text)),
    "text": lambda text, now: check_text(text),
}
"""The options that can be set in a chat. Each function returns the value of a text, or raises InvalidOption."""


def new_token() -> str:
    """Return a token for an address, with 130 random bits."""
    return f"ekt{b32encode(secrets.token_bytes(20)).decode().lower()[:26]}"


def new_secret() -> str:
    """Return a secret for signatures, with 160 random bits."""
    return f"eks{b32encode(secrets.token_bytes(20)).decode().lower()}"


def check_signed(source: Source, *, signed: bool) -> None:
    """Raise HookError if requests are to be signed by a source that can't sign them."""
    if signed and source.verification is url_token:
        raise HookError(f"{source.title} signs nothing, so its address has a token; leave out 'signed'")


def room_webhooks(setting: Mapping[str, Any], find_source: FindSource) -> dict[str, RoomWebhook]:
    """Return the webhooks of rooms in the value of WEBHOOKS, by name: those whose names have no colon. Raises HookError."""
    found = {}
    for name, options in setting.items():
        if ":" not in name:
            try:
                found[name] = _of_setting(name, options, find_source)
            except ValueError as error:
                raise HookError(f"WEBHOOKS[{name!r}]: {error}") from None
    return found


def _of_setting(name: str, options: Any, find_source: FindSource) -> RoomWebhook:
    if not isinstance(options, Mapping):
        raise ValueError(f"expected a dict of options, not a {type(options).__name__}")
    check_names(options, _OF_FILES)
    for option in ("source", "room", "secret"):
        if not options.get(option):
            raise ValueError(f"the option {option!r} is missing")
    given = {option: value for option, value in options.items() if value is not None}
    values: Any = {option: check_option(option, value, _OF_FILES) for option, value in given.items()}
    webhook = RoomWebhook(name, is_from_file=True, **values)
    check_signed(find_source(webhook.source), signed=webhook.signed)
    if webhook.text and webhook.template:
        raise ValueError("the options 'text' and 'template' exclude each other")
    if ("{" in webhook.room) != bool(webhook.rooms):
        with_placeholder = "'room' with a placeholder such as '#{labels.team}'"
        raise ValueError(f"the options 'rooms', a list, and {with_placeholder} require each other")
    return webhook


_one_text = where(lambda value: isinstance(value, str), "a text")


def _as_in_chat(option: str, given: Callable[[Any], str] = _one_text) -> Callable[[Any], Any]:
    return lambda value: OPTIONS[option](given(value).strip(), 0.0)


def _texts(value: Any) -> tuple[str, ...]:
    several = (value,) if isinstance(value, str) else value
    if not isinstance(several, (list, tuple)) or not all(isinstance(one, str) and one for one in several):
        raise InvalidOption("a list of texts", value)
    return tuple(several)


def _reference(value: Any) -> str:
    kind, _ = parse_reference(value)
    if kind == "secret":
        raise InvalidOption("a reference such as 'env:NAME' or 'file:/path'; the bot makes others itself", value)
    return str(value)


def _is_file_name(value: Any) -> bool:
    return isinstance(value, str) and value[:1] not in ("", "/") and ".." not in value.split("/")


_OF_FILES: Mapping[str, Callable[[Any], Any]] = {
    "source": CHECKS["source"],
    "room": lambda value: check_text(_one_text(value)),
    "rooms": _texts,
    "events": _as_in_chat("events", lambda value: " ".join(_texts(value))),
    "secret": _reference,
    "signed": CHECKS["ordered"],
    "text": _as_in_chat("text"),
    "template": where(_is_file_name, "the name of a file beside config.py, such as 'alerts.md'"),
    "messages": _as_in_chat("messages"),
    "rate": _as_in_chat("rate"),
}
"""The options in a configuration file. Those that can be set in a chat, too, are checked as there."""
