#!/usr/bin/env python3
"""How much of the official Python surface a package has.

The surface is python.json: every export and service class, each with its members, fields, enum values and parameters
(names, order, defaults). An item holds when nothing of it is missing or different; more than the official surface is
fine. holds-python.txt names the items that have to hold: it may only grow.

usage: check_python.py [MODULE] [--list] [--ratchet | --update]

--list prints every item that does not hold, and why. --ratchet fails if one of holds-python.txt does not hold.
--update adds what holds now.
"""

from __future__ import annotations

import argparse
import enum
import importlib
import inspect
import json
import pathlib
import sys
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
HOLDS = HERE / "holds-python.txt"
# Kept for the generated client's own objects; nobody calls them.
INTERNAL_INIT = "__init__"


def wrong_params(function: Any, wanted: list[list[str]]) -> str | None:
    """What is wrong with the parameters, or `None`."""
    try:
        have = [p for p in inspect.signature(function).parameters.values() if p.name not in ("self", "cls")]
    except (TypeError, ValueError):
        return "has no signature"
    by_name = {p.name: p for p in have}
    for name, kind, *default in wanted:
        if kind in ("var_keyword", "var_positional"):
            continue
        if name not in by_name:
            return f"has no parameter {name}"
        if default and by_name[name].default is inspect.Parameter.empty:
            return f"parameter {name} should default to {default[0]}"
        if default and not same_default(by_name[name].default, default[0]):
            return f"parameter {name} defaults to {by_name[name].default!r}, not {default[0]}"
    order = [name for name, kind, *_ in wanted if kind == "positional_or_keyword"]
    mine = [p.name for p in have if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)]
    return None if mine[: len(order)] == order else f"takes {mine}, not {order}"


def same_default(have: Any, want: str) -> bool:
    simple = want in ("None", "True", "False", "''", '""') or want.lstrip("-").replace(".", "").isdigit()
    value = have.value if isinstance(have, enum.Enum) else have
    return not simple or want in (repr(value).replace('"', "'"), str(have)) or (want == '""' and value == "")


def has_member(cls: type, name: str) -> bool:
    if hasattr(cls, name) or any(name in getattr(base, "__annotations__", {}) for base in cls.__mro__):
        return True
    if name in (getattr(cls, "__dataclass_fields__", None) or {}):
        return True
    try:
        return name in inspect.signature(cls).parameters
    except (TypeError, ValueError):
        return False


def members(name: str, wanted: Any) -> list[str]:
    """The members that are looked at, each an item of its own."""
    if wanted["kind"] not in ("class", "enum"):
        return []
    given = wanted.get("members", {})
    public = [one for one in given if not one.startswith("_")]
    if name in ("Daytona", "AsyncDaytona"):
        public.append(INTERNAL_INIT)
    return list(dict.fromkeys([*wanted.get("fields", {}), *public]))


def check_item(name: str, wanted: Any, found: Any) -> str | None:
    if found is None:
        return "is not there"
    match wanted["kind"]:
        case "enum":
            good = isinstance(found, type) and issubclass(found, str) and issubclass(found, enum.Enum)
            return None if good else "is no str enum"
        case "class":
            return None if inspect.isclass(found) else "is no class"
        case "function":
            return wrong_params(found, wanted["params"]) if callable(found) else "is not callable"
    return None


def check_member(owner: Any, wanted: Any, name: str) -> str | None:
    if wanted["kind"] == "enum":
        want = str(wanted["members"][name]).strip().strip("'\"")
        have = getattr(owner, name, None)
        return None if have is not None and str(have.value) == want else f"should be {want}"
    if not has_member(owner, name):
        return "is missing"
    params = wanted.get("members", {}).get(name, {}).get("params")
    if params is None or name not in dir(owner):
        return None
    return wrong_params(owner if name == INTERNAL_INIT else getattr(owner, name), params)


def check(module: Any, manifest: Any) -> dict[str, str | None]:
    """Every item, and what is wrong with it."""
    result: dict[str, str | None] = {}
    for name, wanted in {**manifest["exports"], **manifest["services"]}.items():
        found = getattr(module, name, None)
        result[name] = problem = check_item(name, wanted, found)
        for member in members(name, wanted):
            result[f"{name}.{member}"] = f"{name} {problem}" if problem else check_member(found, wanted, member)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description="How much of the official Python surface a package has.")
    parser.add_argument("module", nargs="?", default="daytona_native")
    parser.add_argument("--list", action="store_true", help="print what does not hold")
    parser.add_argument("--ratchet", action="store_true", help=f"fail if an item of {HOLDS.name} does not hold")
    parser.add_argument("--update", action="store_true", help=f"add what holds to {HOLDS.name}")
    options = parser.parse_args()
    manifest = json.loads((HERE / "python.json").read_text("utf-8"))
    result = check(importlib.import_module(options.module), manifest)
    holds = {item for item, problem in result.items() if problem is None}
    if options.list:
        print("\n".join(f"{item}: {problem}" for item, problem in result.items() if problem))
    share = f"{len(holds)} of {len(result)} items hold ({len(holds) * 100 // len(result)} %)"
    print(f"python parity with {manifest['package']} {manifest['version']}: {share}")
    committed = set(HOLDS.read_text("utf-8").split()) if HOLDS.exists() else set()
    if options.update:
        HOLDS.write_text("".join(f"{item}\n" for item in sorted(committed | holds)), "utf-8")
        return 0
    lost = sorted(committed - holds)
    if options.ratchet:
        print("".join(f"does not hold any more: {item}: {result.get(item, 'no such item')}\n" for item in lost), end="")
        if holds - committed:
            print(f"{len(holds - committed)} more hold than {HOLDS.name} says: add them with --update")
        return int(bool(lost))
    return 0


if __name__ == "__main__":
    sys.exit(main())
