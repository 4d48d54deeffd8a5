"""Charts for a page as HTML and SVG text: no script, no library, colours from the page's style sheet.

Legend: V joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from bonestrap.layout import Layout


def bars(rows: Sequence[tuple[str, int, int]], *, marked: str = "") -> str:
    """A bar a row (name, count, how many of them are marked); the longest fills the width."""
    most = max((count for _, count, _ in rows), default=1) or 1
    out = []
    for name, count, special in rows:
        width, extra = 100 * (count - special) / most, 100 * special / most
        title = f"{name}: {count:,}" + (f", of them {special:,} {marked}" if special else "")
        out.append(
            f'<div class="bar" title="{escape(title)}"><span class="name">{escape(name)}</span>'
            f'<span class="track"><i style="width:{width:.2f}%"></i>'
            f'<i class="marked" style="width:{extra:.2f}%"></i></span><span class="count">{count:,}</span></div>'
        )
    return f'<div class="bars">{"".join(out)}</div>'


def histogram(values: np.ndarray, *, unit: str, few: int = 0) -> str:
    """How often which whole number occurs, with the median; what lies below `few` is marked."""
    values = np.asarray(values)
    top = int(np.quantile(values, 0.995)) + 1
    each = -(-top // 60)  # numbers a bar
    counts = np.bincount(np.minimum(values, top) // each)
    width, height, base = 1080, 200, 170
    step = width / len(counts)
    out = []
    for bar, count in enumerate(counts):
        first, tall = bar * each, 150 * count / max(counts.max(), 1)
        kind = ' class="marked"' if first + each <= few else ""
        span = "and more" if bar == len(counts) - 1 and values.max() > top else f"to {first + each - 1}"
        out.append(
            f'<rect{kind} x="{bar * step + 1:.1f}" y="{base - tall:.1f}" width="{step - 2:.1f}" height="{tall:.1f}" '
            f'rx="2"><title>{first} {span} {unit}: {count:,}</title></rect>'
        )
    median = float(np.median(values))
    x, scale = median / each * step, step / each
    anchor, gap = ("start", 6) if x < width / 2 else ("end", -6)
    out.append(
        f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{base}"/>'
        f'<text x="{x + gap:.1f}" y="15" text-anchor="{anchor}">median {median:.0f}</text>'
    )
    apart = next(n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**6) if n * scale > width / 12)
    for number in range(0, len(counts) * each, apart):
        anchor = "start" if number == 0 else "middle"
        out.append(
            f'<text class="tick" x="{number * scale:.1f}" y="{base + 20}" text-anchor="{anchor}">{number}</text>'
        )
    return f'<svg class="histogram" viewBox="0 0 {width} {height}" role="img">{"".join(out)}</svg>'


def heatmap(table: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> str:
    """Counts (rows, columns) as a grid of cells, the darker the more; an empty cell is crossed out."""
    cell, left, top = 26, 170, 26
    most = max(int(table.max()), 1)
    out = []
    for c, name in enumerate(columns):
        x = left + c * cell + cell / 2
        out.append(f'<text class="tick" x="{x}" y="{top - 8}" text-anchor="middle">{escape(name)}</text>')
    for r, name in enumerate(rows):
        y = top + r * cell
        short = name if len(name) < 26 else f"{name[:24]}…"
        out.append(f'<text class="tick" x="{left - 8}" y="{y + 17}" text-anchor="end">{escape(short)}</text>')
        for c, column in enumerate(columns):
            count = int(table[r, c])
            box = f'x="{left + c * cell + 1}" y="{y + 1}" width="{cell - 2}" height="{cell - 2}" rx="4"'
            title = f"<title>{escape(name)}, {escape(column)}: {count:,}</title>"
            shade = f'style="fill-opacity:{0.12 + 0.88 * count / most:.2f}"' if count else 'class="none"'
            out.append(f"<rect {box} {shade}>{title}</rect>")
    width, height = left + len(columns) * cell + 4, top + len(rows) * cell + 4
    return (
        f'<svg class="heatmap" viewBox="0 0 {width} {height}" style="max-width:{width * 1.1:.0f}px" role="img">'
        f"{''.join(out)}</svg>"
    )


def body(pose: np.ndarray, layout: Layout, bone_share: np.ndarray, joint_share: np.ndarray) -> str:
    """One body (V, 3) from the front; bones and joints the redder the more often they are at fault."""
    flat = project(pose)
    low, high = flat.min(0), flat.max(0)
    scale = 330 / max(float((high - low)[1]), 1e-6)
    points = (flat - low) * (scale, -scale) + (20, 350)
    width = float((high - low)[0]) * scale + 40
    out = []
    for (child, parent), share in zip(layout.bones, bone_share, strict=True):
        (x1, y1), (x2, y2) = points[child], points[parent]
        title = f"{layout.joints[child]} – {layout.joints[parent]}: {share:.2%} implausible"
        out.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" style="--share:{_redness(share):.0f}%">'
            f"<title>{escape(title)}</title></line>"
        )
    for (x, y), name, share in zip(points, layout.joints, joint_share, strict=True):
        title = f"{name}: {share:.2%} not measured"
        out.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" style="--share:{_redness(share):.0f}%">'
            f"<title>{escape(title)}</title></circle>"
        )
    return f'<svg class="body" viewBox="0 0 {width:.0f} 370" role="img">{"".join(out)}</svg>'


def strip(poses: Sequence[np.ndarray], layout: Layout, bone: int, middle: int) -> str:
    """Poses (M, V, 3) side by side, as seen from the front, with one bone marked in the pose at `middle`."""
    flat = [project(pose) for pose in poses]
    points = np.concatenate([pose.reshape(-1, 2) for pose in flat])
    low, high = points.min(0), points.max(0)
    head = layout.joints.index("head") if "head" in layout.joints else None
    scale = 84 / max(float((high - low).max()), 1e-6)
    out = []
    for number, bodies in enumerate(flat):
        at = ((bodies - (low + high) / 2) * (scale, -scale)) + (48 + 96 * number, 48)
        for person in at:
            if head is not None:
                out.append(f'<circle cx="{person[head, 0]:.1f}" cy="{person[head, 1]:.1f}" r="4.5"/>')
            for index, (child, parent) in enumerate(layout.bones):
                (x1, y1), (x2, y2) = person[child], person[parent]
                kind = ' class="marked"' if index == bone and number == middle else ""
                out.append(f'<line{kind} x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
    return f'<svg class="strip" viewBox="0 0 {96 * len(flat)} 96" role="img">{"".join(out)}</svg>'


def project(points: np.ndarray) -> np.ndarray:
    """(..., 3), z up, facing +y, to (..., 2) as a viewer a little beside the front sees it."""
    angle = np.deg2rad(20.0)
    x, y, z = np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)
    return np.stack((-x * np.cos(angle) + y * np.sin(angle), z), axis=-1)


def _redness(share: float) -> float:
    """Percent of red: none below a hundredth of a percent, all of it at a tenth of the poses, logarithmic between."""
    return float(np.clip(100 * (np.log10(max(share, 1e-9)) + 4) / 3, 0, 100))
