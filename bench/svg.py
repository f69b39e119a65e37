"""Charts and flame graphs as SVG, drawn by hand; legible on light and dark."""

import math
from html import escape

W, H = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 150, 44, 56
STYLE = """<style>
.bg{fill:#fff}.t{fill:#222}.m{fill:#666}.g{stroke:#ddd}.a{stroke:#666}
.s0{stroke:#0b62c4;fill:#0b62c4}.s1{stroke:#c2410c;fill:#c2410c}.s2{stroke:#15803d;fill:#15803d}
.s3{stroke:#7e22ce;fill:#7e22ce}.s4{stroke:#a16207;fill:#a16207}.s5{stroke:#0e7490;fill:#0e7490}
.f{stroke:#fff}
@media(prefers-color-scheme:dark){.bg{fill:#16181d}.t{fill:#eee}.m{fill:#aaa}.g{stroke:#363a42}.a{stroke:#999}
.s0{stroke:#6cb0ff;fill:#6cb0ff}.s1{stroke:#ff9d66;fill:#ff9d66}.s2{stroke:#5fd38a;fill:#5fd38a}
.s3{stroke:#c99bff;fill:#c99bff}.s4{stroke:#e5c04b;fill:#e5c04b}.s5{stroke:#5fcfe0;fill:#5fcfe0}.f{stroke:#16181d}}
text{font:12px system-ui,sans-serif}.h{font-size:14px;font-weight:600}polyline{fill:none;stroke-width:2}
</style>"""


def short(v):
    """1234567 -> 1.2M: a tick's label."""
    if v == 0:
        return "0"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(v) >= size:
            return f"{v / size:.3g}{unit}"
    return f"{v:.3g}"


class Axis:
    """Values to pixels.  A logarithmic axis shows 0 at its low end."""

    def __init__(self, values, low, high, log):
        self.log, self.low, self.high = log, low, high
        positive = [v for v in values if v > 0] or [1]
        if log:
            self.min = math.floor(math.log10(min(positive)))
            self.max = max(self.min + 1, math.log10(max(positive)))
            self.zero = min(values) <= 0
            if self.zero:
                self.min -= 1
        else:
            self.min, self.max = 0, self._round_up(max(positive))

    @staticmethod
    def _round_up(v):
        step = 10 ** math.floor(math.log10(v))
        return next(step * k for k in (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10) if step * k >= v)

    def at(self, v):
        if self.log:
            v = math.log10(v) if v > 0 else self.min
        return self.low + (v - self.min) / (self.max - self.min) * (self.high - self.low)

    def ticks(self):
        if not self.log:
            return [self.max * k / 4 for k in range(5)]
        whole = math.floor(self.max + 1e-9)
        step = max(1, (whole - self.min) // 7)
        found = [10.0**k for k in range(self.min, whole + 1, step)]
        return [0, *found[1:]] if self.zero else found


def chart(path, title, xlabel, ylabel, series, *, logx=False, logy=False):
    """series: {name: [(x, y), ...]}"""
    points = [p for line in series.values() for p in line]
    x = Axis([p[0] for p in points], LEFT, W - RIGHT, logx)
    y = Axis([p[1] for p in points], H - BOTTOM, TOP, logy)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {W} {H}" width="{W}" height="{H}" role="img">',
        f"<title>{escape(title)}</title>", STYLE, f'<rect class="bg" width="{W}" height="{H}" rx="6"/>',
        f'<text class="t h" x="{LEFT}" y="24">{escape(title)}</text>',
    ]  # fmt: skip
    for t in x.ticks():
        px = x.at(t)
        out.append(f'<line class="g" x1="{px:.1f}" y1="{TOP}" x2="{px:.1f}" y2="{H - BOTTOM}"/>')
        out.append(f'<text class="m" x="{px:.1f}" y="{H - BOTTOM + 18}" text-anchor="middle">{short(t)}</text>')
    for t in y.ticks():
        py = y.at(t)
        out.append(f'<line class="g" x1="{LEFT}" y1="{py:.1f}" x2="{W - RIGHT}" y2="{py:.1f}"/>')
        out.append(f'<text class="m" x="{LEFT - 8}" y="{py + 4:.1f}" text-anchor="end">{short(t)}</text>')
    mid_x, mid_y = (LEFT + W - RIGHT) / 2, (TOP + H - BOTTOM) / 2
    out.append(f'<path class="a" fill="none" d="M{LEFT} {TOP}V{H - BOTTOM}H{W - RIGHT}"/>')
    out.append(f'<text class="t" x="{mid_x}" y="{H - 14}" text-anchor="middle">{escape(xlabel)}</text>')
    out.append(
        f'<text class="t" x="18" y="{mid_y}" text-anchor="middle" transform="rotate(-90 18 {mid_y})">{escape(ylabel)}</text>'
    )
    for i, (name, line) in enumerate(series.items()):
        at = [(x.at(a), y.at(b)) for a, b in sorted(line)]
        out.append(f'<g class="s{i % 6}"><polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in at)}"/>')
        out.extend(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3"/>' for a, b in at)
        ly = TOP + 10 + 20 * i
        out.append(f'<rect x="{W - RIGHT + 14}" y="{ly - 6}" width="14" height="4"/></g>')
        out.append(f'<text class="t" x="{W - RIGHT + 34}" y="{ly}">{escape(name)}</text>')
    path.write_text("\n".join([*out, "</svg>"]) + "\n")


# ---- flame graphs ----

FRAME, LETTER, NARROW = 17, 6.6, 1  # height, width of a letter, frames narrower than this are left out


def tree_of(stacks):
    """{("a", "b"): n} -> nested {"n", "kids"}"""
    root = {"n": 0, "kids": {}}
    for frames, n in stacks.items():
        root["n"] += n
        node = root
        for name in frames:
            node = node["kids"].setdefault(name, {"n": 0, "kids": {}})
            node["n"] += n
    return root


def flame(path, title, stacks, width=1200):
    root = tree_of(stacks)
    out, deepest = [], 0

    def draw(node, name, left, depth):
        nonlocal deepest
        wide = node["n"] / root["n"] * width
        if wide < NARROW:
            return
        deepest = max(deepest, depth)
        hue = sum(map(ord, name)) * 37 % 50 + (190 if name.endswith("_[k]") else 10)
        label = name.removesuffix("_[k]")
        share = 100 * node["n"] / root["n"]
        fits = int(wide / LETTER) - 1
        text = label if len(label) <= fits else label[: max(0, fits - 1)] + "…" if fits > 3 else ""
        y = 34 + depth * FRAME
        out.append(
            f'<g><title>{escape(label)} {share:.1f} %</title><rect class="f" x="{left:.1f}" y="{y}" width="{wide:.1f}" '
            f'height="{FRAME}" fill="hsl({hue} 70% 72%)"/>'
            + (f'<text x="{left + 3:.1f}" y="{y + 12}" fill="#111">{escape(text)}</text>' if text else "")
            + "</g>"
        )
        for kid, below in sorted(node["kids"].items()):
            draw(below, kid, left, depth + 1)
            left += below["n"] / root["n"] * width

    draw(root, "all", 0, 0)
    high = 34 + (deepest + 1) * FRAME + 6
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {high}" width="{width}" height="{high}" role="img">'
        f'<title>{escape(title)}</title>{STYLE}<style>text{{font-size:11px}}</style>'
        f'<rect class="bg" width="{width}" height="{high}" rx="6"/><text class="t h" x="8" y="22">{escape(title)}</text>'
    )
    path.write_text("\n".join([head, *out, "</svg>"]) + "\n")
