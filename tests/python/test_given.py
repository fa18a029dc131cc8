"""Parameter objects, the same as dicts, and what is neither: for every method that takes one, of both clients."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import daytona_native as dn
from daytona_native import DaytonaError, DaytonaInvalidArgumentError
from daytona_native._model import Model
from given_rows import ROWS, VOLUME, Client, Recorder, Row


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    server = Recorder()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, recorder: Recorder) -> Iterator[Client]:
    made = Client(request.param == "async", recorder)
    yield made
    made.wait(made.client.close)
    made.loop.close()


def wrapped(row: Row, value: object) -> object:
    return [value] if row.several else value


def camel(values: object) -> Any:
    if isinstance(values, Mapping):
        names = {name: re.sub("_(.)", lambda found: found[1].upper(), name) for name in values}
        # What a field holds under names of its own stays.
        kept = ("labels", "env_vars", "env")
        return {names[name]: one if name in kept else camel(one) for name, one in values.items()}
    return [camel(one) for one in values] if isinstance(values, list) else values


def alike(kind: type[Any], values: dict[str, Any]) -> object:
    """An object of another package's class with the same fields."""
    names = [name for name in kind._fields if name not in ("sandbox_classes", "request_timeout")]
    fields = [(name, object, dataclasses.field(default=kind._defaults.get(name))) for name in names]
    return dataclasses.make_dataclass(f"Official{kind.__name__}", fields)(**values)


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.name}-{row.kind.__name__}" for row in ROWS])
def test_a_dict_is_read_as_the_class(client: Client, row: Row) -> None:
    expected = client.sent(row, wrapped(row, row.kind(**row.good)))
    assert expected
    assert client.sent(row, wrapped(row, row.good)) == expected
    assert client.sent(row, wrapped(row, types.MappingProxyType(row.good))) == expected
    assert client.sent(row, wrapped(row, camel(row.good))) == expected
    assert client.sent(row, wrapped(row, alike(row.kind, row.good))) == expected
    inherited = type("Own", (row.kind,), {"__annotations__": {}})
    assert client.sent(row, wrapped(row, inherited(**row.good))) == expected
    if row.optional:
        client.sent(row, None)
    if row.text:
        assert client.sent(row, "s1") == expected
    if row.thing:
        assert client.sent(row, {"id": row.good["id"]}) == expected


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.name}-{row.kind.__name__}" for row in ROWS])
def test_what_is_no_such_object_is_refused(client: Client, row: Row) -> None:
    others: list[object] = [5, 0, "x", "", b"x", [1], [], (), True, False, object(), types.SimpleNamespace(), int]
    others += [dn.Resources(cpu=1), dn.CodeRunParams(), dn.VolumeMount(volume_id="v", mount_path="/m")]
    others += [dn.ListSandboxesQuery(name="n"), dn.DaytonaConfig(), dn.Match(file="f", line=1, content="c")]
    others += [alike(dn.DaytonaConfig, {}), alike(dn.ExecuteResponse, {})]
    others.append(client.sandbox)
    if not row.optional:
        others.append(None)
    for other in others:
        if isinstance(other, row.kind) or (row.text and isinstance(other, str) and other):
            continue
        if row.several and other in ([], ()):
            continue
        message = client.refused(row, wrapped(row, other))
        assert row.argument in message, message
        if row.several and not isinstance(other, (list, tuple)):
            assert row.argument in client.refused(row, other)


@pytest.mark.filterwarnings("ignore:var_async")
@pytest.mark.parametrize("row", ROWS, ids=[f"{row.name}-{row.kind.__name__}" for row in ROWS])
def test_a_field_that_is_unknown_missing_or_of_another_type_is_refused(client: Client, row: Row) -> None:
    message = client.refused(row, wrapped(row, {**row.good, "nonsense_1": None}))
    assert "has no key 'nonsense_1'" in message
    known = next(name for name in row.good if len(name) > 1)
    misspelt = {**row.good, known + "x": row.good[known]}
    assert f"Did you mean {known!r}" in client.refused(row, wrapped(row, misspelt))
    assert "has no key 5" in client.refused(row, wrapped(row, {5: 5}))
    if row.thing:
        assert f"{row.argument}.id" in client.refused(row, {"id": ""})
        assert f"{row.argument}.id" in client.refused(row, {"id": 5})
        return
    two = next((name for name in row.good if "_" in name), None)
    if two:
        twice = client.refused(row, wrapped(row, {**row.good, **camel({two: row.good[two]})}))
        assert f"has {two!r} twice" in twice
    for name in row.kind._fields:
        if name not in row.kind._defaults and name != "image":
            left = {key: one for key, one in row.good.items() if key != name}
            assert f"needs {name!r}" in client.refused(row, wrapped(row, left))
        wrong: object = object()
        if name == "source" and row.kind is dn.FileUpload:
            continue
        message = client.refused(row, wrapped(row, {**row.good, name: wrong}))
        assert f"{name} must be" in message, message
        # The same in an object, where the class does not look at it.
        made = row.kind(**row.good)
        setattr(made, name, wrong)
        assert client.refused(row, wrapped(row, made)) == message
        assert getattr(made, name) is wrong


