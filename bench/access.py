#!/usr/bin/env python3
"""What tokens, TLS and the read log cost a data-chain.

    bench/access.py                        # builds, 7 rounds, works in bench/out
    bench/access.py --rounds 15 --scratch /mnt/disk

Four services run side by side: open, with a token among a thousand, with that and TLS, and with that and
the read log. Each round measures all of them, in an order that changes: chunks in, then out, by many
clients of small ones, few of large ones, and one alone. Ratios are of one round; their medians are shown,
with the lowest and the highest. Python 3.9, openssl, Linux.
"""
import argparse, json, os, random, shutil, signal, statistics, subprocess, sys, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
LOADS = [(256, 16 << 10, 3), (16, 1 << 20, 2), (1, 16 << 10, 2)]


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, **more)
    return done.stdout


class Service:
    def __init__(self, scratch, name, port, **settings):
        folder = scratch / name
        made = run(TARGET / "lucid", "--data", folder, "token", "create", "--role", "admin", "--json")
        self.token = json.loads(made)["token"] if settings.pop("asks", True) else None
        if self.token:
            with open(folder / "tokens", "a") as tokens:
                tokens.writelines(f"other-{n} read {random.randbytes(32).hex()}\n" for n in range(1000))
        else:
            (folder / "tokens").unlink()
        self.pin = settings.pop("pin", None)
        self.address = f"127.0.0.1:{port}"
        environment = dict(os.environ, LOG_LEVEL="WARNING", LUCID_READ_LOG="off", DATA_CHAIN_PORT=str(port))
        if self.token:
            environment["LUCID_TOKENS_FILE"] = str(folder / "tokens")
        environment.update(settings, LUCID_DATA_DIR=str(folder / "data-chain"))
        self.process = subprocess.Popen([TARGET / "lucid-data-chain"], env=environment, stdout=subprocess.DEVNULL)

    def measure(self, clients, size, seconds):
        more = ["--token", self.token] if self.token else []
        more += ["--pin", self.pin] if self.pin else []
        out = run(TARGET / "lucid-measure", "http", self.address, "--clients", clients, "--bytes", size,
                  "--seconds", seconds, *more)
        return json.loads(out.splitlines()[-1])

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def certificate(scratch):
    key, cert = scratch / "key.pem", scratch / "cert.pem"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 30,
        "-subj", "/CN=lucid", "-keyout", key, "-out", cert)
    der = run("sh", "-c", f"openssl x509 -in '{cert}' -pubkey -noout | openssl pkey -pubin -outform der | sha256sum")
    return dict(LUCID_TLS_CERT_FILE=str(cert), LUCID_TLS_KEY_FILE=str(key)), "sha256:" + der.split()[0]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--scratch", type=Path, default=ROOT / "bench/out")
    given = arguments.parse_args()
    run("cargo", "build", "--release", "--locked", "-p", "lucid", "-p", "lucid-data-chain", "-p", "lucid-measure", cwd=ROOT)
    scratch = given.scratch / "access"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    tls, pin = certificate(scratch)
    services = {
        "open": Service(scratch, "open", 19087, asks=False),
        "token": Service(scratch, "token", 19187),
        "tls": Service(scratch, "tls", 19287, pin=pin, **tls),
        "log": Service(scratch, "log", 19387, LUCID_READ_LOG="on"),
    }
    try:
        time.sleep(3)
        for clients, size, seconds in LOADS:
            found = {name: [] for name in services}
            for number in range(given.rounds):
                for name in random.sample(list(services), len(services)):
                    print(f"{clients} x {size}: round {number + 1}, {name}", file=sys.stderr)
                    found[name].append(services[name].measure(clients, size, seconds))
            for way in ("put", "get"):
                rate = {name: [turn[way]["per_second"] for turn in turns] for name, turns in found.items()}
                p50 = {name: statistics.median(turn[way]["p50_ms"] for turn in turns) for name, turns in found.items()}
                print(f"{clients} clients, {size} bytes, {way}: open {statistics.median(rate['open']):.0f}/s", end="")
                for name, beside in (("token", "open"), ("tls", "token"), ("log", "token")):
                    ratios = [one / other for one, other in zip(rate[name], rate[beside])]
                    print(f"; {name} {statistics.median(ratios):.3f} of {beside} ({min(ratios):.3f}-{max(ratios):.3f})", end="")
                print(f"; p50 {', '.join(f'{name} {ms:.2f} ms' for name, ms in p50.items())}", flush=True)
    finally:
        for service in services.values():
            service.end()
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
