"""Parameters and results."""

from __future__ import annotations

import inspect
import json
import pickle
from datetime import datetime, timezone
from typing import Any

import pytest

import daytona_native
from daytona_native import (
    BarChart,
    BoxAndWhiskerChart,
    Chart,
    ChartElement,
    ChartType,
    CodeLanguage,
    CodeRunParams,
    CompositeChart,
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    DownloadProgress,
    GpuType,
    LineChart,
    ListSandboxesQuery,
    PieChart,
    Resources,
    SandboxState,
    ScatterChart,
    VolumeMount,
    parse_chart,
)
from daytona_native._model import Model

MODELS = [
    cls
    for name in daytona_native.__all__
    if isinstance(cls := getattr(daytona_native, name), type) and issubclass(cls, Model)
]


@pytest.mark.parametrize("cls", MODELS)
def test_signatures_are_the_fields(cls: type[Model]) -> None:
    signature = inspect.signature(cls)
    assert list(signature.parameters) == list(cls._fields)
    for name, parameter in signature.parameters.items():
        assert parameter.default == getattr(cls, name, inspect.Parameter.empty)
    described = "".join(base.__doc__ or "" for base in cls.__mro__)
    for name in cls._fields:
        assert f" {name}: " in described, f"{cls.__name__}.{name} is not described"


def test_keywords_assignment_copy_and_dump() -> None:
    params = CreateSandboxFromSnapshotParams(language="python", labels={"a": "b"})
    params.auto_stop_interval = 5
    copied = params.model_copy(update={"name": "x"})
    assert (copied.name, copied.auto_stop_interval, params.name) == ("x", 5, None)
    assert copied.labels is params.labels
    assert params.model_copy(deep=True).labels is not params.labels
    assert params.model_dump(exclude_none=True) == {
        "language": "python",
        "labels": {"a": "b"},
        "auto_stop_interval": 5,
    }
    assert params == CreateSandboxFromSnapshotParams(language="python", labels={"a": "b"}, auto_stop_interval=5)
    assert params != copied
    assert pickle.loads(pickle.dumps(params)) == params
    assert params.model_fields_set == {"language", "labels", "auto_stop_interval"}


def test_what_is_unknown_is_an_error() -> None:
    with pytest.raises(TypeError, match="Did you mean 'auto_stop_interval'"):
        CreateSandboxFromSnapshotParams(auto_stop_intervall=1)  # type: ignore[call-arg]
    params = CreateSandboxFromSnapshotParams()
    with pytest.raises(AttributeError, match="Did you mean 'language'"):
        params.langauge = "python"  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="needs 'image'"):
        CreateSandboxFromImageParams()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="at most 0"):
        CreateSandboxFromImageParams("image")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="twice"):
        Resources(1, cpu=2)  # type: ignore[misc]


def test_by_position() -> None:
    assert Resources(1, 2, gpu_type=GpuType.H100) == Resources(cpu=1, memory=2, gpu_type=GpuType.H100)
    assert CodeRunParams(["a"], {"b": "c"}).env == {"b": "c"}
    assert DownloadProgress(5) == DownloadProgress(bytes_received=5, total_bytes=None)


def test_nested_dumps_and_json() -> None:
    params = CreateSandboxFromImageParams(
        image="python:3.12",
        language=CodeLanguage.PYTHON,
        resources=Resources(cpu=1),
        volumes=[VolumeMount(volume_id="v", mount_path="/data")],
    )
    dumped = params.model_dump(mode="json", exclude_none=True, by_alias=True)
    assert dumped == {
        "image": "python:3.12",
        "language": "python",
        "resources": {"cpu": 1},
        "volumes": [{"volumeId": "v", "mountPath": "/data"}],
    }
    assert type(dumped["language"]) is str
    query = ListSandboxesQuery(
        created_at_after=datetime(2026, 1, 2, tzinfo=timezone.utc), states=[SandboxState.STARTED]
    )
    assert query.model_dump(mode="json", exclude_none=True)["created_at_after"] == "2026-01-02T00:00:00+00:00"
    assert CreateSandboxFromImageParams.model_validate(params.model_dump()).image == "python:3.12"


def test_enums_are_text() -> None:
    state: str = SandboxState.STARTED
    assert state == "started"
    assert SandboxState("a_later_one") is SandboxState.UNKNOWN_DEFAULT_OPEN_API
    assert str(CodeLanguage.PYTHON) == "python"
    assert f"{CodeLanguage.PYTHON}" == "python"
    with pytest.raises(ValueError, match="cobol"):
        CodeLanguage("cobol")


LINE: dict[str, Any] = {
    "type": "line",
    "title": "A",
    "x_label": "x",
    "x_ticks": [0, 1.5],
    "elements": [{"label": "a", "points": [[0, 1], [1, 2.5]]}],
}


def test_charts_get_the_class_of_their_type() -> None:
    classes = {
        "line": LineChart,
        "scatter": ScatterChart,
        "bar": BarChart,
        "pie": PieChart,
        "box_and_whisker": BoxAndWhiskerChart,
        "composite_chart": CompositeChart,
        "unknown": Chart,
        "radar": Chart,
    }
    for kind, cls in classes.items():
        chart = parse_chart({**LINE, "type": kind})
        assert type(chart) is cls
        assert type(Chart.model_validate(chart)) is cls
        assert isinstance(chart.elements[0], ChartElement)
    chart = Chart.model_validate({**LINE, "new_field": 1})
    assert (chart.type, chart.title, chart.x_ticks, chart.y_ticks) == (ChartType.LINE, "A", [0, 1.5], None)
    assert (chart.elements[0].label, chart.elements[0].points) == ("a", [[0, 1], [1, 2.5]])
    assert chart.to_dict() == LINE
    assert type(LineChart.model_validate({"title": "B"})) is LineChart
    assert Chart().elements == []
    assert Chart().elements is not Chart().elements


def test_charts_of_a_program() -> None:
    from daytona_native._results import ran

    response = ran((0, "out", json.dumps([LINE, {"type": "pie"}])))
    assert response.artifacts
    assert [type(chart) for chart in response.artifacts.charts or ()] == [LineChart, PieChart]
    assert response.artifacts.stdout == response.result == "out"
    plain = ran((0, "out", None))
    assert plain.artifacts
    assert plain.artifacts.charts == []
