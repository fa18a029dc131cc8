"""Notes the charts that a program shows, as lines of JSON in a file beside this one.

Python imports this as `sitecustomize` before the program; it steps out of the way of a real one. Nothing that goes
wrong here may reach the program.
"""

import functools
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# A chart with more data is noted without it.
LIMIT = 16 << 20


def step_aside():
    """Undoes what has brought this here, so that programs that the program starts do not see it."""
    sys.path[:] = [path for path in sys.path if path != HERE]
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)[1:]
    if before:
        os.environ["PYTHONPATH"] = os.pathsep.join(before)
    else:
        os.environ.pop("PYTHONPATH", None)
    this = sys.modules.pop(__name__, None)
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault(__name__, this)


def hook(pyplot):
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    boxes = {}
    original_show, original_bxp = pyplot.show, Axes.bxp

    @functools.wraps(original_bxp)
    def bxp(self, bxpstats, *args, **kwargs):
        bxpstats = list(bxpstats)
        made = original_bxp(self, bxpstats, *args, **kwargs)
        places = kwargs.get("positions", args[0] if args else None)
        places = range(1, len(bxpstats) + 1) if places is None else places
        lying = kwargs.get("orientation") == "horizontal" or kwargs.get("vert") is False
        boxes.setdefault(id(self), []).extend((self, stats, place, lying) for stats, place in zip(bxpstats, places))
        return made

    @functools.wraps(original_show)
    def show(*args, **kwargs):
        for number in pyplot.get_fignums():
            note(pyplot.figure(number), boxes)
        if pyplot.get_backend().lower() == "agg":
            # As if the windows had been closed.
            pyplot.close("all")
            boxes.clear()
            return None
        return original_show(*args, **kwargs)

    @functools.wraps(Figure.show)
    def show_figure(self, *_args, **_kwargs):
        note(self, boxes)

    pyplot.show, Axes.bxp, Figure.show = show, bxp, show_figure


