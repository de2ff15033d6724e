#!/usr/bin/env python3
"""How soon services are healthy, what memory they take, and how long `lucid doctor` looks at a large store.

    cargo build --release -p lucid -p lucid-data-chain -p lucid-block-manager -p lucid-measure
    bench/running.py                                   # 9 rounds, works in bench/out
    bench/running.py --rounds 21 --chunks 10000000 --scratch /mnt/disk

Each round starts each program in a new folder and in one that has a session, an anchor and blocks, and asks
`/health` every 2 ms until it answers 200. Memory is what the kernel says of the process (VmRSS, VmHWM): ten
seconds after the start, and after load. Medians are shown. Python 3.9, Linux.
"""
import argparse, http.client, json, os, shutil, signal, statistics, subprocess, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
DATA, CHAIN = 18087, 18086
SERVICES = {
    "data-chain": ([TARGET / "lucid-data-chain"], "data-chain", DATA),
    "block-manager": ([TARGET / "lucid-block-manager"], "block-manager", CHAIN),
    "lucid up": (None, "", DATA),
}


def healthy(port):
    try:
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        asked.request("GET", "/health")
        return asked.getresponse().status == 200
    except OSError:
        return False


def start(name, store):
    """Starts it over the folders of a store; the process, and the milliseconds until it was healthy."""
    command, folder, port = SERVICES[name]
    command = command or [TARGET / "lucid", "--quiet", "--data", store, "up"]
    environment = dict(os.environ, LOG_LEVEL="ERROR", DATA_CHAIN_PORT=str(DATA), BLOCK_MANAGER_PORT=str(CHAIN),
                       LUCID_DATA_DIR=str(store / folder))
    begun = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while not healthy(port):
        assert process.poll() is None and time.monotonic() < begun + 60, f"{name} does not start"
        time.sleep(0.002)
    return process, (time.monotonic() - begun) * 1_000


def end(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0


def mib(process, figure):
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(figure)) / 1024


def filled(store):
    """A store with a session, an anchor and blocks."""
    content = store.parent / "content"
    content.write_bytes(os.urandom(1 << 20))
    process, _ = start("lucid up", store)
    subprocess.run([TARGET / "lucid", "--quiet", "--server", f"http://127.0.0.1:{DATA}", "archive", content],
                   check=True, stdout=subprocess.DEVNULL)
    end(process)


def starts(scratch, rounds):
    store, empty = scratch / "filled", scratch / "empty"
    filled(store)
    took = {(name, kind): [] for name in SERVICES for kind in ("new", "filled")}
    for _ in range(rounds):
        for name in SERVICES:
            for kind, folder in (("new", empty), ("filled", store)):
                shutil.rmtree(empty, ignore_errors=True)
                process, milliseconds = start(name, folder)
                took[name, kind].append(milliseconds)
                end(process)
    for (name, kind), values in took.items():
        print(f"{name}, {kind} folder: healthy after {statistics.median(values):.0f} ms "
              f"({min(values):.0f}-{max(values):.0f})", flush=True)


def memory(scratch):
    for name in SERVICES:
        process, _ = start(name, scratch / "filled")
        time.sleep(10)
        line = f"{name}: {mib(process, 'VmRSS'):.1f} MiB idle"
        if name != "block-manager":
            load = [TARGET / "lucid-measure", "http", f"127.0.0.1:{DATA}", "--seconds", "5"]
            for clients, size in ((64, 16 << 10), (16, 1 << 20)):
                subprocess.run([*load, "--clients", str(clients), "--bytes", str(size)], check=True,
                               stdout=subprocess.DEVNULL)
                line += f", {mib(process, 'VmHWM'):.0f} MiB at most with {clients} clients of {size >> 10} KiB"
        print(line, flush=True)
        end(process)


def doctor(scratch, chunks, rounds):
    store = scratch / "large"
    subprocess.run([TARGET / "lucid-measure", "scale", store, "--chunks", str(chunks)], check=True,
                   stdout=subprocess.DEVNULL)
    took = []
    for _ in range(rounds):
        begun = time.monotonic()
        looked = subprocess.run([TARGET / "lucid", "--data", store, "--json", "doctor"], stdout=subprocess.PIPE)
        took.append(time.monotonic() - begun)
        checks = {(it["check"], it["of"]): it["state"] for it in json.loads(looked.stdout)["checks"]}
        assert checks["store", "data-chain"] == "ok", checks
    print(f"doctor, {chunks:,} chunks: {statistics.median(took):.2f} s ({min(took):.2f}-{max(took):.2f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--scratch", type=Path, default=ROOT / "bench" / "out")
    settings = parser.parse_args()
    scratch = settings.scratch / "running"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    starts(scratch, settings.rounds)
    memory(scratch)
    doctor(scratch, settings.chunks, settings.rounds)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