def test_what_the_official_models_read_is_read() -> None:
    from daytona_native._given import given_sandbox_params

    text = {"auto_stop_interval": "5", "ttl_minutes": 6.0, "public": "true", "network_block_all": 1, "kvm": "off"}
    made = given_sandbox_params(text)
    assert made is not None
    assert (made.auto_stop_interval, made.ttl_minutes) == (5, 6)
    assert (made.public, made.network_block_all, made.kvm) == (True, True, False)
    for name, value in [("auto_stop_interval", "5m"), ("auto_stop_interval", 1.5), ("public", "maybe"), ("public", 2)]:
        with pytest.raises(DaytonaInvalidArgumentError, match=rf"params\.{name} must be"):
            given_sandbox_params({name: value})


def test_messages_name_the_place(client: Client) -> None:
    def message(value: object) -> str:
        return client.refused(ROWS[0], value)

    assert message("my-snapshot").endswith("Pass {\"snapshot\": 'my-snapshot'}")
    assert "params must be a CreateSandboxFromSnapshotParams or a dict" in message(5)
    assert "not a Resources" in message(dn.Resources(cpu=1))
    assert "Did you mean 'network_block_all'" in message({"network_blok_all": True})
    assert "params.volumes[0] needs 'mount_path'" in message({"volumes": [{"volume_id": "v"}]})
    assert "params.volumes[1] has no key 'path'" in message(
        {"volumes": [{"volume_id": "v", "mount_path": "/m"}, {"path": "/m"}]}
    )
    assert "params.volumes must be a list" in message({"volumes": {"volume_id": "v", "mount_path": "/m"}})
    assert "params.labels['a'] must be text" in message({"labels": {"a": 1}})
    assert "image and snapshot" in message({"image": "a", "snapshot": "b"})
    assert "params.resources" in message({"snapshot": "b", "resources": {"cpu": 1}})
    assert "params.resources.cpu must be a whole number" in message({"image": "b", "resources": {"cpu": "many"}})
    assert "image must be the name of an image or an Image" in message({"image": 5})
    seen = types.SimpleNamespace(language=None, env_vars=None, auto_stop_interval=None, network_blok_all=True)
    assert "with 'network_blok_all'" in message(seen)


def test_dicts_within_objects(client: Client) -> None:
    volume: Any = {"volume_id": "v", "mount_path": "/m"}
    resources: Any = {"cpu": 2}
    whole = dn.CreateSandboxFromImageParams(
        image="i", volumes=[dn.VolumeMount(**volume)], resources=dn.Resources(**resources)
    )
    mixed = dn.CreateSandboxFromImageParams(image="i", volumes=[volume], resources=resources)
    assert client.sent(ROWS[1], mixed) == client.sent(ROWS[1], whole)
    assert mixed.volumes == [volume]


def test_secrets_are_not_in_refusals(client: Client) -> None:
    row = next(row for row in ROWS if row.name == "secret.create")
    assert "hidden" not in client.refused(row, {"name": "n", "value": "hidden", "hosts": "hidden"})
    with pytest.raises(DaytonaInvalidArgumentError) as caught:
        dn.Daytona({"api_key": ["hidden"]})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("kind", [dn.Daytona, dn.AsyncDaytona])
