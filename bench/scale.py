#!/usr/bin/env python3
"""Measures a store of 10^4 to 10^7 small chunks with lucid-measure, and draws what it found.

    cargo build --release -p lucid-measure
    bench/scale.py --scratch bench/out --most 10000000

Prints one JSON line a size, writes scale.json and scale.svg into the scratch folder.
Only Python's standard library is used.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
from pathlib import Path

FIGURES = [
    ("start_seconds", "start-up, s"),
    ("memory_after_reads_mib", "memory after 20,000 reads, MiB"),
    ("ingest_peak_mib", "peak memory of ingest, MiB"),
    ("chunks_per_second", "chunks taken in a second"),
    ("read_p50_us", "point read, median, µs"),
    ("read_p99_us", "point read, 99 %, µs"),
]
WIDTH, HEIGHT, GAP = 300, 180, 60


def measure(program, scratch, chunks):
    folder = scratch / "scale"
    shutil.rmtree(folder, ignore_errors=True)
    row = {}
    for verb in ("scale", "scale-read"):
        printed = subprocess.run([program, verb, folder, "--chunks", str(chunks)],
                                 check=True, stdout=subprocess.PIPE, text=True).stdout
        row.update(json.loads(printed))
        os.sync()
    shutil.rmtree(folder)
    return row


def plot(rows, key, title, left, top):
    """One figure over the number of chunks: both axes logarithmic from the least to the most."""
    values = [max(row[key], 1e-3) for row in rows]
    low, high = min(values) / 1.5, max(values) * 1.5
    sizes = [row["chunks"] for row in rows]
    first, last = math.log(sizes[0]), math.log(sizes[-1]) if len(sizes) > 1 else math.log(sizes[0]) + 1

    def place(size, value):
        x = left + WIDTH * (math.log(size) - first) / (last - first)
        y = top + HEIGHT * (1 - math.log(value / low) / math.log(high / low))
        return x, y

    points = [place(size, value) for size, value in zip(sizes, values)]
    parts = [f'<text x="{left}" y="{top - 10}" font-weight="bold">{title}</text>',
             f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>',
             '<polyline fill="none" stroke="#06c" stroke-width="2" points="'
             + " ".join(f"{x:.1f},{y:.1f}" for x, y in points) + '"/>']
    for (x, y), size, row in zip(points, sizes, rows):
        value = row[key]
        shown = f"{value:,.0f}" if value >= 10 else f"{value:.2f}"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#06c"/>')
        parts.append(f'<text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="middle">{shown}</text>')
        parts.append(f'<text x="{x:.1f}" y="{top + HEIGHT + 16}" text-anchor="middle">{size:,}</text>')
    return parts


def draw(rows, target):
    parts = []
    for number, (key, title) in enumerate(FIGURES):
        left = GAP + (number % 2) * (WIDTH + 2 * GAP)
        top = GAP + (number // 2) * (HEIGHT + GAP + 20)
        parts += plot(rows, key, title, left, top)
    width, height = 2 * WIDTH + 4 * GAP, 3 * (HEIGHT + GAP + 20) + GAP
    target.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                      f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>'
                      + "".join(parts) + "</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parent
    parser.add_argument("--program", default=str(here.parent / "target/release/lucid-measure"))
    parser.add_argument("--scratch", type=Path, default=here / "out")
    parser.add_argument("--least", type=int, default=10_000)
    parser.add_argument("--most", type=int, default=10_000_000)
    settings = parser.parse_args()
    settings.scratch.mkdir(parents=True, exist_ok=True)
    rows, chunks = [], settings.least
    while chunks <= settings.most:
        rows.append(measure(settings.program, settings.scratch, chunks))
        print(json.dumps(rows[-1]), flush=True)
        chunks *= 10
    (settings.scratch / "scale.json").write_text(json.dumps(rows, indent=1) + "\n")
    draw(rows, settings.scratch / "scale.svg")


if __name__ == "__main__":
    main()
