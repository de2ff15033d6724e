#!/usr/bin/env python3
"""A data-chain whose log is in MongoDB and whose chunks are in a bucket, beside the bucket alone.

    cargo build --release -p lucid -p lucid-data-chain -p lucid-measure
    .ci/servers run mongodb garage -- bench/remote.py            # Garage
    .ci/servers run mongodb s3 -- bench/remote.py --server s3    # versitygw
    bench/remote.py --rounds 5 --scratch /mnt/disk               # servers of the environment

In turns: the service takes chunks in and gives them out again, then the same objects are put and got with no store in
between (`lucid-measure http` and `objects`, the same driver). After each round the store is begun anew. Then, through
proxies that count what goes through, how much of it reaches the servers for each chunk; what the objects take beside
what is in them; and how many chunks a second a folder without an index applies. Medians, and ratios of medians.
Python 3.9, Linux.
"""
import argparse, json, os, shutil, signal, socket, statistics, struct, subprocess, threading, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
PORT = 18087
LARGE, SMALL = 1 << 20, 16 << 10
CLIENTS = {LARGE: 16, SMALL: 64}
# What programs are given of the environment: the servers of tests are no settings of theirs.
OWN = {name: value for name, value in os.environ.items() if not name.startswith(("LUCID_TEST_", "LUCID_SERVERS"))}
# Chunks of a request, where it is counted what of them reaches the servers.
BATCH = {LARGE: 1, SMALL: 64}


def passed(data, state):
    """What of the bytes is behind the rest of the message that began before."""
    taken = min(state["left"], len(data))
    state["left"] -= taken
    return data[taken:]


class Counted:
    """Carries bytes to a server, and counts requests: messages of MongoDB's protocol, or requests of HTTP."""

    def __init__(self, to, kind):
        host, port = to.rsplit(":", 1)
        self.to, self.kind, self.requests = (host, int(port)), kind, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.at = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            caller, _ = self.listener.accept()
            server = socket.create_connection(self.to)
            for end in (caller, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.carry, args=(caller, server, getattr(self, self.kind)), daemon=True).start()
            threading.Thread(target=self.carry, args=(server, caller, lambda seen, state: None), daemon=True).start()

    def carry(self, source, to, look):
        state = {"left": 0, "head": b""}
        try:
            while data := source.recv(1 << 18):
                look(data, state)
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            to.close()

    def messages(self, data, state):
        while data:
            if state["left"]:
                data = passed(data, state)
                continue
            wanted = 4 - len(state["head"])
            state["head"], data = state["head"] + data[:wanted], data[wanted:]
            if len(state["head"]) == 4:
                state["left"] = struct.unpack("<i", state["head"])[0] - 4
                state["head"] = b""
                self.requests += 1

    def http(self, data, state):
        while data:
            if state["left"]:
                data = passed(data, state)
                continue
            state["head"] += data
            end = state["head"].find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = state["head"][:end].lower(), state["head"][end + 4:]
            state["head"] = b""
            length = [line for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
            state["left"] = int(length[0].split(b":")[1]) if length else 0
            self.requests += 1


class Store:
    """A service over a database and a prefix of its own."""

    def __init__(self, scratch, given, name, mongo=None, s3=None):
        self.folder = scratch / name / "store"  # the file with its secrets stands beside it
        shutil.rmtree(scratch / name, ignore_errors=True)
        url = given["mongo"]
        scheme, rest = url.split("://")
        hosts, options = rest.split("/")[0], rest.partition("?")[2]
        server = hosts.rpartition("@")[2]
        hosts = hosts.replace(server, mongo.at) if mongo else hosts
        users = "authSource=admin" if "@" in hosts and "authSource" not in options else ""
        options = "?" + "&".join(filter(None, [users, options]))
        prefix = f"bench-{os.getpid()}-{name}"
        self.environment = dict(
            OWN, **given["s3"], LOG_LEVEL="ERROR", DATA_CHAIN_PORT=str(PORT),
            MONGO_URL=f"{scheme}://{hosts}/{prefix.replace('-', '_')}{options}", LUCID_S3_PREFIX=prefix,
            LUCID_DATA_DIR=str(self.folder / "data-chain"),
            LUCID_READ_LOG="off")  # nor does the bucket write down who reads; what that costs is in access.py
        if s3:
            self.environment["LUCID_S3_ENDPOINT"] = f"http://{s3.at}"
        made = json.loads(self.run("lucid", "--quiet", "--json", "--data", self.folder, "init"))
        self.environment["LUCID_TOKEN"] = made["admin_token"]

    def run(self, program, *words):
        command = [TARGET / program, *map(str, words)]
        return subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, check=True).stdout

    def start(self):
        begun = time.monotonic()
        self.process = subprocess.Popen([TARGET / "lucid-data-chain"], env=self.environment,
                                        stdout=subprocess.DEVNULL)
        while True:
            assert self.process.poll() is None and time.monotonic() < begun + 600, "it does not start"
            try:
                with socket.create_connection(("127.0.0.1", PORT), timeout=1) as asked:
                    asked.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
                    if b" 200 " in asked.recv(64):
                        return time.monotonic() - begun
            except OSError:
                pass
            time.sleep(0.005)

    def load(self, size, seconds, *more, clients=None):
        before = cpu(self.process.pid)
        told = json.loads(self.run("lucid-measure", "http", f"127.0.0.1:{PORT}", "--clients", clients or CLIENTS[size],
                                   "--bytes", size, "--seconds", seconds, *more))
        told["cpu"] = cpu(self.process.pid) - before
        return told

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait() == 0


