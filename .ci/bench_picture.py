"""The scaling curves: a round of a loop with one of many sources ready, and with all of them."""

import math

WIDTH, HEIGHT = 960, 470
# Of one panel, without its labels.
PANEL_WIDTH, PANEL_HEIGHT, TOP = 376, 290, 60
LEFT = [84, 556]

# How each contender is drawn: colour, width, dashes.
STYLES = {
    "bare epoll": ("#000000", 2, ""),
    "bare poll": ("#000000", 1.5, "6 4"),
    "bare select": ("#000000", 1.5, "2 4"),
    "selectors epoll": ("#0b5fd6", 3, ""),
    "selectors poll": ("#0b5fd6", 2, "6 4"),
    "selectors select": ("#0b5fd6", 2, "2 4"),
    "mio": ("#e07b00", 2, ""),
    "polling level": ("#1b8a3a", 2, ""),
    "popol": ("#c2185b", 2, "6 4"),
}

PANELS = [
    ("Nanoseconds for one event", "registered sources, of which one is written to", "one"),
    ("Nanoseconds for each event", "registered sources, all of them written to", "all"),
]


def draw(rows):
    svg = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' "
        "font-family='Helvetica, Arial, sans-serif' font-size='12' fill='#222'>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#fff'/>",
    ]
    for (title, below, which), left in zip(PANELS, LEFT):
        svg += panel(points(rows, which), title, below, left)
    for nth, name in enumerate(STYLES):
        x, y = [84, 390, 700][nth // 3], [418, 436, 454][nth % 3]
        svg += [stroke(f"M{x} {y}h44", name), text(x + 54, y + 4, "start", name)]
    return "\n".join([*svg, "</svg>"]) + "\n"


def points(rows, which):
    """Of each contender the numbers of sources and what both runs measured."""
    found = {name: [] for name in STYLES}
    for (workload, parameters, name), row in rows.items():
        if workload != "drain" or name not in found:
            continue
        registered, _, written, *_ = parameters.replace(",", "").split()
        if written == ("1" if which == "one" else registered):
            found[name].append((int(registered), row.value))
    return found


def decades(values):
    """The powers of ten from below the least to above the greatest."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def panel(curves, title, below, left):
    right, bottom = left + PANEL_WIDTH, TOP + PANEL_HEIGHT
    everything = [point for curve in curves.values() for point in curve]
    x_low, x_high = decades([count for count, _ in everything])
    y_low, y_high = decades([end for _, value in everything for end in value.ends()])

    def x(value):
        return left + PANEL_WIDTH * (math.log10(value) - x_low) / (x_high - x_low)

    def y(value):
        return bottom - PANEL_HEIGHT * (math.log10(value) - y_low) / (y_high - y_low)

    svg = [
        f"<text x='{left}' y='{TOP - 20}' font-size='15' font-weight='bold'>{title}</text>",
    ]
    for power in range(x_low, x_high + 1):
        at = x(10**power)
        svg += [
            f"<path d='M{at:.1f} {TOP}V{bottom}' stroke='#ddd'/>",
            text(at, bottom + 18, "middle", f"{10**power:,}"),
        ]
    for power in range(y_low, y_high + 1):
        at = y(10**power)
        svg += [
            f"<path d='M{left} {at:.1f}H{right}' stroke='#ddd'/>",
            text(left - 8, at + 4, "end", f"{10**power:,}"),
        ]
    svg += [
        f"<rect x='{left}' y='{TOP}' width='{PANEL_WIDTH}' height='{PANEL_HEIGHT}' "
        "fill='none' stroke='#666'/>",
        text(left + PANEL_WIDTH / 2, bottom + 38, "middle", below),
    ]
    for name, curve in curves.items():
        places = [f"{x(count):.1f} {y(value.median()):.1f}" for count, value in curve]
        line = "M" + "L".join(places)
        # From one run to the other where they do not agree.
        for count, value in curve:
            if not value.agrees():
                low, high = value.ends()
                line += f"M{x(count):.1f} {y(low):.1f}V{y(high):.1f}"
        svg.append(stroke(line, name))
    return svg


def text(x, y, anchor, words):
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'>{words}</text>"


def stroke(line, name):
    colour, width, dashes = STYLES[name]
    return (
        f"<path d='{line}' fill='none' stroke='{colour}' stroke-width='{width}' "
        f"stroke-dasharray='{dashes}' stroke-linejoin='round'/>"
    )
