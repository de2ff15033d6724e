#!/usr/bin/env python3
"""Lucid beside restic, borg, kopia and rustic: the same input, the same machine, one run.

For every round, input and tool (in an order that rotates from round to round) it measures

    first    archive into a fresh store
    known    archive the same data again; every file is read and hashed, no stat cache
    restore  into a folder that does not exist yet
    verify   read the whole store, open and check everything

in MB/s of plaintext, plus the bytes stored and the peak memory of each step. The medians
over all rounds are printed as tables, and every single measurement goes into a JSON file.

    bench/peers.py --help
    bench/peers.py --rounds 3 --scratch /somewhere/on/the/disk/to/measure

Only Python's standard library is used. See bench/README.md for how each peer is had.
"""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import stat
import statistics
import subprocess
import sys
import time
from pathlib import Path

STEPS = ("first", "known", "restore", "verify")
PASSWORD = "bench"
CPUS = os.cpu_count() or 1
TICK = os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------- the tools


class Tool:
    """How one tool does each of the four steps. `input` is a folder, `store` and `output` are
    folders of its own; whatever it caches goes below `home`."""

    name = ""

    def __init__(self, binary):
        self.binary = binary

    def env(self, home):
        return {}

    def version(self):
        text = run_quietly([self.binary, "--version"]).splitlines()[0]
        return text if text.startswith(self.name) else f"{self.name} {text.split()[0]}"

    def init(self, input, store, home):
        """Commands that prepare an empty store; not measured."""
        return []

    def first(self, input, store, home):
        raise NotImplementedError

    def known(self, input, store, home):
        raise NotImplementedError

    def restore(self, input, store, home, output):
        raise NotImplementedError

    def verify(self, input, store, home):
        raise NotImplementedError

    def optimise(self, store):
        """What makes the store smaller when there is time, if the tool has such a thing."""
        return None


class Lucid(Tool):
    name = "lucid"

    def command(self, store, *rest):
        return [self.binary, *rest, "--quiet", "--data", store]

    # The store is made by the first archive itself, so making it is part of the figure.
    def first(self, input, store, home):
        return self.command(store, "archive", input, "--session", "first")

    def known(self, input, store, home):
        return self.command(store, "archive", input, "--session", "again")

    def restore(self, input, store, home, output):
        return self.command(store, "restore", "first", "--output", output)

    def verify(self, input, store, home):
        return self.command(store, "verify", "--all")

    def optimise(self, store):
        return self.command(store, "optimise")


class Before(Lucid):
    """An earlier build of lucid, to be measured in turns with this one."""

    name = "before"

    def version(self):
        return "before"


class Restic(Tool):
    name = "restic"

    def env(self, home):
        return {"RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": home}

    def version(self):
        return " ".join(run_quietly([self.binary, "version"]).split()[:2])

    def command(self, store, *rest):
        return [self.binary, "--quiet", "--no-cache", "--repo", store, *rest]

    def init(self, input, store, home):
        return [self.command(store, "init")]

    def first(self, input, store, home):
        return self.command(store, "backup", "--force", input)

    known = first

    def restore(self, input, store, home, output):
        return self.command(store, "restore", "latest", "--target", output)

    def verify(self, input, store, home):
        return self.command(store, "check", "--read-data")


class Borg(Tool):
    name = "borg"

    def env(self, home):
        return {
            "BORG_PASSPHRASE": PASSWORD,
            "BORG_BASE_DIR": home,
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        }

    def init(self, input, store, home):
        return [[self.binary, "init", "--encryption", "repokey", store]]

    def create(self, input, store, archive):
        return [self.binary, "create", "--files-cache=disabled", "--compression", "zstd,3",
                f"{store}::{archive}", input]

    def first(self, input, store, home):
        return self.create(input, store, "first")

    def known(self, input, store, home):
        return self.create(input, store, "again")

    # borg extracts into the current folder, and the runner starts it in `output`.
    def restore(self, input, store, home, output):
        return [self.binary, "extract", f"{store}::first"]

    def verify(self, input, store, home):
        return [self.binary, "check", "--verify-data", store]


