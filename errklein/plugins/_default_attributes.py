"""Attributes of BotPlugin that a plugin may define otherwise."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class DefaultMethod:
    """A decorator for a method of BotPlugin whose name plugins written for errbot may use for something else. A
    plugin's own attribute of that name takes precedence, wherever it is: in the instance, in a subclass, or in another
    base class, also one after BotPlugin. An assignment to the instance hides the method, since there is no `__set__`.
    """

    def __init__(self, attribute: Any) -> None:
        self.__doc__ = attribute.__doc__
        self._attribute = attribute

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name

    def __get__(self, plugin: object | None, cls: type) -> Any:
        after: Any = super(self._owner, cls if plugin is None else plugin)
        try:
            return getattr(after, self._name)
        except AttributeError:
            return self._attribute.__get__(plugin, cls)


class DefaultProperty(DefaultMethod, Generic[T]):
    """The same for a property whose value is created once."""

    def __init__(self, create: Callable[[Any], T], library: str = "") -> None:
        super().__init__(cached_property(create))
        self._errklein_library = library

    def __set_name__(self, owner: type, name: str) -> None:
        super().__set_name__(owner, name)
        self._attribute.__set_name__(owner, name)

    def __get__(self, plugin: object | None, cls: type) -> T:
        value: T = super().__get__(plugin, cls)
        return value
