#!/usr/bin/env python3
"""Judging chains: `lucid chain validate` beside the reference implementation, over the same file, in turns.

  bench/chain.py ORACLE [--rounds 5] [--blocks 1000] [--txs 500] [--scratch bench/out]

ORACLE is the reference's script (`ORACLE chain` prints blocks, `ORACLE validate` judges them). `LUCID` and
`LUCID_MEASURE` name the programs, if they are not in target/release. Prints medians and one JSON object.
"""
import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LUCID = os.environ.get("LUCID", str(ROOT / "target/release/lucid"))
MEASURE = os.environ.get("LUCID_MEASURE", str(ROOT / "target/release/lucid-measure"))


def timed(command, **how):
    """Wall and CPU seconds of a command, its peak memory in MiB, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, **how)
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu}, done.stdout


def measured(*command):
    return json.loads(subprocess.run([MEASURE, *command], stdout=subprocess.PIPE, check=True).stdout)


def validate(path, *more):
    took, out = timed([LUCID, "--json", "chain", "validate", path, *more])
    found = json.loads(out)
    assert found["valid"], found
    return took, found["transactions_checked"]


def middle(rows, *keys):
    def of(row):
        for key in keys:
            row = row[key]
        return row
    return statistics.median(of(row) for row in rows)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("oracle")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--blocks", type=int, default=1000)
    p.add_argument("--txs", type=int, default=500)
    p.add_argument("--signed-blocks", type=int, default=200)
    p.add_argument("--scratch", default=str(ROOT / "bench/out"))
    a = p.parse_args()
    os.makedirs(a.scratch, exist_ok=True)
    path = os.path.join(a.scratch, f"chain-{a.blocks}-{a.txs}.jsonl")
    signed = os.path.join(a.scratch, f"chain-signed-{a.signed_blocks}-{a.txs}.jsonl")
    if not os.path.exists(path):
        with open(path + ".part", "wb") as out:
            command = [sys.executable, a.oracle, "chain", "--blocks", str(a.blocks), "--txs", str(a.txs)]
            subprocess.run(command, stdout=out, check=True)
        os.rename(path + ".part", path)
    if not os.path.exists(signed):
        measured("chain-signed", signed, "--blocks", str(a.signed_blocks), "--transactions", str(a.txs))
    rows = []
    for n in range(a.rounds):
        row = {}

        def oracle():
            with open(path, "rb") as lines:
                row["oracle"], out = timed([sys.executable, a.oracle, "validate"], stdin=lines)
            # Its own clock leaves out the start of Python.
            row["oracle"]["wall"] = json.loads(out)["seconds"]

        def legacy():
            row["legacy"], row["transactions"] = validate(path)

        def rfc():
            row["rfc"], _ = validate(path, "--log-root")

        def parts():
            row["parts"] = measured("chain", path)

        def sealed():
            row["signed"], row["signatures"] = validate(signed)
            row["batch"] = measured("chain-signatures", signed)

        steps = [oracle, legacy, rfc, parts, sealed]
        for step in steps[n % len(steps):] + steps[:n % len(steps)]:
            step()
        row["load"] = os.getloadavg()[0]
        rows.append(row)
        print(f"round {n + 1} of {a.rounds}: load {row['load']:.1f}", file=sys.stderr)
    txs = rows[0]["transactions"]

    def line(name, value):
        print(f"| {name} | {value} |")

    def ratio(top, bottom):
        each = sorted(top(row) / bottom(row) for row in rows)
        return f"{statistics.median(each):.2f} ({each[0]:.2f}–{each[-1]:.2f})"

    print(f"{txs:,} transactions in {a.blocks:,} blocks; medians of {a.rounds} rounds\n\n| | |\n|---|---:|")
    line("reference, transactions/s", f"{txs / middle(rows, 'oracle', 'wall'):,.0f}")
    line("lucid, legacy rules", f"{txs / middle(rows, 'legacy', 'wall'):,.0f}")
    line("lucid, with RFC 9162 roots", f"{txs / middle(rows, 'rfc', 'wall'):,.0f}")
    line("legacy / reference", ratio(lambda r: r["oracle"]["wall"], lambda r: r["legacy"]["wall"]))
    line("with RFC 9162 / reference", ratio(lambda r: r["oracle"]["wall"], lambda r: r["rfc"]["wall"]))
    line("one core: reference / lucid, CPU", ratio(lambda r: r["oracle"]["cpu"], lambda r: r["legacy"]["cpu"]))
    line("reader and hashes / lucid, CPU", ratio(lambda r: r["parts"]["reader_and_hashes"], lambda r: r["legacy"]["cpu"]))
    line("lucid, CPU ns a transaction", f"{middle(rows, 'legacy', 'cpu') / txs * 1e9:,.0f}")
    for part in rows[0]["parts"]["seconds"]:
        line(f"{part}, ns", f"{middle(rows, 'parts', 'seconds', part) / txs * 1e9:,.0f}")
    line("signed: lucid, transactions/s", f"{rows[0]['signatures'] / middle(rows, 'signed', 'wall'):,.0f}")
    line("signed: batches alone", f"{rows[0]['signatures'] / middle(rows, 'batch', 'seconds', 'all_cores'):,.0f}")
    line("signed: lucid / batches alone", ratio(lambda r: r["batch"]["seconds"]["all_cores"], lambda r: r["signed"]["wall"]))
    line("signed: batches alone / lucid, CPU", ratio(lambda r: r["batch"]["seconds"]["one_core"], lambda r: r["signed"]["cpu"]))
    line("signed: batches / singly, one core", ratio(lambda r: r["batch"]["seconds_singly"], lambda r: r["batch"]["seconds"]["one_core"]))
    results = os.path.join(a.scratch, f"chain-{int(time.time())}.json")
    with open(results, "w") as out:
        json.dump(rows, out, indent=1)
    print(f"\nevery round: {results}", file=sys.stderr)


main()