def note(figure, boxes):
    try:
        import json

        picture = png(figure)
        chart = {"type": "unknown"}
        try:
            chart = describe(figure, boxes)
        except Exception:
            pass
        chart["png"] = picture
        line = json.dumps(chart, allow_nan=False)
        if len(line) > LIMIT:
            chart.pop("elements", None)
            line = json.dumps(chart, allow_nan=False)
        data = (line + "\n").encode()
        file = os.open(os.path.join(HERE, "charts"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, data)
        finally:
            os.close(file)
    except Exception:
        pass


def png(figure, **options):
    import base64
    import io

    file = io.BytesIO()
    figure.savefig(file, format="png", **options)
    return base64.b64encode(file.getvalue()).decode("ascii")


def describe(figure, boxes):
    title = figure._suptitle.get_text() if getattr(figure, "_suptitle", None) is not None else ""
    all_axes = [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]
    if len(all_axes) == 1:
        chart = describe_axes(all_axes[0], boxes)
        chart["title"] = chart["title"] or title
        return chart
    if not all_axes:
        return {"type": "unknown", "title": title}
    elements = []
    for axes in all_axes:
        part = describe_axes(axes, boxes)
        part = {name: part[name] for name in ("type", "title", "x_label", "y_label") if name in part}
        extent = axes.get_tightbbox(figure.canvas.get_renderer())
        if extent is not None:
            part["png"] = png(figure, bbox_inches=extent.transformed(figure.dpi_scale_trans.inverted()))
        elements.append(part)
    return {"type": "composite_chart", "title": title, "elements": elements}


def describe_axes(axes, boxes):
    chart = {"type": "unknown", "title": next(filter(None, map(axes.get_title, ("center", "left", "right"))), "")}
    kind, elements = find_elements(axes, boxes)
    if kind is not None:
        chart["type"], chart["elements"] = kind, elements
    if kind == "pie":
        return chart
    for name in ("x", "y"):
        axis = getattr(axes, name + "axis")
        chart[name + "_label"] = axis.get_label_text()
        chart[name + "_scale"] = axis.get_scale()
        ticks = shown_ticks(axis)
        chart[name + "_ticks"] = [place for place, _ in ticks]
        chart[name + "_tick_labels"] = [text for _, text in ticks]
    return chart


def shown_ticks(axis):
    """Places and labels of the ticks within the axis."""
    low, high = sorted(map(float, axis.get_view_interval()))
    labels = axis.get_ticklabels()
    places = axis.get_ticklocs()
    ticks = [(float(place), plain(label.get_text())) for place, label in zip(places, labels)]
    return [(place, text) for place, text in ticks if low <= place <= high and finite(place)]


def plain(text):
    """A label without the markup of powers of ten."""
    start, end = "$\\mathdefault{", "}$"
    if text.startswith(start) and text.endswith(end):
        return text[len(start) : -len(end)].replace("{", "").replace("}", "")
    return text


def find_elements(axes, boxes):
    from matplotlib.collections import PathCollection
    from matplotlib.container import BarContainer, ErrorbarContainer
    from matplotlib.patches import Wedge

    if axes.name == "3d":
        return None, []
    wedges = [patch for patch in axes.patches if isinstance(patch, Wedge)]
    if wedges:
        return "pie", [slice_of(wedge) for wedge in wedges]
    if id(axes) in boxes:
        return "box_and_whisker", [box(*known) for known in boxes[id(axes)]]
    bars = [container for container in axes.containers if isinstance(container, BarContainer)]
    if bars:
        return "bar", [bar for container in bars for bar in bars_of(axes, container)]
    caps = {
        id(line) for container in axes.containers if isinstance(container, ErrorbarContainer) for line in container[1]
    }
    lines = [
        line
        for line in axes.lines
        if id(line) not in caps and all(line.get_transform().contains_branch_seperately(axes.transData))
    ]
    clouds = [one for one in axes.collections if isinstance(one, PathCollection) and len(one.get_offsets())]
    elements = [points(cloud, cloud.get_offsets()) for cloud in clouds]
    elements += [points(line, zip(line.get_xdata(orig=False), line.get_ydata(orig=False))) for line in lines]
    if clouds or (lines and all(line.get_linestyle() in ("None", " ", "", "none") for line in lines)):
        return "scatter", elements
    return ("line", elements) if lines else (None, [])


def finite(number):
    return number == number and abs(number) != float("inf")


def labelled(artist, element):
    """With the artist's label, unless it has none of its own."""
    label = str(artist.get_label() or "")
    if label and not label.startswith("_"):
        element["label"] = label
    return element


def points(artist, pairs):
    from numpy import ma

    numbers = ((x, y) for x, y in pairs if x is not ma.masked and y is not ma.masked)
    numbers = ([float(x), float(y)] for x, y in numbers)
    return labelled(artist, {"points": [[x, y] for x, y in numbers if finite(x) and finite(y)]})


def slice_of(wedge):
    return labelled(wedge, {"angle": abs(float(wedge.theta2) - float(wedge.theta1)), "radius": float(wedge.r)})


def box(axes, stats, place, lying):
    element = {"label": name_at(shown_ticks(axes.yaxis if lying else axes.xaxis), float(place))}
    for name, source in (
        ("min", "whislo"),
        ("first_quartile", "q1"),
        ("median", "med"),
        ("third_quartile", "q3"),
        ("max", "whishi"),
    ):
        value = float(stats[source])
        if finite(value):
            element[name] = value
    outliers = (float(value) for value in stats.get("fliers", ()))
    element["outliers"] = [value for value in outliers if finite(value)]
    return element


def bars_of(axes, container):
    from matplotlib.ticker import FixedFormatter

    lying = getattr(container, "orientation", "vertical") == "horizontal"
    axis = axes.yaxis if lying else axes.xaxis
    named = isinstance(axis.get_major_formatter(), FixedFormatter) or type(axis.get_major_formatter()).__name__ in (
        "StrCategoryFormatter",
        "FuncFormatter",
    )
    ticks = shown_ticks(axis) if named else []
    group = str(container.get_label() or "")
    for patch in container.patches:
        start, length = (patch.get_y(), patch.get_height()) if lying else (patch.get_x(), patch.get_width())
        middle = float(start) + float(length) / 2
        element = {
            "label": name_at(ticks, middle),
            "value": number_text(patch.get_width() if lying else patch.get_height()),
        }
        if group and not group.startswith("_"):
            element["group"] = group
        yield element


def name_at(ticks, place):
    """The label of the nearest tick that has one; else the place."""
    nearest = min(ticks, key=lambda tick: abs(tick[0] - place), default=None)
    if nearest is not None and nearest[1] and abs(nearest[0] - place) <= 0.5:
        return nearest[1]
    return number_text(place)


def number_text(number):
    return "%.12g" % float(number)


step_aside()
after_import("matplotlib.pyplot", hook)  # noqa: F821 (comes before this file)
