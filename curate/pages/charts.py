"""Charts as numbers: where each bar, line and tick of a figure is drawn.

In: the values of a chart. Out: positions in the units of its `viewBox`, which the macros of
`templates/charts.html.j2` draw as SVG; tables of heat are drawn as HTML. The text of a chart is
escaped there, as every value of a page.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

WIDTH = 340  # of every chart: as wide as the screen of a phone, so that its text is not shrunk
LABEL_WIDTH = 62
NUMBER_WIDTH = 62
BAR_HEIGHT = 10
ROW_HEIGHT = 30
LINE_HEIGHT = 190
LEFT, TOP, BOTTOM = 40, 12, 26  # the margins of a line chart
HEAT_LEVELS = 10
MOST_DOTS = 20  # of a line: more would hide it


@dataclass(frozen=True)
class Bar:
    """One bar: number of its series, y of its upper edge, its width, and the text at its end."""

    series: int
    y: float
    width: float
    text: str


@dataclass(frozen=True)
class BarRow:
    """The bars of one label; `y` is the middle of the row."""

    label: str
    y: float
    bars: list[Bar]


@dataclass(frozen=True)
class BarChart:
    """Horizontal bars in rows, one bar per series in each."""

    title: str
    series: list[str]
    rows: list[BarRow]
    height: float
    left: float = LABEL_WIDTH
    width: float = WIDTH


@dataclass(frozen=True)
class Tick:
    """A place on an axis and its text."""

    place: float
    text: str


@dataclass(frozen=True)
class Line:
    """One line: its name, its number, its points as `x,y x,y …`, and those drawn as dots.

    A short line has dots, since one of a single point would not be seen.
    """

    name: str
    series: int
    points: str
    dots: list[tuple[float, float]]


@dataclass(frozen=True)
class LineChart:
    """Lines over an axis of numbers.

    `mark` is the x of a vertical line, or None; `diagonal` is whether the line of y = x is drawn.
    """

    title: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    x_name: str
    mark: float | None = None
    diagonal: bool = False
    width: float = WIDTH
    height: float = LINE_HEIGHT
    left: float = LEFT
    right: float = WIDTH - 10
    top: float = TOP
    bottom: float = LINE_HEIGHT - BOTTOM


@dataclass(frozen=True)
class HeatCell:
    """One cell: its text, a smaller text below, and its level, 0 (white) to `HEAT_LEVELS`."""

    text: str
    note: str
    level: int


@dataclass(frozen=True)
class HeatTable:
    """One row per label of the left: the label and a cell per column, None for an empty one."""

    columns: list[str]
    rows: list[tuple[str, list[HeatCell | None]]]


def make_bar_chart(
    title: str, series: Mapping[str, Mapping[str, int]], labels: Sequence[str]
) -> BarChart:
    """Bars whose longest one fills the width.

    Parameters
    ----------
    series : name -> label -> count, 0 and more; a label without a count has no bar
    labels : the rows from the top
    """
    most = max([1, *(count for counts in series.values() for count in counts.values())])
    scale = (WIDTH - LABEL_WIDTH - NUMBER_WIDTH) / most
    step = BAR_HEIGHT + 2
    row_height = max(ROW_HEIGHT, step * len(series) + 6)
    rows = []
    for number, label in enumerate(labels):
        top = number * row_height + 3
        bars = []
        for k, counts in enumerate(series.values()):
            count = counts.get(label, 0)
            bars.append(Bar(k, top + k * step, round(count * scale, 1), f"{count:,}"))
        rows.append(BarRow(label, top + step * len(series) / 2, bars))
    return BarChart(title, list(series), rows, height=row_height * len(labels) + 4)


def make_line_chart(
    title: str,
    lines: Mapping[str, Sequence[float]],
    x: Sequence[float],
    *,
    x_name: str = "",
    mark: float | None = None,
    bounds: tuple[float, float] | None = None,
    x_bounds: tuple[float, float] | None = None,
) -> LineChart:
    """Lines through (x, value); a value that is NaN or infinite is left out.

    Parameters
    ----------
    lines : name -> (N,) values
    x : (N,) ascending
    mark : x of a vertical line
    bounds, x_bounds : of the axes; None for those of the values
    """
    low, high = bounds or find_bounds(lines.values())
    y_ticks = list_ticks(low, high)
    first, last = x_bounds or find_bounds([x])
    across = Scale(first, max(last, first + 1e-9), LEFT, WIDTH - 10)
    up = Scale(min(low, y_ticks[0]), max(high, y_ticks[-1]), LINE_HEIGHT - BOTTOM, TOP)
    drawn = []
    for k, (name, values) in enumerate(lines.items()):
        points = zip(x, values, strict=True)
        places = [(across.place(a), up.place(b)) for a, b in points if math.isfinite(b)]
        drawn.append(_draw_line(name, k, places))
    x_ticks = [tick for tick in list_ticks(first, last) if first <= tick <= last]
    return LineChart(
        title,
        drawn,
        [Tick(across.place(tick), f"{tick:g}") for tick in x_ticks],
        [Tick(up.place(tick), f"{tick:g}") for tick in y_ticks],
        x_name,
        mark=None if mark is None else across.place(mark),
    )


def _draw_line(name: str, series: int, places: list[tuple[float, float]]) -> Line:
    points = " ".join(f"{x},{y}" for x, y in places)
    return Line(name, series, points, places if len(places) <= MOST_DOTS else [])


@dataclass(frozen=True)
class Scale:
    """An axis: the value `low` is at `start`, the value `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Where a value is."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def find_bounds(lines: Iterable[Sequence[float]]) -> tuple[float, float]:
    """The lowest and the highest finite value; 0 and 1 without any."""
    finite = [each for values in lines for each in values if math.isfinite(each)]
    return min(finite, default=0.0), max(finite, default=1.0)


def list_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from at most `low` to at least `high`: multiples of 1, 2 or 5 times ten^k."""
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(k * power for k in (1, 2, 5, 10, 20) if span / (k * power) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 10) for k in range(first, max(last, first + 1) + 1)]


def level_of(share: float) -> int:
    """The level of a cell of heat, 0 to `HEAT_LEVELS`, from a share in [0, 1]."""
    return min(max(math.ceil(share * HEAT_LEVELS), 0), HEAT_LEVELS)
