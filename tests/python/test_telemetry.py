"""OpenTelemetry: that it is on where it is asked for, in the program's own span, and sent at the end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import types
from typing import Any

import pytest

from conftest import Fake
from daytona_native import AsyncDaytona, Daytona, DaytonaConfig
from daytona_native._telemetry import traceparent

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def span(valid: bool) -> Any:
    trace, span, flags = (int(part, 16) for part in PARENT.split("-")[1:])
    context = types.SimpleNamespace(is_valid=valid, trace_id=trace, span_id=span, trace_flags=flags)
    return types.SimpleNamespace(get_span_context=lambda: context)


def use(monkeypatch: pytest.MonkeyPatch, valid: bool = True) -> None:
    module: Any = types.ModuleType("opentelemetry.trace")
    module.get_current_span = lambda: span(valid)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)


def test_the_program_s_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    assert traceparent() is None
    use(monkeypatch)
    assert traceparent() == PARENT
    use(monkeypatch, valid=False)
    assert traceparent() is None


def test_calls_are_children_of_it(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", fake.url)
    use(monkeypatch)
    config = DaytonaConfig(api_url=fake.config.api_url, api_key="key", otel_enabled=True)

    async def main() -> None:
        await (await AsyncDaytona(config).get("box")).process.exec("asynchronous")

    Daytona(config).get("box").process.exec("synchronous")
    asyncio.run(main())
    trace = PARENT.split("-")[1]
    sent = [parent for request, parent in fake.traced if "/v1/" not in request]
    assert len(sent) == 4
    assert all(parent and parent.split("-")[1] == trace and parent != PARENT for parent in sent)


def test_off_by_default(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch)
    Daytona(fake.config).get("box").process.exec("x")
    assert [parent for _, parent in fake.traced] == [None, None]


@pytest.mark.parametrize("setting", ["otel_enabled=True", "_experimental={'otelEnabled': True}"])
def test_the_end_of_the_program_sends_what_is_left(fake: Fake, setting: str) -> None:
    code = f"""
from daytona_native import Daytona, DaytonaConfig
Daytona(DaytonaConfig({setting})).get("box").process.exec("x")
"""
    environment = {**fake.environment(), "OTEL_EXPORTER_OTLP_ENDPOINT": fake.url}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {"POST /v1/traces", "POST /v1/metrics"} <= set(fake.requests)


def test_a_collector_that_is_silent_does_not_hold_the_end(fake: Fake) -> None:
    code = """
from daytona_native import Daytona, DaytonaConfig
Daytona(DaytonaConfig(otel_enabled=True)).get("box").process.exec("x")
"""
    with fake.silent() as url:
        environment = {**fake.environment(), "OTEL_EXPORTER_OTLP_ENDPOINT": url}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
