"""Loads `.flow` files, and activates and deactivates their flows."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from twisted.logger import Logger

from errklein.plugins.botflow import BotFlow
from errklein.plugins.discovery import find_plug_files
from errklein.plugins.execution import RAISED, PluginExecution, PluginFactory
from errklein.plugins.imports import load_module, plugin_class, unload
from errklein.plugins.plug_file import PlugFile
from errklein.plugins.plugin import PluginError, PluginProblem, PluginTimeout, UnknownPlugin
from errklein.running import Deadline
from errklein.text.masking import masker

_LOADING = "loading flows"


class FlowFiles:
    """The loaded collections of flows by name, active or not. Their code runs in a thread."""

    log = Logger()

    def __init__(self, execution: PluginExecution, make: PluginFactory) -> None:
        self.flows: dict[str, BotFlow] = {}
        self._files: dict[str, PlugFile] = {}
        self._execution = execution
        self._make = make

    async def load(self, roots: Iterable[Path], activate: bool = True) -> list[PluginProblem]:
        found = await self._execution.in_thread(partial(find_plug_files, list(roots), suffix=".flow"), _LOADING)
        problems: list[PluginProblem] = []
        deadline = self._execution.deadline()
        for path in found:
            try:
                problem = await self._find(path, activate, deadline)
            except Exception as error:
                summary = "The flows in a file don't work"
                problem = PluginProblem(str(error), path=path, source=getattr(error, "source", ""), summary=summary)
            if problem is not None:
                problems.append(problem)
        return problems

    async def activate(self, name: str, within: float | None = None) -> None:
        """Activate the flows. Raises PluginTimeout if `activate` doesn't return within `within` seconds; it continues
        in the background."""
        await self._change(name, True, "It continues in the background.", within)

    async def deactivate(self, name: str, within: float | None = None) -> None:
        """Deactivate the flows and end those in progress. Raises PluginTimeout if `deactivate` doesn't return within
        `within` seconds; the flows are inactive nevertheless."""
        await self._change(name, False, "The flows have been removed nevertheless.", within)

    async def _change(self, name: str, active: bool, then: str, within: float | None) -> None:
        flows, method = self._named(name), "activate" if active else "deactivate"
        if flows.is_activated is active:
            raise PluginError(f"{name} is already {method}d.")
        try:
            running = self._execution.run(getattr(flows, method))
            await self._execution.in_time(running, f"{name}.{method}", within, then)
        except RAISED as error:
            is_late = isinstance(error, PluginTimeout)
            if not (active and is_late):
                BotFlow.deactivate(flows)
            if is_late:
                raise
            self.log.failure("The flows {name} raised an exception in {method}", name=name, method=method)
            if active:
                raise PluginError(f"The flows {name} could not be activated: {masker(str(error))}") from error
        if not active:
            flows.is_activated = False

    async def remove_below(self, directory: Path) -> None:
        for name, file in list(self._files.items()):
            if file.path.is_relative_to(directory):
                await self._deactivate_quietly(name)
                del self.flows[name], self._files[name]
                await self._execution.in_thread(partial(unload, file), _LOADING)

    async def stop(self, within: float) -> None:
        deadline = Deadline(self._execution.reactor, within)
        for name in self.flows:
            await self._deactivate_quietly(name, deadline.left)

    async def _deactivate_quietly(self, name: str, within: float | None = None) -> None:
        if self.flows[name].is_activated:
            try:
                await self.deactivate(name, within)
            except PluginTimeout as error:
                self.log.warn("{error}", error=str(error))

    def _named(self, name: str) -> BotFlow:
        if name not in self.flows:
            names = ", ".join(sorted(self.flows)) or "none"
            raise UnknownPlugin(f"Unknown flows: {name}. Valid names: {names}.")
        return self.flows[name]

    async def _find(self, path: Path, activate: bool, deadline: Deadline) -> PluginProblem | None:
        file = await self._execution.in_thread(partial(PlugFile.load, path), _LOADING)
        if known := self._files.get(file.name):
            exists = PluginProblem(f"{path}: there are already flows named {file.name}, in {known.path}", path=path)
            return None if known.path == path else exists
        if refusal := file.refusal():
            return PluginProblem(f"{file.name} can't be used: {refusal} ({path})", path=path)
        flows, warning = await self._execution.load(file, partial(self._load, file), deadline.left)
        self.flows[file.name] = flows
        self._files[file.name] = file
        if activate:
            await self.activate(file.name, deadline.left)
        return PluginProblem(warning, path=path) if warning else None

    def _load(self, file: PlugFile) -> tuple[BotFlow, str | None]:
        cls, warning = plugin_class(load_module(file, fresh=True), BotFlow)
        return self._make(cls, file.name), warning
