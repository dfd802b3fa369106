"""The servers that a run goes against: Celeborn's own (Java), Dunlin's, or some that run already.

Used by run.py. Each has `endpoint` (for spark.celeborn.master.endpoints), `can` (what may be done to it
from here) and `stop`. All listen on the loopback, on free ports, with their state in one folder.
"""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import faults
from etcd import Etcd

# How long servers may take from start to ready, and a process to end when it is told to, seconds.
START_MAX, STOP_MAX = 120, 20
# As Celeborn's own start scripts: without these Netty and the serializer are refused by Java 17.
OPENED = ["java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util"]
OPENED += ["java.util.concurrent", "java.util.concurrent.atomic", "jdk.internal.misc", "sun.nio.ch", "sun.nio.cs"]
OPENED += ["sun.security.action", "sun.util.calendar"]
CLASS = "org.apache.celeborn.service.deploy"
HOST = "127.0.0.1"
# Else a worker tells all others the address that this machine has on its network.
LOOPBACK = {"CELEBORN_LOCAL_IP": HOST, "CELEBORN_LOCAL_HOSTNAME": HOST, "USER": "spark"}


class NotStarted(Exception):
    """Servers that did not come up; the text has the end of their log."""


def free_ports(count):
    """Ports that nobody has now. All are held until all are found, so that they differ."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def tail(path, lines=30):
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return f"(no {path.name})"


class Running:
    """Servers that somebody else started, and will stop: only jobs are run against these."""

    name, can, workers = "running", frozenset(), None

    def __init__(self, endpoint, workers=None):
        self.endpoint, self.workers = endpoint, workers

    def check(self):
        pass

    def stop(self):
        pass


class Java:
    """One master and some workers of a release of Celeborn, each a process of its own."""

    name = "java"
    can = frozenset({"lose-files", "kill-worker", "list-shuffles"})

    # What the tests give it, since their data are small and several workers share one machine.
    SMALL = {
        "celeborn.worker.flusher.buffer.size": "64k",
        "celeborn.rpc.io.threads": 4,
        "celeborn.push.io.threads": 4,
        "celeborn.fetch.io.threads": 4,
        "celeborn.replicate.io.threads": 4,
        "celeborn.worker.replicate.threads": 8,
        "celeborn.worker.commitFiles.threads": 8,
    }

    def __init__(self, jars, folder, workers, conf=None, hold=None, usual=False):
        """`conf` goes into the servers' configuration; `hold` are fixed ports of the workers, five each.
        `usual`: with upstream's own buffers, threads and collector, and the memory of its template."""
        self.folder, self.workers, self.usual = Path(folder), workers, usual
        self.folder.mkdir(parents=True)
        self.jars = f"{jars}/*"
        self.master_port, internal, self.http = free_ports(3)
        self.endpoint = f"{HOST}:{self.master_port}"
        self.conf = {
            "celeborn.master.host": HOST,
            "celeborn.master.port": self.master_port,
            "celeborn.master.internal.port": internal,
            "celeborn.master.http.host": HOST,
            "celeborn.master.http.port": self.http,
            "celeborn.master.endpoints": self.endpoint,
            "celeborn.master.internal.endpoints": f"{HOST}:{internal}",
            "celeborn.worker.http.host": HOST,
            "celeborn.network.bind.preferIpAddress": "true",
            "celeborn.network.advertise.preferIpAddress": "true",
            **({} if usual else self.SMALL),
            "celeborn.worker.storage.disk.reserve.size": "1g",
            **(conf or {}),
        }
        self.processes = {}
        try:
            self.start("master", {})
            self.wait(lambda: self.answers(self.http), "the master")
            for number in range(workers):
                self.start_worker(number, hold[number] if hold else free_ports(6))
            self.wait(lambda: self.registered() >= workers, f"{workers} workers")
        except BaseException:
            self.stop()
            raise

    def start_worker(self, number, ports):
        kinds = ("rpc", "push", "fetch", "replicate", "http")
        data = self.folder / f"data-{number}"
        data.mkdir(exist_ok=True)
        own = {f"celeborn.worker.{kind}.port": port for kind, port in zip(kinds, ports)}
        own["celeborn.worker.internal.port"] = ports[5]
        own["celeborn.worker.storage.dirs"] = f"{data}:disktype=SSD" + ("" if self.usual else ":flushthread=2")
        self.start(f"worker-{number}", own)

    def start(self, name, own):
        conf = self.folder / f"{name}.conf"
        conf.write_text("".join(f"{key} {value}\n" for key, value in {**self.conf, **own}.items()))
        kind = "worker" if name.startswith("worker") else "master"
        memory = ["-Xmx512m", "-XX:MaxDirectMemorySize=512m", "-XX:+UseSerialGC"]
        if self.usual:
            # As conf/celeborn-env.sh.template has it.
            memory = ["-Xmx2g"] + (["-XX:MaxDirectMemorySize=4g"] if kind == "worker" else [])
        java = ["java", *memory, "-Duser.name=spark", "-Dio.netty.allocator.type=pooled"]
        java += [f"-Djava.io.tmpdir={self.folder}", "-Dio.netty.tryReflectionSetAccessible=true"]
        java += ["-Dorg.apache.logging.log4j.level=INFO"]
        java += [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED]
        java += ["-cp", self.jars, f"{CLASS}.{kind}.{kind.capitalize()}", "--host", HOST]
        java += ["--properties-file", str(conf)]
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                java, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **LOOPBACK}
            )

    def answers(self, port, path="/ping"):
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=5) as reply:
                return reply.read().decode()
        except OSError:
            return ""

    def registered(self):
        """How many workers the master knows: each is a line of its text with these ports."""
        said = self.answers(self.http, "/api/v1/workers")
        return said.count('"replicatePort"')

    def wait(self, ready, what):
        end = time.monotonic() + START_MAX
        while not ready():
            dead = [name for name, process in self.processes.items() if process.poll() is not None]
            if dead or time.monotonic() > end:
                names = dead or list(self.processes)
                logs = "\n".join(f"--- {name}\n{tail(self.folder / f'{name}.log')}" for name in names)
                raise NotStarted(f"{what} did not start within {START_MAX} s\n{logs}")
            time.sleep(0.2)

    # ---- What may be done to it ----

    def lose_files(self):
        """Removes what the workers have on disk of every shuffle: their readers meet missing files."""
        lost = 0
        for shuffles in self.folder.glob("data-*/**/shuffle_data"):
            for file in shuffles.rglob("*-*-*"):
                if file.is_file():
                    file.unlink()
                    lost += 1
        return lost

    def kill_worker(self):
        name = max(name for name in self.processes if name.startswith("worker"))
        process = self.processes.pop(name)
        process.kill()
        process.wait()
        self.workers -= 1

    def act(self, action):
        getattr(self, action.replace("-", "_"))()

    def check(self):
        pass

    def list_shuffles(self):
        """Shuffle keys that the workers have folders of, as `app-shuffle`."""
        kept = self.folder.glob("data-*/**/shuffle_data/*/*")
        return sorted(f"{path.parent.name}-{path.name}" for path in kept if path.is_dir())

    def stop(self):
        # Nothing is worth keeping, and an orderly end of a worker waits for its heartbeats.
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        self.processes.clear()
        for data in self.folder.glob("data-*"):
            shutil.rmtree(data, ignore_errors=True)