def test_a_configuration(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "API_URL", "TARGET", "JWT_TOKEN", "ORGANIZATION_ID"):
        monkeypatch.setenv(f"DAYTONA_{name}", "http://environment.invalid" if name == "API_URL" else "environment")
    values: Any = {"api_key": "k", "api_url": "http://127.0.0.1:1/api", "target": "t", "use_deprecated_polling": True}
    for config in (values, camel(values), alike(dn.DaytonaConfig, values), dn.DaytonaConfig(**values)):
        assert kind(config)._client().settings() == ("t", True)
        client: Any = dn.Daytona(config)  # type: ignore[arg-type]
        assert client._client().api_url() == "http://127.0.0.1:1/api"
    assert kind({})._client().settings() == ("environment", False)
    assert kind({"api_key": "k", "_experimental": {"otelEnabled": False}})
    wrong: list[object] = [5, 0, "k", "", [], [1], False, object(), dn.Resources(), types.SimpleNamespace(api_key="k")]
    for config in wrong:
        with pytest.raises(DaytonaInvalidArgumentError, match="config must be a DaytonaConfig or a dict"):
            kind(config)
    with pytest.raises(DaytonaInvalidArgumentError, match=r"has no key 'apikey'\. Did you mean 'api_key'"):
        kind({"apikey": "k"})
    with pytest.raises(DaytonaInvalidArgumentError, match="api_key must be text"):
        kind({"api_key": 5})
    with pytest.raises(DaytonaInvalidArgumentError, match="connection_pool_maxsize must be a whole number"):
        kind(dn.DaytonaConfig(connection_pool_maxsize=[]))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["start", "stop", "delete"])
def test_sandboxes_as_arguments(client: Client, name: str) -> None:
    other_kind = dn.Sandbox if client.is_async else dn.AsyncSandbox
    others = [5, "box", None, {"id": "box"}, [], client.client, other_kind(client.sandbox._native)]
    for other in others:
        with pytest.raises(DaytonaInvalidArgumentError, match=f"sandbox must be an? {type(client.sandbox).__name__}"):
            client.wait(functools.partial(getattr(client.client, name), other))
    assert client.recorder.take() == []
    with pytest.raises(DaytonaError):
        client.wait(lambda: getattr(client.client, name)(client.sandbox))
    assert client.recorder.take()


def test_mappings_and_lists_as_arguments(client: Client) -> None:
    api = client.client.api
    wrong: Any
    for wrong in (5, 0, "a=b", "", [("a", "b")], [], False):
        row = Row("request", "query", Model, {}, lambda c, _s, x: c.api.request("GET", "/x", x))
        assert "query must be a dict" in client.refused(row, wrong)
    row = Row("keys", "permissions", Model, {}, lambda c, _s, x: c.api.create_api_key("k", x))
    for wrong in ("write:sandboxes", {"write:sandboxes": True}, 5, None):
        assert "permissions must be a list" in client.refused(row, wrong)
    assert "permissions[1] must be text" in client.refused(row, ["write:sandboxes", 5])
    assert client.sent(row, ("write:sandboxes",)) == client.sent(row, ["write:sandboxes"])
    assert client.sent(Row("request", "", Model, {}, lambda _c, _s, x: api.request("GET", "/x", x)), {"a": "b"})


@pytest.mark.parametrize("is_async", [False, True])
def test_providers_and_backends(is_async: bool, recorder: Recorder) -> None:
    client = Client(is_async, recorder)
    provider: Any = dn.AsyncSandboxProvider if is_async else dn.SandboxProvider
    backend: Any = dn.AsyncTerminalBackend if is_async else dn.TerminalBackend
    wrong: Any
    for wrong in (5, 0, [], [("image", "x")], "", False):
        with pytest.raises(DaytonaInvalidArgumentError, match="pool must be a dict"):
            provider(wrong, api_key="k")
        if wrong != "":
            with pytest.raises(DaytonaInvalidArgumentError, match="config must be a dict"):
                backend(wrong, daytona=client.client)
        with pytest.raises(DaytonaInvalidArgumentError, match=r"config\.terminal must be a dict"):
            backend({"terminal": wrong}, daytona=client.client, task_id="t")
    for wrong in (5, "x", dn.DaytonaConfig(), client.sandbox):
        with pytest.raises(DaytonaInvalidArgumentError, match="daytona must be an"):
            backend(daytona=wrong)
    made = provider({"daytonaApiUrl": f"{recorder.url}/api"}, api_key="k")
    for wrong in (5, 0, [], "", False, "x"):
        with pytest.raises(DaytonaInvalidArgumentError, match="spec must be a dict"):
            client.wait(functools.partial(made.provision, wrong))
    for wrong in (5, None, "box", [], VOLUME["id"], dn.Volume(**VOLUME)):
        with pytest.raises(DaytonaInvalidArgumentError, match="handle must be a"):
            client.wait(functools.partial(made.status, wrong))
    assert recorder.take() == []
    client.wait(client.client.close)
    client.loop.close()


