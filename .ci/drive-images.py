#!/usr/bin/env python3
"""Starts both images as the compose files say, and drives the main job through them:

    .ci/drive-images.py ARCH PATH_OF_LUCID PATH_OF_COMPOSE STORAGE RUNROOT

`lucid init` makes what a first start needs, docker compose itself resolves the documented command with its files, and
crun starts what came out: user, read-only root, no capabilities, mounts, variables. Then: the health check of the
image, a folder archived with a token, anchored, verified, restored, proved and checked; SIGTERM; everything again after
a restart; and what goes wrong at a start, each with its sentence. Run by .ci/images, in a network of its own.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent.parent
ENVIRONMENT = ["secrets", "foundation", "core"]
USER = "65532:65532"
# An emulated processor takes its time.
PATIENCE = int(os.environ.get("LUCID_IMAGES_PATIENCE", "120"))
BEGAN = time.monotonic()


def say(*words):
    print(f"images: {' '.join(str(word) for word in words)} ({time.monotonic() - BEGAN:.0f} s)", flush=True)


def run(*command, wanted=0, **how):
    """A command that has to end with this exit code, or one of a range; what it wrote."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **how)
    if done.returncode not in wanted if isinstance(wanted, range) else done.returncode != wanted:
        sys.exit(f"{command} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def loopback_up():
    """A new network has a loopback device that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        name = struct.pack("16sh", b"lo", 0x1 | 0x40)
        fcntl.ioctl(asked, 0x8914, name)


class Image:
    """An image as it was built, unpacked."""

    def __init__(self, buildah, name):
        self.name = name
        self.container = run(*buildah, "from", "--pull=never", name).strip()
        self.root = run(*buildah, "mount", self.container).strip()
        self.config = json.loads(run(*buildah, "inspect", "--type", "image", name))["Docker"]["config"]

    def size(self, folder=""):
        return int(run("du", "-sb", f"{self.root}/{folder}").split()[0])


class Container:
    """A service of the compose file, as crun runs it."""

    def __init__(self, folder, service, told, image, hosts):
        self.name, self.told, self.image = service, told, image
        self.id = f"lucid-{service}-{os.getpid()}"
        self.bundle, self.log = folder / f"bundle-{service}", folder / f"{service}.log"
        self.hosts, self.running = hosts, None

    def configuration(self, more):
        user, group = (int(number) for number in self.told["user"].split(":"))
        environment = dict(pair.split("=", 1) for pair in self.image.config["Env"])
        environment |= {name: value or "" for name, value in self.told["environment"].items()} | more
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/etc/hosts",
                "type": "bind",
                "source": str(self.hosts),
                "options": ["rbind", "ro"],
            },
        ]
        for text in self.told.get("tmpfs", []):
            where, _, options = text.partition(":")
            options = ["nodev", *options.split(",")]
            mounts.append({"destination": where, "type": "tmpfs", "source": "tmpfs", "options": options})
        for volume in self.told["volumes"]:
            options = ["rbind", "ro" if volume.get("read_only") else "rw"]
            source = volume["source"]
            os.makedirs(source, exist_ok=True)
            mounts.append({"destination": volume["target"], "type": "bind", "source": source, "options": options})
        assert self.told["cap_drop"] == ["ALL"] and "cap_add" not in self.told
        return {
            "ociVersion": "1.0.2",
            "root": {"path": self.image.root, "readonly": self.told["read_only"]},
            "hostname": self.told["hostname"],
            "process": {
                "terminal": False,
                "user": {"uid": user, "gid": group},
                "args": self.image.config["Cmd"],
                "env": [f"{name}={value}" for name, value in environment.items()],
                "cwd": self.image.config["WorkingDir"],
                "capabilities": {kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")},
                "noNewPrivileges": "no-new-privileges:true" in self.told["security_opt"],
            },
            "mounts": mounts,
            # The network is the one that this script has: names lead to its loopback.
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]},
        }

    def start(self, **more):
        shutil.rmtree(self.bundle, ignore_errors=True)
        self.bundle.mkdir()
        (self.bundle / "config.json").write_text(json.dumps(self.configuration(more)))
        subprocess.run([*CRUN, "delete", "--force", self.id], capture_output=True)
        with open(self.log, "w") as log:
            self.running = subprocess.Popen(
                [*CRUN, "run", "--bundle", str(self.bundle), self.id],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def exec(self, *command):
        words = [*CRUN, "exec", "--user", self.told["user"], "--no-new-privs", self.id, *command]
        return subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    def healthy(self):
        """Waits for the health check of the image, as an engine runs it; how long that took."""
        test = self.image.config["Healthcheck"]["Test"]
        assert test[0] == "CMD", f"{self.name}: {test}"
        began = time.monotonic()
        while self.exec(*test[1:]).returncode != 0:
            if self.running.poll() is not None or time.monotonic() - began > PATIENCE:
                sys.exit(f"{self.name} is not healthy:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.05)
        return time.monotonic() - began

    def pid(self):
        return json.loads(run(*CRUN, "state", self.id))["pid"]

    def status(self):
        text = pathlib.Path(f"/proc/{self.pid()}/status").read_text()
        return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)

    def ends(self, signal="TERM"):
        """Ends it as an engine does, and waits; the exit code."""
        run(*CRUN, "kill", self.id, signal)
        return self.over()

    def over(self):
        code = self.running.wait(PATIENCE)
        subprocess.run([*CRUN, "delete", "--force", self.id], capture_output=True)
        return code

    def refuses(self, sentence, **more):
        """Starts it where something is wrong, which it has to say in its log."""
        self.start(**more)
        code, text = self.over(), self.log.read_text()
        if code == 0 or not re.search(sentence, text):
            sys.exit(f"{self.name} ended with {code}, and not for {sentence!r}:\n{text[-4000:]}")

    def closed(self):
        """Whether it is closed in as the compose file says, as the kernel has it."""
        status = self.status()
        assert status["Uid"].split() == ["65532"] * 4, status["Uid"]
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[kind], 16) == 0, f"{self.name}: {kind} {status[kind]}"
        assert status["NoNewPrivs"] == "1", status["NoNewPrivs"]
        program = self.image.config["Cmd"][0]
        for where, may in (("/app", False), ("/var/lib", False), ("/app/data", True), ("/tmp", True)):
            tried = self.exec(program, "selftest", "--marker", "/app/bin/.lucid-marker", "--scratch", where)
            assert (tried.returncode == 0) == may, f"{self.name}: {where}:\n{tried.stdout}{tried.stderr}"
            assert may or "Read-only file system" in tried.stderr, tried.stderr
        version = self.exec(program, "--version").stdout.strip()
        labels = self.image.config["Labels"]
        told = f"{labels['org.opencontainers.image.version']} (commit {labels['org.opencontainers.image.revision'][:12]})"
        assert version.endswith(f" {told}"), f"{version}, and its label says {told}"
        missing = self.exec("/bin/sh", "-c", "true")
        assert missing.returncode != 0, f"{self.name} has a shell"


def resolved(compose, folder, arch, root):
    """What docker compose makes of the documented command and its files."""
    files = [word for name in ENVIRONMENT for word in ("--env-file", f"configs/environment/.env.{name}")]
    files += [word for name in ("foundation", "core") for word in ("-f", f"configs/docker/docker-compose.{name}.yml")]
    said = os.environ | {"HOST_ROOT": str(root), "IMAGE_TAG": f"latest-{arch}"}
    text = run(compose, *files, "-p", "lucid-foundation", "config", "--format", "json", cwd=folder, env=said)
    services = json.loads(text)["services"]
    assert sorted(services) == ["block-manager", "data-chain"], sorted(services)
    for name, service in services.items():
        # Without a profile nothing else runs, and what is published is what is listened on.
        (port,) = service["ports"]
        image = service["image"]
        assert (port["host_ip"], port["published"]) == ("127.0.0.1", str(port["target"])), port
        assert image == f"pickme/lucid-{name}:latest-{arch}" and service["user"] == USER, service
    for name in ("core", "foundation"):
        run(compose, "-f", f"configs/docker/docker-compose.{name}.yml", "config", "-q", cwd=folder)
    run(compose, *files, "--profile", "mongodb", "config", "-q", cwd=folder, env=said)
    return services


class Operator:
    """Who uses both services from outside, with a token."""

    def __init__(self, lucid, token):
        self.words = [lucid, "--server", "http://127.0.0.1:8087", "--token-file", token]

    def does(self, *words, wanted=0):
        return run(*self.words, *words, wanted=wanted)

    def anchored(self, session):
        began = time.monotonic()
        while (anchor := json.loads(self.does("--json", "show", session))["anchor"])["status"] != "confirmed":
            assert time.monotonic() - began < PATIENCE, f"{session} came into no block: {anchor}"
            time.sleep(0.2)


def job(operator, folder, trust, session):
    """The main job, with what comes out held against what went in."""
    docs = HERE / "docs"
    operator.does("archive", docs, "--session", session)
    operator.anchored(session)
    found_again(operator, folder, trust, session)


def found_again(operator, folder, trust, session):
    docs = HERE / "docs"
    out, proof = folder / f"out-{time.monotonic_ns()}", folder / "proof"
    operator.does("restore", session, "--output", out)
    run("diff", "-r", docs, out)
    operator.does("verify", session)
    proof.unlink(missing_ok=True)
    operator.does("prove", session, "--path", "FORMATS.md", "--output", proof)
    run(operator.words[0], "check-proof", proof, docs / "FORMATS.md", *trust)
    run(operator.words[0], "check-proof", proof, docs / "API.md", *trust, wanted=1)


def main(arch, lucid, compose, storage, runroot):
    loopback_up()
    buildah = ["buildah", "--root", storage, "--runroot", runroot, "--storage-driver", "vfs"]
    with contextlib.ExitStack() as after:
        folder = pathlib.Path(after.enter_context(tempfile.TemporaryDirectory(prefix="lucid-images-")))
        folder.chmod(0o755)
        global CRUN
        CRUN = ["crun", "--root", str(folder / "crun"), "--cgroup-manager", "disabled"]
        shutil.copytree(HERE / "configs", folder / "configs")
        root = folder / "host"
        root.mkdir()
        secrets = folder / "configs/environment/.env.secrets"
        made = json.loads(
            run(
                lucid, "--data", root / "data", "--json", "init", "--owner", USER, "--secrets", secrets,
                "--tokens", root / "access/tokens",
            )
        )
        keys = run(lucid, "--data", root / "data", "keys", "show", "--public").splitlines()
        keys = dict(line.split(" ", 1) for line in keys)
        trust = [word for name in ("block", "recorder") for word in ("--trust", keys[name])]
        token = folder / "token"
        token.write_text(made["admin_token"])
        token.chmod(0o600)
        hosts = folder / "hosts"
        hosts.write_text("127.0.0.1 localhost block-manager lucid-block-manager data-chain lucid-data-chain\n")

        told = resolved(compose, folder, arch, root)
        containers = {}
        for name in ("block-manager", "data-chain"):
            image = Image(buildah, f"localhost/pickme/lucid-{name}:latest-{arch}")
            after.callback(run, *buildah, "rm", image.container)
            assert image.config["User"] == USER and image.config["Entrypoint"] in (None, [])
            labels = image.config["Labels"]
            assert labels["com.lucid.platform"] == arch and labels["com.lucid.service"] == name, labels
            assert list(image.config["ExposedPorts"]) == [f"{told[name]['ports'][0]['target']}/tcp"]
            check = image.config["Healthcheck"]
            seconds = [check[kind] // 10**9 for kind in ("Interval", "Timeout", "StartPeriod")]
            assert (seconds, check["Retries"]) == ([30, 10, 40], 3), check
            containers[name] = Container(folder, name, told[name], image, hosts)
            own, whole = image.size("app"), image.size()
            assert own <= 30 << 20, f"{name}: our own layers have {own} bytes"
            say(f"{name}: {own / 2**20:.1f} MiB of our own, {whole / 2**20:.1f} MiB with the stand-in")
        chain, data = containers.values()

        def kill():
            for container in containers.values():
                subprocess.run([*CRUN, "delete", "--force", container.id], capture_output=True)

        after.callback(kill)

        def tell(kind, *_):
            # What the containers said is wanted where something went wrong.
            for container in containers.values() if kind else ():
                if container.log.exists():
                    print(f"--- {container.log.name}\n{container.log.read_text()[-4000:]}", file=sys.stderr)

        after.push(tell)

        say("what goes wrong at a start is one sentence each")
        owned = root / "data/data-chain"
        os.chown(owned, 0, 0)
        data.refuses(r"chown")
        os.chown(owned, 65532, 65532)
        data.refuses("MONGO_URL, MONGODB_URL, or MONGODB_URI environment variable not set", DATA_CHAIN_STORAGE_BACKEND="mongodb")
        data.refuses("ERROR: Invalid DATA_CHAIN_PORT value: x", DATA_CHAIN_PORT="x")
        data.refuses(r"no credentials are configured: .*`lucid token create --data", LUCID_TOKENS_FILE="")
        data.refuses(r"LUCID_TOKENS_FILE \(/app/access/none\): No such file", LUCID_TOKENS_FILE="/app/access/none")

        say("both start")
        for container in containers.values():
            container.start()
            say(f"{container.name}: healthy after {container.healthy():.2f} s")
        for container in containers.values():
            container.closed()
            say(f"{container.name}: VmRSS idle {container.status()['VmRSS'].strip()}")
        # Whoever would share its port says so.
        other = Container(folder, "data-chain", told["data-chain"], data.image, hosts)
        other.id, other.bundle, other.log = f"{other.id}-other", folder / "bundle-other", folder / "other.log"
        other.refuses(r"8087")

        operator = Operator(lucid, token)
        job(operator, folder, trust, "first")
        run(lucid, "--server", "http://127.0.0.1:8087", "ls", wanted=range(1, 128))
        for container in containers.values():
            say(f"{container.name}: VmHWM {container.status()['VmHWM'].strip()}")

        say("both end when they are told to")
        for container in (data, chain):
            assert container.ends() == 0, container.log.read_text()[-4000:]
            assert "shutdown complete" in container.log.read_text(), container.log.read_text()[-4000:]

        say("and have everything after a restart")
        for container in containers.values():
            container.start()
            container.healthy()
        found_again(operator, folder, trust, "first")
        job(operator, folder, trust, "second")
        operator.does("verify", "--all")
        for container in (data, chain):
            assert container.ends() == 0, container.log.read_text()[-4000:]
        # What they wrote is the user's, and sound without them.
        run(lucid, "--data", root / "data", "verify", "--all")
        strangers = run("find", root / "data", "!", "-user", "65532")
        assert not [line for line in strangers.splitlines() if "/run/" not in line], strangers
        assert os.listdir(root / "logs/data-chain") == [], "nothing is logged to a file"


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
