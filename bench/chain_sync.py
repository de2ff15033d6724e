#!/usr/bin/env python3
"""How fast a follower brings a chain over a link of 20 ms there and back.

    bench/chain_sync.py                       # builds, 3 rounds, works in bench/out
    bench/chain_sync.py --blocks 20000 --transactions 5 --rounds 5

Each round measures, beside the CPU seconds of the programs, over the same link and on the same cores: blocks asked for one after the other, the
link alone (bodies, 12 requests at a time, thrown away), the same blocks validated on one core, the disk
alone (the same bytes written and synced), and `lucid chain sync` into an empty folder. The link is
`lucid-measure link`: a proxy in user space, since not every kernel has netem. Python 3.9, Linux.
"""
import argparse, hashlib, http.client, json, os, resource, shutil, signal, statistics, subprocess, sys, threading, time
from datetime import datetime, timedelta, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def merkle(leaves):
    level = leaves or ["0" * 64]
    while len(level) > 1:
        if len(level) % 2:
            level = level + level[-1:]
        level = [sha(a + b) for a, b in zip(level[::2], level[1::2])]
    return level[0]


def write_chain(path, blocks, transactions):
    """A chain by the legacy rules, one block a line; its times end an hour ago."""
    at = datetime.now(timezone.utc) - timedelta(seconds=blocks + 3600)
    previous = "0" * 64
    with open(path, "w") as out:
        for index in range(blocks):
            txs = [
                {"type": "data_storage", "id": f"tx-{index}-{n}", "user": f"user-{n % 97}",
                 "data": {"size": 1000 + n, "hash": sha(f"{index}.{n}")[:24]}, "fee": 0}
                for n in range(transactions)
            ]
            root = merkle([sha(json.dumps(tx, sort_keys=True)) for tx in txs])
            when = (at + timedelta(seconds=index)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            digest = sha(f"{index}{when}{previous}{root}0")
            block = {"index": index, "timestamp": when, "transactions": txs, "previous_hash": previous,
                     "merkle_root": root, "nonce": 0, "hash": digest}
            out.write(json.dumps(block, separators=(",", ":")) + "\n")
            previous = digest


def cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds(command):
    """How long a program takes, and how long the cores work on it."""
    began, worked = time.monotonic(), cpu()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - began, cpu() - worked


def first_line_with(process, text):
    for line in process.stdout:
        if text in line:
            return line
    sys.exit("a program ended early")


def one_at_a_time(address, count):
    line = http.client.HTTPConnection(address)
    began = time.monotonic()
    for height in range(count):
        line.request("GET", f"/api/v1/blocks/{height}")
        reply = line.getresponse()
        assert reply.status == 200
        reply.read()
    return count / (time.monotonic() - began)


def link_alone(address, blocks, batch, clients=12):
    """Blocks a second, bodies as they come, thrown away; and the bytes of all of them."""
    heights, total, lock = iter(range(0, blocks, batch)), [0], threading.Lock()

    def work():
        line = http.client.HTTPConnection(address)
        while True:
            with lock:
                height = next(heights, None)
            if height is None:
                return
            line.request("GET", f"/api/v1/blocks/bodies?from={height}&limit={min(batch, blocks - height)}")
            size = len(line.getresponse().read())
            with lock:
                total[0] += size

    threads = [threading.Thread(target=work) for _ in range(clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return blocks / (time.monotonic() - began), total[0]


def disk_alone(path, bytes_total):
    piece = os.urandom(1 << 20)
    began = time.monotonic()
    with open(path, "wb") as out:
        written = 0
        while written < bytes_total:
            out.write(piece)
            written += len(piece)
        out.flush()
        os.fdatasync(out.fileno())
    took = time.monotonic() - began
    os.unlink(path)
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--blocks", type=int, default=4000)
    parser.add_argument("--transactions", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--singles", type=int, default=200)
    parser.add_argument("--scratch", type=Path, default=ROOT / "bench/out")
    parser.add_argument("--no-build", action="store_true")
    given = parser.parse_args()
    if not given.no_build:
        subprocess.run(["cargo", "build", "--release", "-p", "lucid", "-p", "lucid-block-manager",
                        "-p", "lucid-measure"], cwd=ROOT, check=True)
    scratch = given.scratch / "chain-sync"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    lines, source = scratch / "chain.jsonl", scratch / "source"
    write_chain(lines, given.blocks, given.transactions)
    subprocess.run([TARGET / "lucid", "--data", source, "chain", "import", lines], check=True,
                   stdout=subprocess.DEVNULL)
    running = []
    try:
        environment = {"BLOCK_MANAGER_PORT": "0", "LUCID_DATA_DIR": str(source / "block-manager"),
                       "LOG_FORMAT": "text", "PATH": os.environ["PATH"]}
        service = subprocess.Popen([TARGET / "lucid-block-manager"], env=environment, text=True,
                                   stdout=subprocess.PIPE)
        running.append(service)
        line = first_line_with(service, "started successfully")
        near = line.split("address=")[1].split()[0]
        threading.Thread(target=lambda: [None for _ in service.stdout], daemon=True).start()
        link = subprocess.Popen([TARGET / "lucid-measure", "link", near], text=True, stdout=subprocess.PIPE)
        running.append(link)
        far = first_line_with(link, ":").strip()
        batch = max(1, min(100, (1 << 20) // (256 * (given.transactions + 1))))
        rounds = []
        for number in range(given.rounds):
            copy = scratch / f"copy-{number}"
            found = {"one at a time": one_at_a_time(far, min(given.singles, given.blocks))}
            found["link"], size = link_alone(far, given.blocks, batch)
            took, worked = seconds(
                ["taskset", "-c", "0", TARGET / "lucid", "--data", scratch / "none", "chain", "validate", lines])
            found["validation, one core"] = given.blocks / took
            found["validation, CPU seconds"] = worked
            found["disk"] = given.blocks / disk_alone(scratch / "disk", size)
            imported = scratch / f"imported-{number}"
            _, found["import, CPU seconds"] = seconds(
                [TARGET / "lucid", "--data", imported, "chain", "import", lines])
            took, worked = seconds([TARGET / "lucid", "--data", copy, "chain", "sync", "--from", f"http://{far}"])
            found["sync"], found["sync, CPU seconds"] = given.blocks / took, worked
            shutil.rmtree(imported)
            shutil.rmtree(copy)
            rounds.append(found)
            print(json.dumps({name: round(rate, 2) for name, rate in found.items()}), file=sys.stderr)
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
            process.wait()
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"{given.blocks} blocks of {given.transactions} transactions, {size / 1e6:.1f} MB of bodies; "
          f"blocks a second, median of {given.rounds}")
    middle = {name: statistics.median(found[name] for found in rounds) for name in rounds[0]}
    for name, rate in middle.items():
        print(f"| {name} | {rate:,.2f} |" if "CPU" in name else f"| {name} | {rate:,.0f} |")
    slowest = min(("link", "validation, one core", "disk"), key=middle.get)
    times = statistics.median(found["sync"] / found["one at a time"] for found in rounds)
    share = statistics.median(found["sync"] / found[slowest] for found in rounds)
    print(f"sync: {times:.0f} x one at a time, {share:.2f} of the slowest part ({slowest})")


if __name__ == "__main__":
    main()
