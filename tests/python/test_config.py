"""Configuration and construction; nothing here needs a network."""

from __future__ import annotations

import pathlib
import warnings

import pytest

from daytona_native import (
    AsyncDaytona,
    CreateSandboxFromSnapshotParams,
    Daytona,
    DaytonaAuthenticationError,
    DaytonaConfig,
    DaytonaError,
    DaytonaInvalidArgumentError,
)


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    for name in ("API_KEY", "API_URL", "SERVER_URL", "TARGET", "JWT_TOKEN", "ORGANIZATION_ID"):
        monkeypatch.delenv(f"DAYTONA_{name}", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("client", [Daytona, AsyncDaytona])
def test_no_credentials(client: type[Daytona | AsyncDaytona]) -> None:
    with pytest.raises(DaytonaAuthenticationError, match="Set DAYTONA_API_KEY"):
        client()


def test_environment_and_file(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    (tmp_path / ".env").write_text("DAYTONA_API_KEY=key\nDAYTONA_TARGET=eu\n")
    assert Daytona()._client().settings()[0] == "eu"
    monkeypatch.setenv("DAYTONA_TARGET", "us")
    assert Daytona()._client().settings()[0] == "us"
    assert Daytona(DaytonaConfig(target="asia"))._client().settings()[0] == "asia"


def test_warnings_point_at_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("DAYTONA_SERVER_URL", "http://127.0.0.1:1")
    with pytest.warns(DeprecationWarning, match="DAYTONA_API_URL") as caught:
        Daytona(DaytonaConfig(api_key="key"))
    assert caught[0].filename == __file__
    (tmp_path / ".env").write_text("DAYTONA_API_URL=http://evil.example\n")
    with pytest.warns(UserWarning, match="not read from files"):
        Daytona(DaytonaConfig(api_key="key", api_url="http://127.0.0.1:1"))
    with pytest.warns(DeprecationWarning, match="use api_url") as caught:
        config = DaytonaConfig(server_url="http://127.0.0.1:1")
    assert caught[0].filename == __file__
    assert config.api_url == config.server_url


def test_values_out_of_range() -> None:
    for config in [
        DaytonaConfig(api_key="key", connection_pool_maxsize=0),
        DaytonaConfig(api_key="key", api_url="ftp://host"),
        DaytonaConfig(api_key="key", request_timeout=-1),
        DaytonaConfig(api_key="key\n"),
    ]:
        with pytest.raises(DaytonaInvalidArgumentError):
            Daytona(config).get("any")


def test_a_value_of_the_wrong_type_is_named() -> None:
    client = Daytona(DaytonaConfig(api_key="key"))
    with pytest.raises(DaytonaInvalidArgumentError, match="auto_stop_interval"):
        client.create(CreateSandboxFromSnapshotParams(auto_stop_interval="soon"))  # type: ignore[arg-type]


def test_secrets_are_not_shown() -> None:
    config = DaytonaConfig(api_key="dtn_secret", jwt_token="jwt_secret")
    assert "secret" not in repr(config)
    assert config.model_dump()["api_key"] == "dtn_secret"


def test_a_closed_client_says_so() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Daytona(DaytonaConfig(api_key="key")) as client:
            pass
    with pytest.raises(DaytonaError, match="closed"):
        client.get("any")


def test_the_experimental_flag() -> None:
    assert DaytonaConfig(_experimental={"otelEnabled": True}).otel_enabled is True  # type: ignore[call-arg]