class Dunlin:
    """Ours: masters (two unless told) and some workers, each a process of its own, on an etcd of one member or three.

    What Celeborn calls a setting is given as its option; `dunlin.*` are ours: `dunlin.etcd`, how many members;
    `dunlin.config`, lines of a configuration file; `dunlin.disk`, the size of the file system that the first
    worker has for its data.
    """

    name = "dunlin"
    can = frozenset({*faults.NAMED, "list-shuffles", *(() if os.geteuid() else ("little-disk",))})
    OPTIONS = {"celeborn.master.heartbeat.application.timeout": "--celeborn-application-timeout"}
    FLAGS = {"celeborn.auth.enabled": "--celeborn-auth"}
    # Names of files beside Celeborn's key store.
    PEM = {"--tls-cert": "process.pem", "--tls-key": "process.key", "--tls-ca": "authority.pem"}

    def __init__(self, dunlin, folder, workers, conf=None, masters=2):
        self.dunlin, self.folder, self.workers = dunlin, Path(folder), workers
        self.folder.mkdir(parents=True)
        self.conf = conf or {}
        # By name: what runs, what was told to go, how it is started, what it said of its addresses.
        self.processes, self.leaving, self.commands, self.facts = {}, {}, {}, {}
        self.mounts = contextlib.ExitStack()
        known = {self.OPTIONS[name]: value.rstrip("s") for name, value in self.conf.items() if name in self.OPTIONS}
        if self.conf.get("celeborn.ssl.enabled") == "true":
            keys = Path(self.conf["celeborn.ssl.keyStore"]).parent
            known |= {option: str(keys / file) for option, file in self.PEM.items()}
        self.own = [word for option in known.items() for word in option]
        self.own += [flag for name, flag in self.FLAGS.items() if self.conf.get(name) == "true"]
        self.own += ["--config", str(self.configuration())]
        ports = free_ports(masters + 2 * self.conf.get("dunlin.etcd", 1))
        own, etcd = ports[:masters], ports[masters:]
        self.endpoint = ",".join(f"{HOST}:{port}" for port in own)
        try:
            self.etcd = Etcd(self.folder, etcd, START_MAX)
            self.metadata = f"etcd://{self.etcd.hosts}/celeborn"
            self.etcd.wait()
            if "dunlin.disk" in self.conf:
                self.mounts.enter_context(faults.little_disk(self.folder / "worker-0", self.conf["dunlin.disk"]))
            for number, port in enumerate(own):
                self.serve(f"master-{number}", "celeborn-master", ["--celeborn-port", str(port)])
            for number in range(workers):
                # Fixed: a worker that comes back is the same one only on the same ports.
                *ports, admin = free_ports(5)
                options = ["--celeborn-worker-ports", ",".join(map(str, ports))]
                if "dunlin.disk" in self.conf:
                    # Nothing is left free: the disk itself says that it is full.
                    options += ["--shuffle-disk", f"{self.folder / f'worker-{number}'}:reserve=0"]
                self.serve(f"worker-{number}", "celeborn-worker", options, admin)
        except (TimeoutError, RuntimeError, faults.NotDone) as reason:
            self.stop()
            raise NotStarted(f"{reason}\n{tail(self.folder / 'etcd-0.log')}") from None
        except BaseException:
            self.stop()
            raise

    def configuration(self):
        file = self.folder / "dunlin.toml"
        file.write_text(self.conf.get("dunlin.config", ""))
        return file

    def serve(self, name, role, options, admin=0):
        command = [self.dunlin, "serve", "--roles", role, "--metadata", self.metadata, *options, *self.own]
        command += ["--scratch", str(self.folder / name), "--admin-port", str(admin), "--lease-ttl", "5s"]
        self.commands[name] = (command, admin)
        self.begin(name)

    def begin(self, name):
        """Starts a process, and waits until it serves."""
        command, _ = self.commands[name]
        log = self.folder / f"{name}.log"
        before = log.read_text(errors="replace").count("dunlin: ready") if log.exists() else 0
        with open(log, "ab") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self.processes[name] = process
        end = time.monotonic() + START_MAX
        while (said := log.read_text(errors="replace")).count("dunlin: ready") == before:
            if process.poll() is not None or time.monotonic() > end:
                raise NotStarted(f"--- {name}\n{tail(log)}")
            time.sleep(0.05)
        ready = said[said.rindex("dunlin: ready") :].splitlines()[0]
        self.facts[name] = dict(word.split("=", 1) for word in ready.split() if "=" in word)

    # ---- What may be done to it ----

    def act(self, action):
        """One of faults.NAMED, by its name."""
        faults.NAMED[action](self, random.Random(action))

    def kill(self, name):
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def list_shuffles(self):
        """What the workers count."""
        left = []
        for name, (_, admin) in self.commands.items():
            if name.startswith("worker") and name in self.processes:
                with urllib.request.urlopen(f"http://{HOST}:{admin}/metrics", timeout=5) as reply:
                    said = reply.read().decode()
                counts = [line.split()[1] for line in said.splitlines() if line.startswith("dunlin_shuffle_blocks ")]
                left += [f"{count} blocks in {name}" for count in counts if count != "0"]
        return left

    def check(self):
        """What was told to go has gone well; raises faults.NotDone if not."""
        for name, process in self.leaving.items():
            faults.ended_well(name, process)
        self.leaving.clear()

    def stop(self):
        # Nothing is worth keeping; in the order in which they need each other.
        for process in [*self.processes.values(), *self.leaving.values()]:
            process.kill()
            process.wait()
        self.processes.clear()
        self.leaving.clear()
        if hasattr(self, "etcd"):
            self.etcd.stop()
        self.mounts.close()