class Kopia(Tool):
    name = "kopia"

    def env(self, home):
        return {
            "KOPIA_PASSWORD": PASSWORD,
            "KOPIA_CONFIG_PATH": f"{home}/repository.config",
            "KOPIA_CACHE_DIRECTORY": f"{home}/cache",
            "KOPIA_LOG_DIR": f"{home}/log",
            "KOPIA_CHECK_FOR_UPDATES": "false",
        }

    def command(self, *rest):
        return [self.binary, "--no-progress", "--log-level=error", "--disable-file-logging", *rest]

    def init(self, input, store, home):
        return [
            self.command("repository", "create", "filesystem", f"--path={store}"),
            self.command("policy", "set", "--global", "--compression=zstd", "--ignore-cache-dirs=false"),
            self.command("maintenance", "set", "--enable-full=false", "--enable-quick=false"),
        ]

    def first(self, input, store, home):
        return self.command("snapshot", "create", "--force-hash=100", input)

    known = first

    def restore(self, input, store, home, output):
        return self.command("snapshot", "restore", input, output)

    def verify(self, input, store, home):
        return self.command("snapshot", "verify", "--verify-files-percent=100")


class Rustic(Tool):
    name = "rustic"

    def env(self, home):
        return {"RUSTIC_PASSWORD": PASSWORD, "RUSTIC_NO_PROGRESS": "true", "HOME": home}

    def command(self, store, *rest):
        return [self.binary, "--log-level=warn", "--no-cache", "--repository", store, *rest]

    def init(self, input, store, home):
        return [self.command(store, "init")]

    def first(self, input, store, home):
        return self.command(store, "backup", "--force", input)

    known = first

    def restore(self, input, store, home, output):
        return self.command(store, "restore", "latest", output)

    def verify(self, input, store, home):
        return self.command(store, "check", "--read-data")


PEERS = (Restic, Borg, Kopia, Rustic)


# ---------------------------------------------------------------- running and measuring


def say(text):
    print(text, file=sys.stderr, flush=True)


def run_quietly(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=True, **options)
    return done.stdout.strip()


def machine_busy_seconds():
    """CPU seconds that the whole machine has spent, whoever spent them."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / TICK


def load_of_others(seconds):
    """The share of the machine's cores that is in use while we only wait."""
    before, start = machine_busy_seconds(), time.monotonic()
    time.sleep(seconds)
    return (machine_busy_seconds() - before) / ((time.monotonic() - start) * CPUS)


def wait_until_quiet(limit, patience):
    """Waits until others use less than `limit` of the cores, at most `patience` seconds."""
    end = time.monotonic() + patience
    while True:
        load = load_of_others(2)
        if load < limit or time.monotonic() > end:
            return load
        time.sleep(3)


def raise_priority(nice):
    if nice:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        try:  # with autogroups, niceness counts between sessions only by this file
            Path("/proc/self/autogroup").write_text(str(nice))
        except OSError:
            pass


def measure(command, env, cwd, log, nice):
    """Runs one command; returns its wall time, CPU time, peak memory and what others used."""

    def before_exec():
        os.setsid()
        raise_priority(nice)

    with open(log, "ab") as output:
        output.write(("$ " + " ".join(command) + "\n").encode())
        output.flush()
        busy, start = machine_busy_seconds(), time.monotonic()
        child = subprocess.Popen(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL,
                                 stdout=output, stderr=output,
                                 preexec_fn=before_exec)
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)  # it leads a group of its own
            raise
        seconds = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        tail = Path(log).read_text(errors="replace")[-2000:]
        raise SystemExit(f"failed with {child.returncode}: {' '.join(command)}\n{tail}")
    cpu = usage.ru_utime + usage.ru_stime
    others = max(0.0, machine_busy_seconds() - busy - cpu) / (seconds * CPUS)
    return {
        "seconds": round(seconds, 4),
        "cpu_seconds": round(cpu, 3),
        "peak_mib": round(usage.ru_maxrss / 1024, 1),
        "others": round(others, 3),
    }


