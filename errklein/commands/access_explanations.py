"""Says in a sentence what a decision means."""

from __future__ import annotations

from collections.abc import Callable

from errklein.commands.access import AccessDecision, AccessRule, Caller


def explain_access(
    caller: Caller, command: str, decision: AccessDecision, *, disclosed: bool = True, show: Callable[[str], str] = str
) -> str:
    """Whether `caller` may give the command, written as in chat, and which rule decides that, for an administrator.

    `disclosed` says whether those who may not are told so. `show` quotes what comes from the configuration or from a chat.
    """
    who = show(caller.user) + (" (an administrator)" if caller.is_admin else "")
    where = "in a direct message" if caller.room is None else f"in {show(caller.room)}"
    applies = "no pattern of ACCESS_CONTROLS applies"
    if decision.pattern is not None:
        applies = f"the pattern {show(repr(decision.pattern))} of ACCESS_CONTROLS applies"
    rules = [_describe(rule, show) for rule in decision.rules]
    if decision.denial is not None:
        answer = f"The answer is: {decision.denial}." if disclosed else "There is no answer (HIDE_RESTRICTED_ACCESS)."
        return f"{who} may not use {show(command)} {where}: {applies}, and {rules[-1]} denies it. {answer}"
    agreed = f"these allow it: {', '.join(rules)}" if rules else "nothing denies it"
    return f"{who} may use {show(command)} {where}: {applies}, and {agreed}."


def _describe(rule: AccessRule, show: Callable[[str], str]) -> str:
    if rule.key == "BOT_ADMINS":
        return "BOT_ADMINS"
    if rule.value is None:
        return f"the lack of {show(f'{rule.key} = True')}, which a command for administrators needs in a room,"
    where = "ACCESS_CONTROLS_DEFAULT" if rule.pattern is None else f"ACCESS_CONTROLS[{rule.pattern!r}]"
    return show(f"{where}[{rule.key!r}] = {rule.value!r}")
