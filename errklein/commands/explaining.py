"""Says in a sentence what a verdict means."""

from __future__ import annotations

from errklein.commands.access import Caller, Verdict


def explain(caller: Caller, command: str, verdict: Verdict) -> str:
    """Whether `caller` may give the command, written as in chat, and which rule decides that, for an administrator."""
    where = "in a direct message" if caller.room is None else f"in {caller.room}"
    who = f"{caller.user}, an administrator," if caller.is_admin else caller.user
    applies = (
        "no pattern of ACCESS_CONTROLS applies"
        if verdict.pattern is None
        else f"the pattern {verdict.pattern!r} of ACCESS_CONTROLS applies"
    )
    if verdict.denial is not None:
        denial = f'They are told: "{verdict.denial.reason}".'
        return f"{who} may not use {command} {where}: {applies}, and {verdict.decisive} denies it. {denial}"
    if not verdict.rules:
        return f"{who} may use {command} {where}: {applies}, and nothing denies it."
    agreed = ", ".join(str(rule) for rule in verdict.rules)
    return f"{who} may use {command} {where}: {applies}, and all that is asked allows it: {agreed}."