def disk_rate(folder, size=512 << 20):
    """MB/s of writing `size` bytes that do not compress into a new file, and syncing it."""
    path = Path(folder, f"disk-{time.monotonic_ns()}")
    block = os.urandom(4 << 20)
    start = time.monotonic()
    with open(path, "wb", buffering=0) as file:
        for _ in range(size // len(block)):
            file.write(block)
        os.fsync(file.fileno())
    return round(size / 1e6 / (time.monotonic() - start), 1)


def stored_bytes(folder):
    """Like `du`: the blocks in use, of files and folders."""
    total = 0
    for root, _folders, files in os.walk(folder):
        total += os.lstat(root).st_blocks * 512
        total += sum(os.lstat(os.path.join(root, name)).st_blocks * 512 for name in files)
    return total


def read_all(folder):
    """Reads every file once, so that inputs come from memory; returns (files, bytes)."""
    files = size = 0
    for root, _folders, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                files += 1
                with open(path, "rb", buffering=0) as file:
                    while block := file.read(1 << 20):
                        size += len(block)
    return files, size


def require_equal(input, output):
    """Some tools restore below the full path of the input, some right into the folder."""
    nested = Path(str(output) + str(input))
    restored = nested if nested.is_dir() else Path(output)
    done = subprocess.run(["diff", "-r", "--no-dereference", str(input), str(restored)],
                          stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{restored} differs from {input}:\n{done.stdout[:2000]}")


def run_tool(tool, input, folder, settings, check_restore):
    """All four steps of one tool on one input, in a folder of its own."""
    store, home, output = (str(folder / name) for name in ("store", "home", "restored"))
    os.makedirs(home)
    if tool.name == "borg":
        os.makedirs(output)
    env = {**os.environ, **tool.env(home)}
    log = folder / "log"
    for command in tool.init(str(input), store, home):
        run_quietly(command, env=env, cwd=folder)

    result = {}
    for step in STEPS:
        arguments = (str(input), store, home) + ((output,) if step == "restore" else ())
        command = getattr(tool, step)(*arguments)
        os.sync()  # what the step before left unwritten is not this step's burden
        cwd = output if tool.name == "borg" and step == "restore" else folder
        result[step] = measure(command, env, cwd, log, settings.nice)
        if step == "first":
            os.sync()
            result["stored"] = stored_bytes(store)
        if step == "known":
            os.sync()
            result["stored_after_known"] = stored_bytes(store)
    if check_restore:
        require_equal(input, output)
    command = tool.optimise(store)
    if command:
        result["optimise"] = measure(command, env, folder, log, settings.nice)
    os.sync()
    result["stored_in_the_end"] = stored_bytes(store)
    return result


# ---------------------------------------------------------------- inputs


def copy_files(files, target, budget):
    """Copies (path, relative name) pairs until the budget of bytes is used."""
    for source, name in files:
        size = source.stat().st_size
        if size > budget:
            continue
        budget -= size
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, path)


def walk(folder, wanted):
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if not path.is_symlink() and wanted(path.stat().st_size):
                yield path


def make_binaries(target):
    """About 1.1 GB of programs and libraries: every installed Rust toolchain's bin and lib."""
    try:
        listed = run_quietly(["rustup", "toolchain", "list", "--verbose"]).splitlines()
        toolchains = {Path(line.split()[-1]).resolve() for line in listed}
    except (OSError, subprocess.CalledProcessError):
        toolchains = {Path(run_quietly(["rustc", "--print", "sysroot"])).resolve()}
    files = [
        (path, Path(toolchain.name) / path.relative_to(toolchain))
        for toolchain in sorted(toolchains)
        for part in ("bin", "lib", "libexec")
        for path in walk(toolchain / part, lambda size: size >= 256 << 10)
    ]
    copy_files(files, target, 1_100_000_000)


def make_small(target):
    """Tens of thousands of small files: the sources in cargo's registry."""
    cargo = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    registry = cargo / "registry" / "src"
    files = ((path, path.relative_to(registry)) for path in walk(registry, lambda size: size <= 128 << 10))
    copy_files(files, target, 400_000_000)


def make_stream(target):
    """Four generations of one stream, each with 200 insertions and deletions more than the last."""
    chance = random.Random(20261121)
    words = [chance.randbytes(chance.randrange(3, 12)).hex().encode() for _ in range(5000)]
    parts = []
    for _ in range(40):  # half of it is text that compresses, half is noise
        parts.append(b" ".join(chance.choices(words, k=110_000)))
        parts.append(chance.randbytes(2_000_000))
    stream = bytearray(b"".join(parts))
    for generation in range(4):
        (target / f"stream-{generation}").write_bytes(stream)
        for _ in range(200):
            at = chance.randrange(len(stream))
            if chance.random() < 0.5:
                stream[at:at] = chance.randbytes(chance.randrange(1, 4000))
            else:
                del stream[at:at + chance.randrange(1, 4000)]


def prepare_input(name, given, scratch, make):
    """A copy of our own, so that the input stays as it is while we measure."""
    target = scratch / "input" / name
    if not target.exists():
        say(f"making input {name}")
        partial = target.with_name(name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if given:
            shutil.copytree(given, partial, symlinks=True, dirs_exist_ok=True)
        else:
            make(partial)
        partial.rename(target)
    return target


# ---------------------------------------------------------------- tables


def median(values):
    return statistics.median(values) if values else None


def summarise(results, tools, inputs):
    """{input: {tool: {figure: median}}}"""
    summary = {}
    for input in inputs:
        summary[input["name"]] = {}
        for tool in tools:
            rows = [row for row in results if row["input"] == input["name"] and row["tool"] == tool.name]
            figures = {
                step: median([input["bytes"] / 1e6 / row[step]["seconds"] for row in rows])
                for step in STEPS
            }
            for step in STEPS:
                figures[f"{step} cpu"] = median([row[step]["cpu_seconds"] for row in rows])
                figures[f"{step} peak"] = median([row[step]["peak_mib"] for row in rows])
            figures["stored"] = median([row["stored"] / 1e6 for row in rows])
            figures["in the end"] = median([row["stored_in_the_end"] / 1e6 for row in rows])
            figures["peak"] = median([max(row[step]["peak_mib"] for step in STEPS) for row in rows])
            figures["others"] = median([row[step]["others"] for row in rows for step in STEPS])
            summary[input["name"]][tool.name] = figures
    return summary


def spread(results, input, tool, step):
    """Lowest and highest MB/s over the rounds."""
    rates = [input["bytes"] / 1e6 / row[step]["seconds"]
             for row in results if row["input"] == input["name"] and row["tool"] == tool]
    return min(rates), max(rates)


def table(summary, inputs, results):
    lines = []
    for input in inputs:
        figures = summary[input["name"]]
        peers = [name for name in figures if name != "lucid"]
        lines += [
            f"**{input['name']}**: {input['files']:,} files, {input['bytes'] / 1e6:,.0f} MB",
            "",
            "| tool | first, MB/s | known, MB/s | restore, MB/s | verify, MB/s | stored, MB | optimised, MB | peak, MiB |",
            "|---|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for name, row in figures.items():
            cells = [f"{row[step]:.0f}" for step in STEPS] + [f"{row['stored']:.1f}", f"{row['in the end']:.1f}", f"{row['peak']:.0f}"]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        if "lucid" in figures and peers:
            own = figures["lucid"]
            cells = []
            for step in STEPS:
                best = max(peers, key=lambda peer: figures[peer][step])
                cells.append(f"{own[step] / figures[best][step]:.2f}× {best}")
            for figure in ("stored", "in the end", "peak"):
                best = min(peers, key=lambda peer: figures[peer][figure])
                cells.append(f"{own[figure] / figures[best][figure]:.3f}× {best}")
            lines.append("| **lucid / best peer** | " + " | ".join(f"**{cell}**" for cell in cells) + " |")
            low_high = [spread(results, input, "lucid", step) for step in STEPS]
            lines.append("| lucid, lowest–highest | "
                         + " | ".join(f"{low:.0f}–{high:.0f}" for low, high in low_high) + " | | | |")
        lines += [
            "",
            "CPU seconds of all cores together, and the peak memory of each step on its own (medians):",
            "",
            "| tool | " + " | ".join(STEPS) + " |",
            "|---|" + "---:|" * len(STEPS),
        ]
        for name, row in figures.items():
            cells = [f"{row[f'{step} cpu']:.2f} s, {row[f'{step} peak']:.0f} MiB" for step in STEPS]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


# ---------------------------------------------------------------- all of it


def find_tools(names, repository, before):
    tools = [Before(str(before.resolve()))] if before else []
    if "lucid" in names:
        binary = os.environ.get("LUCID")
        if not binary:
            say("building lucid")
            subprocess.run(["cargo", "build", "--release", "--locked"], cwd=repository, check=True)
            target = json.loads(run_quietly(
                ["cargo", "metadata", "--format-version=1", "--no-deps"], cwd=repository))["target_directory"]
            binary = str(Path(target, "release", "lucid"))
        tools.append(Lucid(str(Path(binary).resolve())))
    for peer in PEERS:
        if peer.name in names:
            binary = os.environ.get(peer.name.upper()) or shutil.which(peer.name)
            if binary:
                tools.append(peer(str(Path(shutil.which(binary) or binary).resolve())))
            else:
                say(f"{peer.name} is not there: left out")
    return tools


def machine():
    cpu = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    memory = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()
                  if line.startswith("MemTotal"))
    return {"cpu": cpu, "cores": CPUS, "memory_gib": round(memory / 2**20, 1), "kernel": platform.release()}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parent
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, default=here / "out",
                        help="folder for inputs, stores and restored files (default: bench/out)")
    parser.add_argument("--results", type=Path, help="default: results-<time>.json in the scratch folder")
    parser.add_argument("--binaries", type=Path, help="a folder of large binaries, instead of the Rust toolchains")
    parser.add_argument("--small", type=Path, help="a folder of small files, instead of cargo's registry")
    parser.add_argument("--inputs", default="binaries,small,stream", help="which inputs to run (default: %(default)s)")
    parser.add_argument("--tools", default="lucid,restic,borg,kopia,rustic")
    parser.add_argument("--before", type=Path, metavar="LUCID", help="an earlier build, measured in turns with this one")
    parser.add_argument("--quiet-below", type=float, default=0.15, metavar="SHARE",
                        help="before a tool's turn, wait until others use less of the cores (default: %(default)s)")
    parser.add_argument("--patience", type=float, default=60, metavar="SECONDS",
                        help="... but wait no longer than this (default: %(default)s)")
    parser.add_argument("--repeat-above", type=float, default=0.25, metavar="SHARE",
                        help="repeat a turn in which others used more of the cores (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=1, help="how often at most (default: %(default)s)")
    parser.add_argument("--nice", type=int, default=0,
                        help="priority of the measured programs; a negative one needs root and keeps others away")
    parser.add_argument("--keep", action="store_true", help="keep stores and restored files")
    return parser.parse_args()


def stopped(number, _frame):
    raise SystemExit(f"stopped by {signal.Signals(number).name}; what was measured is in the results file")


def main():
    settings = arguments()
    signal.signal(signal.SIGTERM, stopped)
    repository = Path(__file__).resolve().parent.parent
    tools = find_tools(settings.tools.split(","), repository, settings.before)
    scratch = settings.scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    given = {"binaries": (settings.binaries, make_binaries), "small": (settings.small, make_small),
             "stream": (None, make_stream)}
    inputs = []
    for name in settings.inputs.split(","):
        folder = prepare_input(name, given[name][0], scratch, given[name][1])
        files, size = read_all(folder)
        inputs.append({"name": name, "folder": folder, "files": files, "bytes": size})
        say(f"{name}: {files} files, {size / 1e6:.0f} MB")
    os.sync()
    largest = max(input["bytes"] for input in inputs)
    kept = sum(3 * input["bytes"] for input in inputs if input["files"] >= 1000 or settings.keep)
    need = 3 * largest + kept * len(tools) * settings.rounds * (1 + settings.repeats)
    free = shutil.disk_usage(scratch).free
    if free < need:
        raise SystemExit(f"{scratch} has {free / 1e9:.0f} GB free, this may take {need / 1e9:.0f} GB; "
                         "fewer --rounds, --repeats or --tools take less")

    # File systems are slow at making files right after many were deleted. So what comes from a
    # tree of many files stays until the last measurement; large files go when they were measured.
    run = time.strftime("%Y%m%d-%H%M%S")
    work = scratch / f"run-{run}"
    results, disk = [], []
    report = {"machine": machine(), "tools": {tool.name: tool.version() for tool in tools},
              "inputs": [{key: input[key] for key in ("name", "files", "bytes")} for input in inputs],
              "nice": settings.nice, "disk_mb_per_s": disk, "results": results}
    target = settings.results or scratch / f"results-{run}.json"
    for round in range(settings.rounds):
        (work / str(round)).mkdir(parents=True)
        disk.append(disk_rate(work / str(round)))
        say(f"round {round + 1}: the disk writes and syncs {disk[-1]} MB/s")
        order = tools[round % len(tools):] + tools[:round % len(tools)]
        for input in inputs:
            read_all(input["folder"])  # inputs come from memory
            for tool in order:
                best = None
                for attempt in range(1 + settings.repeats):
                    wait_until_quiet(settings.quiet_below, settings.patience)
                    folder = work / str(round) / f"{input['name']}-{tool.name}-{attempt}"
                    folder.mkdir()
                    row = run_tool(tool, input["folder"], folder, settings, check_restore=round == 0 and attempt == 0)
                    row["others"] = max(row[step]["others"] for step in STEPS)
                    if input["files"] < 1000 and not settings.keep:
                        shutil.rmtree(folder)
                        os.sync()
                    if best is None or row["others"] < best["others"]:
                        best = row
                    if best["others"] <= settings.repeat_above:
                        break
                results.append({"round": round, "input": input["name"], "tool": tool.name, **best})
                rates = " ".join(f"{step} {input['bytes'] / 1e6 / best[step]['seconds']:.0f}" for step in STEPS)
                say(f"  {input['name']:8} {tool.name:6} {rates}  stored {best['stored'] / 1e6:.1f} MB"
                    f"  peak {max(best[step]['peak_mib'] for step in STEPS):.0f} MiB  others {best['others']:.0%}")
                target.write_text(json.dumps(report, indent=1) + "\n")
    summary = summarise(results, tools, inputs)
    report["summary"] = summary
    target.write_text(json.dumps(report, indent=1) + "\n")
    facts = report["machine"]
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, Linux {facts['kernel']}; "
          f"medians of {settings.rounds} rounds; the disk writes and syncs {'/'.join(str(rate) for rate in disk)} MB/s")
    print("; ".join(report["tools"].values()) + "\n")
    print(table(summary, inputs, results))
    if not settings.keep:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
