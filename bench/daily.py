#!/usr/bin/env python3
"""What the verbs of every day take: lists, differences, files that are there already, WebDAV, followers, watchers.

    cargo build --release -p lucid
    bench/daily.py                          # 5 rounds, works in bench/out
    bench/daily.py --only ls,diff --rounds 9 --scratch /mnt/disk

Each figure is the median of the rounds, with the lowest and the highest. Times are those of whole commands, start
and end of the process included, but for `follow`: there it is from the reply that a piece is durable to its bytes
at the follower's output, and for `watch`: there it is processor time of the watcher and of the service it sends to.
Python 3.9, Linux, curl.
"""
import argparse, filecmp, http.client, os, random, shutil, signal, statistics, subprocess, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
LUCID = TARGET / "lucid"
DATA, CHAIN, DAV = 18087, 18086, 18088
URL = f"http://127.0.0.1:{DATA}"


def run(*command, **more):
    return subprocess.run([LUCID, *map(str, command)], check=True, stdout=subprocess.PIPE, **more).stdout


def took(*command, codes=(0,)):
    begun = time.monotonic()
    ran = subprocess.run([*map(str, command)], stdout=subprocess.DEVNULL)
    assert ran.returncode in codes, (command, ran.returncode)
    return (time.monotonic() - begun) * 1_000


def shown(what, values, unit="ms"):
    print(f"{what}: {statistics.median(values):.1f} {unit} ({min(values):.1f}-{max(values):.1f})", flush=True)


def answers(port, path):
    try:
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        asked.request("GET", path)
        return asked.getresponse().status < 500
    except OSError:
        return False


class Service:
    """`lucid up`, or another program that serves at a port."""

    def __init__(self, command, port, path="/health"):
        environment = dict(os.environ, LOG_LEVEL="ERROR", DATA_CHAIN_PORT=str(DATA), BLOCK_MANAGER_PORT=str(CHAIN))
        self.process = subprocess.Popen([LUCID, *map(str, command)], env=environment, stdout=subprocess.DEVNULL)
        begun = time.monotonic()
        while not answers(port, path):
            assert self.process.poll() is None and time.monotonic() < begun + 60, f"{command} does not start"
            time.sleep(0.01)

    def __enter__(self):
        return self.process

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def up(store):
    return Service(["--quiet", "--data", store, "up"], DATA)


def files(folder, count, size, seed):
    """So many files of random bytes, a hundred to a folder."""
    told = random.Random(seed)
    for at in range(count):
        path = folder / f"{at // 100:04}" / f"{at % 100:03}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(told.randbytes(size))


def ls(scratch, rounds):
    store, many, few = scratch / "store", scratch / "many", scratch / "few"
    files(many, 9_990, 100, 1)
    files(few, 10, 100, 2)
    with up(store):
        for folder, host in ((many, "one"), (few, "two")):
            run("--quiet", "--server", URL, "watch", folder, "--once", "--idle", "0.01", "--host", host, "--tag", host)
    wanted = ["ls", "--host", "two"]
    assert len(run("--data", store, "--json", *wanted).splitlines()) == 10
    here, opened = [], []
    for _ in range(rounds):
        opened.append(took(LUCID, "--data", store, "ls", "--last", "1"))
        here.append(took(LUCID, "--data", store, *wanted))
    with up(store):
        there = [took(LUCID, "--server", URL, *wanted) for _ in range(rounds)]
        all_of_them = [took(LUCID, "--server", URL, "ls") for _ in range(rounds)]
    shown("ls of 10,000 sessions by host, through a service", there)
    shown("ls of all 10,000, through a service", all_of_them)
    shown("ls by host, on a folder", here)
    shown("ls of one session, on a folder: what opening takes", opened)


def diff(scratch, rounds):
    store, folder = scratch / "store", scratch / "in"
    files(folder, 100_000, 4_000, 3)
    run("--quiet", "--data", store, "archive", folder, "--session", "first")
    for at in range(10):
        (folder / f"{at * 97:04}" / "050").write_text(f"changed {at}\n")
    run("--quiet", "--data", store, "archive", folder, "--session", "second")
    shown("diff of two archives of 100,000 files, ten of them changed",
          [took(LUCID, "--data", store, "diff", "first", "second", codes=(1,)) for _ in range(rounds)])


def restore(scratch, rounds):
    store, folder = scratch / "store", scratch / "in"
    files(folder, 20_000, 40_000, 4)
    run("--quiet", "--data", store, "archive", folder, "--session", "one")
    fresh, again, trusted = [], [], []
    for _ in range(rounds):
        shutil.rmtree(scratch / "out", ignore_errors=True)
        command = [LUCID, "--quiet", "--data", store, "restore", "one", "-o", scratch / "out"]
        fresh.append(took(*command))
        again.append(took(*command))
        trusted.append(took(*command, "--trust-times"))
    shown("restore of 20,000 files, 0.8 GB, into an empty folder", fresh)
    shown("restore onto the same files", again)
    shown("restore onto the same files, --trust-times", trusted)
    ratio = statistics.median(fresh) / statistics.median(again)
    print(f"the same files are passed over {ratio:.1f} times as fast as they are restored", flush=True)


