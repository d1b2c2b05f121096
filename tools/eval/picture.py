"""Pictures of a grid of shares: characters for a terminal, SVG for a page."""

from xml.sax.saxutils import escape

CELL, LEFT, TOP, FOOT = 44, 90, 46, 30
LOST, FOUND = (200, 85, 61), (88, 139, 58)  # 0% and 100%


def text(columns, rows, shares):
    """`shares[row][column]` between 0 and 1, as lines of characters."""
    left = max(map(len, rows))
    width = max(6, *(len(c) + 2 for c in columns))
    lines = [" " * left + "".join(c.rjust(width) for c in columns)]
    for name, row in zip(rows, shares):
        cells = "".join(character(s).rjust(width) for s in row)
        lines.append(name.rjust(left) + cells)
    return "\n".join(lines)


def character(share):
    return "#" if share == 1 else "." if share == 0 else f"{share:.0%}"


def colour(share):
    mixed = (round(a + share * (b - a)) for a, b in zip(LOST, FOUND))
    return "#" + "".join(f"{c:02x}" for c in mixed)


def words(x, y, what, anchor="middle", size=12):
    return (f'<text x="{x}" y="{y}" font-size="{size}" fill="#222" '
            f'text-anchor="{anchor}">{escape(what)}</text>')


def svg(title, columns, rows, shares):
    width = max(LEFT + CELL * len(columns) + 20, 20 + 8 * len(title))
    height = TOP + CELL * len(rows) + FOOT
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
             f'height="{height}" font-family="sans-serif">',
             f'<rect width="{width}" height="{height}" fill="white"/>',
             words(10, 22, title, "start", 14)]
    for i, name in enumerate(columns):
        parts.append(words(LEFT + CELL * i + CELL // 2, height - 10, name))
    for j, (name, row) in enumerate(zip(rows, shares)):
        y = TOP + CELL * j
        parts.append(words(LEFT - 8, y + CELL // 2 + 4, name, "end"))
        for i, share in enumerate(row):
            parts.append(f'<rect x="{LEFT + CELL * i + 1}" y="{y + 1}" '
                         f'width="{CELL - 2}" height="{CELL - 2}" '
                         f'fill="{colour(share)}"/>')
    return "\n".join([*parts, "</svg>", ""])