def cpu(pid):
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def given_servers(which):
    prefix = "LUCID_TEST_GARAGE_" if which == "garage" else "LUCID_TEST_S3_"
    names = ("ENDPOINT", "BUCKET", "REGION", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
    found = {f"LUCID_S3_{name}": os.environ[prefix + name] for name in names}
    return {"mongo": os.environ["LUCID_TEST_MONGO_URL"], "s3": found}


def busy():
    """Seconds of processor time that the whole machine has used."""
    fields = Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    return (sum(map(int, fields)) - int(fields[3]) - int(fields[4])) / os.sysconf("SC_CLK_TCK")


def rates(scratch, given, size, rounds, seconds):
    """Megabytes a second in and out: of the service, and of the bucket alone. And what a GB costs."""
    took = {(who, way): [] for who in ("store", "bucket") for way in ("put", "get")}
    cost = {"service": [], "store": [], "bucket": []}

    def note(who, told, used):
        for way in ("put", "get"):
            took[who, way].append(told[way]["mb_per_second"])
        moved = sum(told[way]["count"] * size for way in ("put", "get")) / 1e9
        for name, seconds_used in used.items():
            cost[name].append(seconds_used / moved)

    for number in range(rounds):
        store = Store(scratch, given, f"rates-{size}-{number}")
        store.start()
        before = busy()
        told = store.load(size, seconds)
        note("store", told, {"service": told["cpu"], "store": busy() - before})
        store.stop()
        alone = dict(store.environment, LUCID_S3_PREFIX=f"bench-{os.getpid()}-alone-{size}-{number}")
        before = busy()
        beside = json.loads(subprocess.run(
            [TARGET / "lucid-measure", "objects", "--clients", str(CLIENTS[size]), "--bytes", str(size),
             "--seconds", str(seconds)], env=alone, stdout=subprocess.PIPE, check=True).stdout)
        note("bucket", beside, {"bucket": busy() - before})
    median = {key: statistics.median(values) for key, values in took.items()}
    for way, said in (("put", "in"), ("get", "out")):
        print(f"{size >> 10} KiB {said}: store {median['store', way]:.0f} MB/s {sorted(took['store', way])}, "
              f"bucket alone {median['bucket', way]:.0f} MB/s {sorted(took['bucket', way])}, "
              f"ratio {median['store', way] / max(median['bucket', way], 1):.2f}", flush=True)
    each = {name: statistics.median(values) for name, values in cost.items()}
    print(f"{size >> 10} KiB: seconds of processor time a GB, in and out: {each['service']:.1f} of the service, "
          f"{each['store']:.1f} of the machine; {each['bucket']:.1f} of the machine with the bucket alone", flush=True)


def reached(scratch, given, size, seconds):
    """Requests that reach the servers for each chunk that is taken in."""
    hosts = given["mongo"].split("://")[1].split("/")[0].rpartition("@")[2]
    mongo = Counted(hosts, "messages")
    s3 = Counted(given["s3"]["LUCID_S3_ENDPOINT"].split("://")[1].rstrip("/"), "http")
    store = Store(scratch, given, f"reached-{size}", mongo, s3)
    store.start()
    idle = time.monotonic()
    before = (mongo.requests, s3.requests)
    time.sleep(10)
    each = [(now - then) / (time.monotonic() - idle) for now, then in zip((mongo.requests, s3.requests), before)]
    before, begun = (mongo.requests, s3.requests), time.monotonic()
    chunks = store.load(size, seconds, "--put-only", "--each", BATCH[size], clients=16)["chunks"]
    spent = time.monotonic() - begun
    found = [(now - then - rate * spent) / chunks
             for now, then, rate in zip((mongo.requests, s3.requests), before, each)]
    store.stop()
    print(f"{size >> 10} KiB, 16 clients, {BATCH[size]} in a request: {found[0]:.4f} requests to MongoDB and {found[1]:.4f} to S3 "
          f"for each of {chunks:,} chunks (idle: {each[0]:.1f} and {each[1]:.1f} a second)", flush=True)


def applied(scratch, given, seconds):
    """How fast a folder without an index starts, and what objects take."""
    store = Store(scratch, given, "applied")
    empty = store.start()
    chunks = store.load(SMALL, seconds, "--put-only", "--each", BATCH[SMALL], clients=16)["chunks"]
    store.stop()
    there = json.loads(store.run("lucid-measure", "objects", "--count"))
    print(f"{there['objects']} objects with {there['bytes'] / (chunks * SMALL):.3f} of the bytes of "
          f"{chunks:,} chunks of noise", flush=True)
    shutil.rmtree(store.folder / "data-chain" / "index")
    took = store.start()
    store.stop()
    print(f"a start without an index: {took:.2f} s for {chunks:,} chunks (with none: {empty:.2f} s), "
          f"{chunks / (took - empty):,.0f} a second", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--server", choices=("garage", "s3"), default="garage")
    parser.add_argument("--scratch", type=Path, default=ROOT / "bench" / "out")
    settings = parser.parse_args()
    scratch = settings.scratch / "remote"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    given = given_servers(settings.server)
    for size in (LARGE, SMALL):
        rates(scratch, given, size, settings.rounds, settings.seconds)
    for size in (LARGE, SMALL):
        reached(scratch, given, size, settings.seconds)
    applied(scratch, given, settings.seconds * 3)


if __name__ == "__main__":
    main()
