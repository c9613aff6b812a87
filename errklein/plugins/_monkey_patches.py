"""Refuses the monkey patches of gevent and eventlet, which replace threads, sockets and selectors of the whole process."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, NoReturn

_PATCHING = {"gevent.monkey": "patch_", "eventlet.patcher": "monkey_patch"}
"""The beginning of the names of the functions that patch, by module."""


class MonkeyPatchesRefused(RuntimeError):
    """A plugin applies monkey patches that would stop the bot."""


class MonkeyPatchFinder(MetaPathFinder):
    """Lets the functions that apply monkey patches raise MonkeyPatchesRefused, in modules that are imported from now on."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _PATCHING:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def execute_and_replace(module: ModuleType) -> None:
                execute(module)
                for name, value in list(vars(module).items()):
                    if name.startswith(_PATCHING[fullname]) and callable(value):
                        setattr(module, name, _refusal(f"{fullname}.{name}"))

            loader.exec_module = execute_and_replace
        return spec


def _refusal(function: str) -> Any:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise MonkeyPatchesRefused(
            f"{function}() would replace the threads and sockets of the whole bot. Remove the call: blocking handlers run in "
            "threads anyway"
        )

    return refuse