def webdav(scratch, rounds):
    store, file = scratch / "store", scratch / "content"
    told = random.Random(5)
    file.write_bytes(b"".join(told.randbytes(1 << 20) for _ in range(256)))
    with up(store):
        run("--quiet", "--server", URL, "append", file, "--session", "one")
        sources = {"over the service": ["--server", URL]}
        plain, dav = [], {name: [] for name in sources}
        out = scratch / "out"
        for name, source in sources.items():
            with Service(["--quiet", *source, "serve", "--webdav", f"127.0.0.1:{DAV}"], DAV, "/"):
                for _ in range(rounds):
                    plain.append(took("curl", "-sf", "-o", out, f"{URL}/api/v1/sessions/one/data"))
                    assert filecmp.cmp(out, file, shallow=False)
                    dav[name].append(took("curl", "-sf", "-o", out, f"http://127.0.0.1:{DAV}/one"))
                    assert filecmp.cmp(out, file, shallow=False)
    with Service(["--quiet", "--data", store, "serve", "--webdav", f"127.0.0.1:{DAV}"], DAV, "/"):
        dav["over the folder"] = [took("curl", "-sf", "-o", out, f"http://127.0.0.1:{DAV}/one") for _ in range(rounds)]
    shown("GET of 256 MiB", plain)
    for name, values in dav.items():
        shown(f"WebDAV of the same, {name}", values)
        print(f"  {statistics.median(plain) / statistics.median(values):.2f} of GET", flush=True)


def follow(scratch, rounds):
    with up(scratch / "store"):
        asked = http.client.HTTPConnection("127.0.0.1", DATA)

        def call(method, path, body, **headers):
            asked.request(method, path, body, {"content-type": "application/octet-stream", **headers})
            answer = asked.getresponse()
            text = answer.read()
            assert answer.status < 300, (answer.status, text)
            return time.monotonic()

        call("POST", "/api/v1/sessions", b'{"session_id": "one"}', **{"content-type": "application/json"})
        follower = subprocess.Popen([LUCID, "--server", URL, "follow", "one", "--from-start"], stdout=subprocess.PIPE)
        late, offset = [], 0
        for at in range(40 * rounds):
            piece = f"line {at}\n".encode()
            durable = call("POST", "/api/v1/sessions/one/append", piece, **{"upload-offset": str(offset)})
            offset += len(piece)
            assert follower.stdout.readline() == piece
            late.append((time.monotonic() - durable) * 1_000)
            time.sleep(0.02)
        follower.kill()
        late = sorted(late[10:])
        shown("follow: behind the durable byte", late)
        print(f"  99 of 100 within {late[len(late) * 99 // 100]:.1f} ms", flush=True)


def spent(process):
    """Processor time of a process, in seconds."""
    numbers = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


def watch(scratch, rounds):
    folder = scratch / "recordings"
    files(folder, 1_000, 1_000, 6)
    with up(scratch / "store") as service:
        for options in ([], ["--poll"]):
            spool = scratch / f"spool{len(options)}"
            watcher = subprocess.Popen([LUCID, "--quiet", "--server", URL, "watch", folder, "--idle", "3600",
                                        "--spool", spool, *options], stdout=subprocess.DEVNULL)
            while len(list(spool.glob("*.json"))) < 1_000:
                time.sleep(0.2)
            time.sleep(10)
            parts, beside = [], []
            for _ in range(rounds):
                before = spent(watcher), spent(service), time.monotonic()
                time.sleep(35)
                span = time.monotonic() - before[2]
                parts.append((spent(watcher) - before[0]) / span * 100)
                beside.append((spent(service) - before[1]) / span * 100)
            watcher.kill()
            watcher.wait()
            how = "looking every second" if options else "told by the system"
            shown(f"watch of 1,000 open files of which none grows, {how}: of a core", parts, "%")
            shown("  the service beside it", beside, "%")


FIGURES = {"ls": ls, "diff": diff, "restore": restore, "webdav": webdav, "follow": follow, "watch": watch}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(FIGURES), help="figures, with commas between them")
    parser.add_argument("--scratch", type=Path, default=ROOT / "bench" / "out")
    settings = parser.parse_args()
    scratch = settings.scratch / "daily"
    for name in settings.only.split(","):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        FIGURES[name](scratch, settings.rounds)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
