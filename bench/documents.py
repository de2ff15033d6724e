#!/usr/bin/env python3
"""Measures documents with lucid-measure, beside SQLite over the same texts, and draws what it found.

    cargo build --release -p lucid-measure
    bench/documents.py --scratch bench/out --most 10000000

At 10^5, 10^6 and 10^7 transactions, with a block for every hundred and a session's document for every ten: how fast
they are taken in, and how long drawn queries of each filter take, first pages and pages that are asked for far
behind by their cursor. Prints one JSON line a size, writes documents.json and documents.svg into the scratch
folder. Only Python's standard library is used.
"""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

import scale

FIGURES = [
    ("items_per_second", "transactions and blocks taken in, in a second"),
    ("sqlite_rows_per_second", "rows into SQLite, in a second"),
    ("memory_loading_mib", "memory while loading, MiB"),
    ("slowest_p99_us", "the slowest filter's first page, 99 %, µs"),
    ("slowest_far_p99_us", "the slowest filter's page far behind, 99 %, µs"),
    ("slowest_ratio", "p50 beside SQLite's, the slowest filter"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parent
    parser.add_argument("--program", type=Path, default=here.parent / "target/release/lucid-measure")
    parser.add_argument("--scratch", type=Path, default=here / "out")
    parser.add_argument("--least", type=int, default=100_000)
    parser.add_argument("--most", type=int, default=10_000_000)
    settings = parser.parse_args()
    settings.scratch.mkdir(parents=True, exist_ok=True)
    folder = settings.scratch / "documents"
    shutil.rmtree(folder, ignore_errors=True)
    arguments = [settings.program, "documents", folder, "--least", settings.least, "--most", settings.most]
    rows = []
    with subprocess.Popen([str(word) for word in arguments], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            row = json.loads(line)
            if "queries" not in row:
                continue
            queries = row["queries"].values()
            row["chunks"] = row["transactions"]
            row["slowest_p99_us"] = max(query["p99_us"] for query in queries)
            row["slowest_far_p99_us"] = max(query["far_p99_us"] or 0 for query in queries)
            row["slowest_ratio"] = max(query["p50_us"] / max(query["sqlite_p50_us"], 1) for query in queries)
            print(json.dumps(row), flush=True)
            rows.append(row)
    if process.returncode != 0:
        raise SystemExit(f"lucid-measure ended with {process.returncode}")
    asked = [settings.program, "documents-ask", folder, "--most", settings.most]
    printed = subprocess.run([str(word) for word in asked], check=True, stdout=subprocess.PIPE, text=True).stdout
    rows[-1].update(json.loads(printed))
    print(printed, end="")
    shutil.rmtree(folder)
    (settings.scratch / "documents.json").write_text(json.dumps(rows, indent=1) + "\n")
    scale.FIGURES = FIGURES
    scale.draw(rows, settings.scratch / "documents.svg")


if __name__ == "__main__":
    main()
