"""The package as such: what importing it costs, what it exports, that its parts agree."""

from __future__ import annotations

import inspect
import json
import pathlib
import subprocess
import sys

import pytest

import daytona_native

ROOT = pathlib.Path(__file__).parents[2]
MANIFEST = json.loads((ROOT / "tests/parity/python.json").read_text())
HEAVY = {"asyncio", "dataclasses", "enum", "inspect", "json", "logging", "pathlib", "re", "ssl", "threading", "typing"}


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys; from daytona_native import Daytona; print(*sys.modules)"
    # -S: what site loads for editable installations is not ours.
    path = str(pathlib.Path(daytona_native.__file__).parents[1])
    setup = f"import sys; sys.path.insert(0, {path!r}); "
    loaded = subprocess.run([sys.executable, "-S", "-c", setup + code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(loaded.stdout.split())


def test_every_exported_name_loads() -> None:
    for name in daytona_native.__all__:
        assert getattr(daytona_native, name) is not None
    assert set(daytona_native.__all__) <= set(dir(daytona_native))
    with pytest.raises(AttributeError, match="Daytonna"):
        daytona_native.Daytonna  # type: ignore[attr-defined]  # noqa: B018


def test_the_synchronous_client_is_up_to_date() -> None:
    script = ROOT / "bindings-python/generate_sync.py"
    subprocess.run([sys.executable, str(script), "--check"], check=True)


def parameters(function: object) -> list[tuple[str, str, object]]:
    signature = inspect.signature(function)  # type: ignore[arg-type]
    return [(p.name, p.kind.name.lower(), p.default) for p in signature.parameters.values() if p.name != "self"]


OFFICIAL = {**MANIFEST["exports"], **MANIFEST["services"]}
SERVICES = ["Daytona", "Sandbox", "FileSystem", "Process", "CodeInterpreter"]
METHODS = [
    (prefix + name, method)
    for name in SERVICES
    for prefix in ("", "Async")
    for method, spec in OFFICIAL[prefix + name]["members"].items()
    if spec.get("params") is not None and not method.startswith("__")
    if hasattr(getattr(daytona_native, prefix + name), method)
]


@pytest.mark.parametrize(("owner", "method"), METHODS)
def test_methods_have_the_official_signature(owner: str, method: str) -> None:
    wanted = OFFICIAL[owner]["members"][method]["params"]
    ours = {
        name: (kind, default) for name, kind, default in parameters(getattr(getattr(daytona_native, owner), method))
    }
    positional = [name for name, kind, *_ in wanted if kind == "positional_or_keyword"]
    assert [name for name, (kind, _) in ours.items() if kind != "keyword_only"][: len(positional)] == positional
    for name, kind, *default in wanted:
        if kind.startswith("var_"):
            continue
        assert name in ours
        if default and default[0].replace(".", "").lstrip("-").isalnum():
            assert repr(ours[name][1]) == default[0], name


def test_the_slice_is_complete() -> None:
    """Names of later work are absent; what is here is all of the resource or named here."""
    later = {
        "Sandbox": {"git", "computer_use", "create_lsp_server"}
        | {"recover", "archive", "resize", "wait_for_resize_complete", "fork", "create_snapshot", "pause"}
        | {"update_network_settings", "get_preview_link", "create_signed_preview_url"}
        | {"expire_signed_preview_url", "create_ssh_access", "revoke_ssh_access", "validate_ssh_access"},
        "Process": set(),
        "CodeInterpreter": set(),
        "Daytona": set(),
        "FileSystem": set(),
    }
    for name in SERVICES:
        for prefix in ("", "Async"):
            official = {member for member in OFFICIAL[prefix + name]["members"] if not member.startswith("_")}
            missing = {member for member in official if not hasattr(getattr(daytona_native, prefix + name), member)}
            assert missing <= later[name], prefix + name


def test_fields_and_enums_are_the_official_ones() -> None:
    for name, spec in MANIFEST["exports"].items():
        ours = getattr(daytona_native, name, None)
        if ours is None:
            continue
        if spec["kind"] == "enum":
            assert {member: ours[member].value for member in spec["members"]} == spec["members"]
        elif name not in ("Sandbox", "AsyncSandbox"):
            fields = set(spec.get("fields", {}))
            assert fields <= set(getattr(ours, "_fields", ())) | set(dir(ours)), name
        else:
            assert set(spec["fields"]) <= set(ours.model_fields), name


def test_every_official_error_is_exported() -> None:
    errors = {name for name in MANIFEST["exports"] if name.startswith("Daytona") and name.endswith("Error")}
    assert errors <= set(daytona_native.__all__)
