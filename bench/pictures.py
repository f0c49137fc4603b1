"""Charts of the report, as SVG."""

import sys
from collections.abc import Mapping
from typing import Any

import pygal
from pygal.style import Style

# pygal adds a legacy import hook, for plugins that are not used here. Any code that queries the
# hooks for a module then fails (AttributeError: find_spec), for example Hypothesis.
sys.meta_path[:] = [hook for hook in sys.meta_path if hasattr(hook, "find_spec")]

_STYLE = Style(
    background="white",
    plot_background="white",
    font_family="sans-serif",
    guide_stroke_color="#dddddd",
    major_guide_stroke_color="#bbbbbb",
    colors=("#1b6ca8", "#d1495b", "#66a182", "#edae49", "#8d6a9f"),
)
_OURS, _OTHERS = "#1b6ca8", "#9a9a9a"
_COMMON = {"style": _STYLE, "width": 720, "explicit_size": True, "js": (), "no_prefix": True}


def bars(title: str, figures: Mapping[str, float]) -> bytes:
    """Draw one bar per contestant, docvault's in colour."""
    # The library draws from the bottom.
    names = list(figures)[::-1]
    chart = pygal.HorizontalBar(
        **_COMMON,
        title=title,
        height=110 + 36 * len(names),
        show_legend=False,
        print_values=True,
        print_values_position="top",
        value_formatter=lambda value: f"{value:,.3g}" if value < 1000 else f"{value:,.0f}",
    )
    chart.x_labels = names
    colours = [_OURS if name.startswith("docvault") else _OTHERS for name in names]
    values = [figures[name] for name in names]
    chart.add("", [{"value": v, "color": c} for v, c in zip(values, colours, strict=True)])
    return _still(chart)


def lines(plot: Mapping[str, Any]) -> bytes:
    """Draw a `bench.measure.Plot`."""
    chart = pygal.XY(
        **_COMMON,
        title=plot["title"],
        x_title=plot["x"],
        y_title=plot["y"],
        height=400,
        legend_at_bottom=True,
        logarithmic=plot["logarithmic"],
        dots_size=2,
        range=None if plot["logarithmic"] else (0, 1.05 * _largest(plot)),
    )
    if plot["logarithmic"]:
        # At most as many labels as values, otherwise they overlap.
        chart.x_labels = sorted({x for points in plot["lines"].values() for x, _ in points})
    for name, points in plot["lines"].items():
        chart.add(name, [tuple(point) for point in points])
    return _still(chart)


def _largest(plot: Mapping[str, Any]) -> float:
    return max((y for points in plot["lines"].values() for _, y in points), default=1.0)


def _still(chart: Any) -> bytes:
    """Return the chart without its interactive scripts."""
    chart.add_xml_filter(_without_scripts)
    picture: bytes = chart.render()
    return picture + b"\n"


def _without_scripts(root: Any) -> Any:
    for group in root:
        for script in [child for child in group if str(child.tag).endswith("script")]:
            group.remove(script)
    return root