TRIED = {
    "Api": {"create_registry", "update_registry"},
    "CodeInterpreter": {"delete_context", "run_code"},
    "Daytona": {"__init__", "create", "delete", "list", "start", "stop"},
    "FileSystem": {"download_files", "upload_files"},
    "LspServer": {"completions"},
    "Process": {"code_run", "create_pty_session", "execute_session_command", "resize_pty_session"},
    "PtyHandle": {"resize"},
    "Sandbox": {"resize"},
    # A handle is a mapping in either spelling, and the others take it the same way.
    "SandboxProvider": {"pause", "resume", "status", "stream_logs", "terminate"},
    "SecretService": {"create", "update"},
    "SnapshotService": {"activate", "build_logs", "create", "deactivate", "delete"},
    "TerminalBackend": {"__init__"},
    "VolumeService": {"delete"},
}


def test_no_method_that_takes_an_object_is_forgotten() -> None:
    """Those of the package's classes, whatever their name is in an annotation; callbacks get some, they take none."""
    found: dict[str, set[str]] = {}
    for name in dn.__all__:
        kind = getattr(dn, name)
        if not name.startswith("Async") or not isinstance(kind, type):
            continue
        for method, function in inspect.getmembers(kind, inspect.isfunction):
            if method.startswith("_") and method != "__init__":
                continue
            for parameter in inspect.signature(function).parameters.values():
                names = re.findall(r"\w+", str(parameter.annotation))
                kinds = [getattr(dn, one, None) for one in names if "Callable" not in names and one != "OutputHandler"]
                takes = any(
                    isinstance(one, type) and (issubclass(one, Model) or one in (dn.AsyncSandbox, dn.AsyncDaytona))
                    for one in kinds
                )
                if takes and "OutputHandler" not in names:
                    found.setdefault(name.removeprefix("Async"), set()).add(method)
    assert found == TRIED


def test_the_size_of_an_open_terminal() -> None:
    class Bridge:
        def resize(self, cols: int, rows: int) -> Any:
            raise DaytonaError(f"{cols}x{rows}")

    handle = dn.PtyHandle(Bridge())  # type: ignore[arg-type]
    for size in (dn.PtySize(2, 3), {"rows": 2, "cols": 3}):
        with pytest.raises(DaytonaError, match="3x2"):
            handle.resize(size)
    for wrong in (5, "x", [1], {"rows": 2}, {"rows": 2, "cols": 3, "depth": 1}, {"rows": "a", "cols": 1}):
        with pytest.raises(DaytonaInvalidArgumentError, match="pty_size"):
            handle.resize(wrong)  # type: ignore[arg-type]


TEXTS = [
    Row("exec", "env", Model, {}, lambda _, s, x: s.process.exec("true", env=x), optional=True),
    Row("exec_stream", "env", Model, {}, lambda _, s, x: s.process.exec_stream("true", env=x), optional=True),
    Row("pty", "envs", Model, {}, lambda _, s, x: s.process.create_pty_session("id", envs=x), optional=True),
    Row("run_code", "envs", Model, {}, lambda _, s, x: s.code_interpreter.run_code("1", envs=x), optional=True),
    Row("set_labels", "labels", Model, {}, lambda _, s, x: s.set_labels(x)),
    Row("update_env", "env", Model, {}, lambda _, s, x: s.update_env(x)),
    Row("update_secrets", "secrets", Model, {}, lambda _, s, x: s.update_secrets(x)),
]


@pytest.mark.parametrize("row", TEXTS, ids=[row.name for row in TEXTS])
def test_names_with_texts(client: Client, row: Row) -> None:
    if row.name != "exec_stream":  # it names its command by chance
        assert client.sent(row, types.MappingProxyType({"A": "b"})) == client.sent(row, {"A": "b"})
    for wrong in (5, 0, "A=b", "", ["A"], [("A", "b")], False, dn.Resources()):
        assert f"{row.argument} must be a dict of texts" in client.refused(row, wrong)
    assert f"{row.argument}['A'] must be text, not an int" in client.refused(row, {"A": 5})
    assert f"{row.argument} has the key 5" in client.refused(row, {5: "b"})
    if not row.optional:
        assert f"{row.argument} must be a dict of texts" in client.refused(row, None)
