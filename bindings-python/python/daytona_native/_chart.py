"""Charts that a program drew."""

from __future__ import annotations

from enum import Enum

from ._model import Model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from typing_extensions import Self


class ChartType(str, Enum):
    """The types of charts."""

    LINE = "line"
    SCATTER = "scatter"
    BAR = "bar"
    PIE = "pie"
    BOX_AND_WHISKER = "box_and_whisker"
    COMPOSITE_CHART = "composite_chart"
    UNKNOWN = "unknown"


class _Drawing(Model):
    """What charts and their elements have in common: the API's names are the Python ones."""

    @classmethod
    def _alias(cls, name: str) -> str:
        return name

    @classmethod
    def _read(cls, values: Mapping[str, Any]) -> Self:
        """Make one of what the server sent; what is unknown is left out."""
        return cls(**{name: value for name, value in values.items() if name in cls._fields})


class ChartElement(_Drawing):
    """A line, a set of points, a bar, a wedge, a box, or a chart within a composite one.

    What it is decides which fields are there; the others are ``None``.

    Attributes:
        angle: Degrees of a wedge.
        first_quartile: Of a box.
        group: The series a bar belongs to.
        label: Its name.
        max: End of the upper whisker of a box.
        median: Of a box.
        min: End of the lower whisker of a box.
        outliers: Of a box.
        png: The picture of a chart, in base64.
        points: Pairs of x and y.
        radius: Of a wedge.
        third_quartile: Of a box.
        title: Of a chart.
        type: The type of a chart within a composite one.
        value: Height of a bar, as text.
        x_label: Of a chart.
        y_label: Of a chart.
    """

    angle: float | None = None
    first_quartile: float | None = None
    group: str | None = None
    label: str | None = None
    max: float | None = None
    median: float | None = None
    min: float | None = None
    outliers: list[float] | None = None
    png: str | None = None
    points: list[list[float]] | None = None
    radius: float | None = None
    third_quartile: float | None = None
    title: str | None = None
    type: str | None = None
    value: str | None = None
    x_label: str | None = None
    y_label: str | None = None


class PointData(ChartElement):
    """A line or a set of points."""


class BarData(ChartElement):
    """A bar."""


class PieData(ChartElement):
    """A wedge."""


class BoxAndWhiskerData(ChartElement):
    """A box."""


class Chart(_Drawing):
    """A figure that a program showed.

    Attributes:
        elements: What is in it.
        png: The picture, in base64.
        title: Its title.
        type: One of ``ChartType``.
        x_label: Name of the x axis.
        x_scale: ``linear``, ``log`` and so on.
        x_tick_labels: Texts at the ticks of the x axis.
        x_ticks: Ticks of the x axis.
        y_label: Name of the y axis.
        y_scale: As ``x_scale``.
        y_tick_labels: As ``x_tick_labels``.
        y_ticks: As ``x_ticks``.
    """

    elements: list[ChartElement] = []  # noqa: RUF012 - each gets a list of its own
    png: str | None = None
    title: str | None = None
    type: str | None = None
    x_label: str | None = None
    x_scale: str | None = None
    x_tick_labels: list[str] | None = None
    x_ticks: list[float] | None = None
    y_label: str | None = None
    y_scale: str | None = None
    y_tick_labels: list[str] | None = None
    y_ticks: list[float] | None = None

    if not TYPE_CHECKING:

        def __init__(self, **values: Any) -> None:
            elements = values.pop("elements", None) or []
            super().__init__(**values, elements=elements)

    @classmethod
    def model_validate(cls, obj: Any, **kwargs: object) -> Chart:
        """Make a chart of the class that its type asks for.

        Args:
            obj: A chart, or a mapping of its fields.
            kwargs: Not used.
        """
        del kwargs
        values = obj.model_dump(exclude_none=True) if isinstance(obj, Model) else dict(obj)
        kind = _CLASSES.get(values.get("type") or "", Chart) if cls is Chart else cls
        elements = values.pop("elements", None) or []
        read = [one if isinstance(one, ChartElement) else ChartElement._read(one) for one in elements]
        return kind._read({**values, "elements": read})


class Chart2D(Chart):
    """A chart with two axes."""


class PointChart(Chart2D):
    """A chart of points."""


class LineChart(PointChart):
    """Lines."""


class ScatterChart(PointChart):
    """Sets of points."""


class BarChart(Chart2D):
    """Bars."""


class PieChart(Chart):
    """Wedges."""


class BoxAndWhiskerChart(Chart2D):
    """Boxes."""


class CompositeChart(Chart):
    """Several charts in one figure."""


_CLASSES: dict[str, type[Chart]] = {
    "line": LineChart,
    "scatter": ScatterChart,
    "bar": BarChart,
    "pie": PieChart,
    "box_and_whisker": BoxAndWhiskerChart,
    "composite_chart": CompositeChart,
}


def parse_chart(chart: Chart | Mapping[str, Any]) -> Chart:
    """Make a chart of the class that its type asks for.

    Args:
        chart: A chart, or a mapping of its fields.
    """
    return Chart.model_validate(chart)


def charts(text: str) -> list[Chart]:
    """Make the charts of a program of their JSON text."""
    from json import loads

    return [parse_chart(chart) for chart in loads(text)]
