#!/usr/bin/env python3
"""Measures chains of 10^3 to 10^6 blocks of five transactions with lucid-measure, and draws what it found.

    cargo build --release -p lucid-measure -p lucid-block-manager
    bench/chain_scale.py --scratch bench/out --most 1000000

For each size: appending, opening, reading, judging the records; then the real service over that chain: its
start, its memory, and how it answers `chain/height` while 64 clients submit transactions durably. Prints one
JSON line a size, writes chain_scale.json and chain_scale.svg into the scratch folder. Blocks carry no
producer's signature unless `--signed` is given: verifying one costs more than all the rest of a record.
Only Python's standard library is used.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import scale

FIGURES = [
    ("blocks_appended_per_second", "blocks appended in a second"),
    ("service_start_seconds", "start of the service, s"),
    ("service_memory_mib", "its memory after the load, MiB"),
    ("height_p99_ms", "chain/height meanwhile, 99 %, ms"),
    ("submitted_per_second", "durable transactions, 64 clients, in a second"),
    ("records_us", "judging one record, µs of the clock"),
]


def measured(program, *arguments):
    printed = subprocess.run([program, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(printed)


def memory(process, name):
    with open(f"/proc/{process.pid}/status") as status:
        line = next(line for line in status if line.startswith(name))
    return int(line.split()[1]) // 1024


def serve(folder, manager, program, seconds):
    """Starts the service over a chain and puts load on it."""
    settings = {"LUCID_DATA_DIR": str(folder), "BLOCK_MANAGER_PORT": "0", "LOG_FORMAT": "text"}
    began = time.monotonic()
    process = subprocess.Popen([manager], env=settings, stdout=subprocess.PIPE, text=True)
    line = next(line for line in process.stdout if "started successfully" in line)
    start = time.monotonic() - began
    address = line.split("address=")[1].split()[0]
    # The rest is read, so that writing never blocks.
    threading.Thread(target=lambda: [None for _ in process.stdout], daemon=True).start()
    try:
        load = measured(program, "submit", address, "--seconds", seconds)
        row = {
            "service_start_seconds": start,
            "service_memory_mib": memory(process, "VmHWM"),
            "height_p99_ms": load["height_p99_ms"],
            "submitted_per_second": load["submit"]["per_second"],
            "submit_p99_ms": load["submit"]["p99_ms"],
        }
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    return row


def measure(settings, blocks):
    folder = settings.scratch / "chain"
    shutil.rmtree(folder, ignore_errors=True)
    program = settings.programs / "lucid-measure"
    unsigned = [] if settings.signed else ["--unsigned"]
    row = measured(program, "chain-scale", folder, "--blocks", blocks, *unsigned)
    os.sync()
    row.update(measured(program, "chain-scale-read", folder))
    row["records_us"] = 1e6 * row["records_seconds"] / blocks
    row.update(serve(folder, settings.programs / "lucid-block-manager", program, settings.seconds))
    shutil.rmtree(folder)
    # What the figures are drawn over.
    row["chunks"] = blocks
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parent
    parser.add_argument("--programs", type=Path, default=here.parent / "target/release")
    parser.add_argument("--scratch", type=Path, default=here / "out")
    parser.add_argument("--least", type=int, default=1_000)
    parser.add_argument("--most", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--signed", action="store_true")
    settings = parser.parse_args()
    settings.scratch.mkdir(parents=True, exist_ok=True)
    rows, blocks = [], settings.least
    while blocks <= settings.most:
        rows.append(measure(settings, blocks))
        print(json.dumps(rows[-1]), flush=True)
        blocks *= 10
    (settings.scratch / "chain_scale.json").write_text(json.dumps(rows, indent=1) + "\n")
    scale.FIGURES = FIGURES
    scale.draw(rows, settings.scratch / "chain_scale.svg")


if __name__ == "__main__":
    main()
