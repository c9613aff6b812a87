"""Checks arguments of calls against the schema of Slack's own types, which `.ci/slack_types.py` generates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA: Mapping[str, Any] = json.loads((Path(__file__).parent / "schema.json").read_text())

TYPES: Mapping[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}


def problem(value: Any, schema: Mapping[str, Any], where: str = "") -> str:
    """Return what is wrong with a value; "" if it is valid. Of alternatives, the one that fits best is reported."""
    if "$ref" in schema:
        return problem(value, SCHEMA[schema["$ref"]], where)
    if "anyOf" in schema:
        # As in TypeScript, an object may have what belongs to another alternative.
        others: dict[str, Any] = {}
        for one in schema["anyOf"]:
            others |= one.get("properties", {})
        alternatives = [{**one, "properties": {**others, **one.get("properties", {})}} for one in schema["anyOf"]]
        found = [problem(value, one, where) for one in alternatives]
        return "" if "" in found else max(found, key=lambda text: text.count("."))
    if "not" in schema:
        return f"{where} isn't allowed" if not problem(value, schema["not"], where) else ""
    names = schema.get("type", ())
    kinds = [kind for name in ([names] if isinstance(names, str) else names) for kind in TYPES[name]]
    if kinds and (not isinstance(value, tuple(kinds)) or (isinstance(value, bool) and bool not in kinds)):
        return f"{where} is {value!r}, no {names}"
    if value not in schema.get("enum", (value,)) or value != schema.get("const", value):
        return f"{where} is {value!r}"
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        for name in schema.get("required", ()):
            if name not in value:
                return f"{where}.{name} is missing"
        for name, item in value.items():
            if name not in known and others is False:
                return f"{where}.{name} is unknown"
            if name in known and (found_problem := problem(item, known[name], f"{where}.{name}")):
                return found_problem
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return f"{where} has {len(value)} items"
        items = schema.get("items", {})
        for number, item in enumerate(value):
            if found_problem := problem(
                item, items[number] if isinstance(items, list) else items, f"{where}[{number}]"
            ):
                return found_problem
    return ""


def from_query(arguments: Mapping[str, str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments in a query or form as the values that the schema names."""
    properties: dict[str, Any] = {}
    for one in schema.get("anyOf", [schema]):
        properties |= one.get("properties", {})
    read: dict[str, Any] = {}
    for name, text in arguments.items():
        kind = properties.get(name, {}).get("type", "array" if "items" in properties.get(name, {}) else "string")
        if kind == "string":
            read[name] = text
        elif kind == "boolean":
            read[name] = {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
        else:
            try:
                read[name] = json.loads(text)
            except ValueError:
                read[name] = text
    return read
