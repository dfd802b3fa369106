#!/usr/bin/env python3
"""Times Spark's shuffles through Dunlin's Celeborn door, Celeborn's own Java servers and Spark's own shuffle.

Called by `./dev bench celeborn`. The systems take turns in each round, on one machine, with one Spark process and
one job; what counts are ratios of medians. One round goes before those that count. Writes Markdown to standard
output and progress to standard error; ends with 2 if Spark or its client are not there. Without Java servers it
says so, and compares with Spark's own shuffle only.
"""

import argparse
import contextlib
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cases
import servers
from install import Place
from meter import Meter, stages
from report import markdown
from spark import BASE, CELEBORN, Failed, Spark

HERE = Path(__file__).parent
LINE, CLIENT, JAVA = "3", "0.7.0", "0.7.0"
JOB_MAX, PUSH_MAX = 600, 300  # How long a job and a load of pushes may take, seconds.
EVERY_QUERY = list(range(1, 23))
# What Spark has in every job. Adaptive execution is on, as it is by default.
SPARK = {"spark.sql.shuffle.partitions": "200", cases.AQE: "true"}
# Only when asked for: they take long, and say little more.
SELDOM = {"many-partitions", "tpch-two-copies"}


def parts(arguments):
    """What is measured: name, job, its arguments, settings, copies, who takes part."""
    tpch = {"data": str(arguments.data / "tpch-sf1"), "texts": str(HERE.parent / "tpch"), "queries": arguments.queries}
    bulk = {"rows": int(arguments.gigabytes * 1e9 / 148), "parts": 200}
    every, theirs = ("java", "dunlin", "spark"), ("java", "dunlin")
    many = {cases.PARTITIONS: "2000", cases.AQE: "false"}
    return [
        ("repartition", "bulk", bulk, {}, 1, every),
        ("tpch", "tpch", tpch, {}, 1, every),
        ("many-partitions", "many_partitions", {}, many, 1, every),
        ("repartition-two-copies", "bulk", bulk, cases.TWO, 2, theirs),
        ("tpch-two-copies", "tpch", tpch, cases.TWO, 2, theirs),
    ]


class Bench:
    def __init__(self, arguments, folder):
        self.arguments, self.folder = arguments, folder
        self.place = Place(arguments.place)
        self.spark = Spark(self.place, LINE, CLIENT, folder, memory="4g")
        self.events = folder / "events"
        self.events.mkdir()
        self.running, self.rows, self.results, self.started = {}, {}, {}, 0

    def has_java(self):
        return any(self.place.servers(JAVA).glob("celeborn-worker_*.jar"))

    # ---- Servers ----

    def start(self, systems, workers):
        self.stop()
        self.started += 1
        folder = self.folder / f"servers-{self.started}"
        if "java" in systems:
            self.running["java"] = servers.Java(self.place.servers(JAVA), folder / "java", workers, usual=True)
        if "dunlin" in systems:
            self.running["dunlin"] = servers.Dunlin(self.arguments.dunlin, folder / "dunlin", workers, masters=1)

    def stop(self):
        for one in self.running.values():
            one.stop()
        self.running.clear()

    def workers(self, system):
        """Their process ids."""
        if system not in self.running:
            return []
        return [one.pid for name, one in self.running[system].processes.items() if name.startswith("worker")]

    # ---- Measuring ----

    def job(self, system, part):
        """One run of a job: what it took."""
        name, job, args, settings, _, _ = part
        conf = {**BASE, **SPARK, **settings}
        conf |= {"spark.eventLog.enabled": "true", "spark.eventLog.dir": f"file://{self.events}"}
        if system == "spark":
            conf = {key: value for key, value in conf.items() if "celeborn" not in key}
        else:
            conf |= {**CELEBORN, "spark.celeborn.master.endpoints": self.running[system].endpoint}
        request = {"master": "local[2]", "app": f"{name} {system}", "conf": conf, "job": job, "args": args}
        self.begin()
        with Meter(self.workers(system)) as meter:
            found = self.spark.run(request, JOB_MAX, lambda action: None)
        if self.rows.setdefault(name, found["rows"]) != found["rows"]:
            raise Failed(f"{name} has other rows with {system} than before")
        seconds, written, read = stages(self.events)
        moved = (written + read) / 1e9
        return {
            "stages": seconds, "job": found["seconds"], "written": written, "read": read, "peak": meter.peak,
            "mean": meter.mean, "cpu": meter.cpu, "cpu_gb": meter.cpu / moved if moved else 0.0,
        }  # fmt: skip

    def begin(self):
        """What the first context of a JVM is told, all later ones have by default: so that is a plain one."""
        if self.spark.process is None:
            self.spark.run({"master": "local[2]", "app": "first", "conf": BASE, "job": "group_by", "args": {}}, JOB_MAX, None)

    def pushes(self, system, copies):
        """One load of pushes of 64 KiB, by our own client."""
        command = [self.arguments.bench, "celeborn-push", "--master", self.running[system].endpoint]
        command += ["--bytes", self.arguments.push_bytes] + (["--copies"] if copies == 2 else [])
        with Meter(self.workers(system)) as meter:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PUSH_MAX)
        if not done.stdout.startswith("{"):
            raise Failed(f"pushes to {system}: {done.stderr.strip()[-300:]}")
        found = json.loads(done.stdout)
        if found["failures"]:
            self.say(f"  {found['failures']} pushes to {system} failed, the last: {found['why']}")
        gigabytes = found["bytes"] / 1e9
        return {
            "p50": found["p50_us"] / 1e3, "p99": found["p99_us"] / 1e3, "mb_s": found["mb_s"], "peak": meter.peak,
            "failures": found["failures"], "cpu_gb": meter.cpu / gigabytes if gigabytes else 0.0,
        }  # fmt: skip

    def first_push(self):
        """Seconds from the start of one process with both roles to its first stored push."""
        self.started += 1
        folder = self.folder / f"first-{self.started}"
        (port,) = servers.free_ports(1)
        serve = [self.arguments.dunlin, "serve", "--roles", "celeborn-master,celeborn-worker"]
        serve += ["--metadata", str(folder / "meta"), "--scratch", str(folder / "scratch")]
        serve += ["--celeborn-port", str(port), "--admin-port", "0"]
        folder.mkdir()
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(open(folder / "log", "wb"))
            client = [self.arguments.bench, "celeborn-push", "--first", "--master", f"{servers.HOST}:{port}"]
            asks = stack.enter_context(subprocess.Popen(client, stdout=subprocess.PIPE, stderr=log, text=True))
            stack.callback(asks.kill)
            time.sleep(0.2)  # The client's own start is none of the servers'.
            began = time.monotonic()
            process = stack.enter_context(subprocess.Popen(serve, stdout=log, stderr=log))
            stack.callback(process.kill)
            if asks.stdout.readline().strip() != "stored":
                raise Failed(f"no first push: {servers.tail(folder / 'log')}")
            return {"seconds": time.monotonic() - began}

    # ---- Rounds ----

    def rounds(self, what, systems, measure):
        """All systems in turn, as often as told and once before; keeps what was found."""
        for number in range(self.arguments.rounds + self.arguments.warm):
            for system in systems:
                found = measure(system)
                shown = "  ".join(f"{key} {value:.4g}" for key, value in found.items())
                self.say(f"{what} {number} {system}: {shown}")
                if number >= self.arguments.warm:
                    self.results.setdefault(what, {}).setdefault(system, []).append(found)

    def run(self):
        java = self.has_java()
        if not java:
            self.say(f"no Java servers {JAVA} of Celeborn here (see install.py): only Spark's own shuffle is compared")
        chosen = self.arguments.only.split(",") if self.arguments.only else []
        wanted = lambda name: name in chosen or (not chosen and name not in SELDOM)  # noqa: E731
        for copies in (1, 2):
            of_copies = [part for part in parts(self.arguments) if part[4] == copies and wanted(part[0])]
            pushes = "push" if copies == 1 else "push-two-copies"
            if not of_copies and not wanted(pushes):
                continue
            everyone = [one for one in ("java", "dunlin") if java or one != "java"]
            self.start(everyone, self.arguments.workers)
            for part in of_copies:
                systems = [one for one in part[5] if one in everyone or one == "spark"]
                self.rounds(part[0], systems, lambda system, part=part: self.job(system, part))
            self.spark.stop()
            if wanted(pushes):
                self.rounds(pushes, everyone, lambda system, copies=copies: self.pushes(system, copies))
        self.stop()
        if wanted("start"):
            self.rounds("start", ["dunlin"], lambda system: self.first_push())

    def medians(self):
        """Of each part, system and figure."""
        return {
            what: {
                system: {key: statistics.median(one[key] for one in found) for key in found[0]}
                for system, found in of_systems.items()
            }
            for what, of_systems in self.results.items()
        }

    def close(self):
        self.spark.stop()
        self.stop()

    @staticmethod
    def say(text):
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--place", type=Path, required=True, help="where install.py put Spark, clients and servers")
    parser.add_argument("--data", type=Path, required=True, help="folder of tpch-sf1")
    parser.add_argument("--dunlin", required=True, help="a release build")
    parser.add_argument("--bench", required=True, help="dunlin-bench of the same build")
    parser.add_argument("--rounds", type=int, default=5, help="that count; one more goes before")
    parser.add_argument("--warm", type=int, default=1, help="rounds that do not count")
    parser.add_argument("--workers", type=int, default=3, help="of each system; a client has 32 pushes in flight for each")
    parser.add_argument("--only", help="parts, with commas: repartition, tpch, push, start, many-partitions, and the first three with -two-copies")
    parser.add_argument("--gigabytes", type=float, default=2.0, help="of the repartition")
    parser.add_argument("--push-bytes", default="2GiB", help="of a load of pushes")
    parser.add_argument("--queries", default=EVERY_QUERY, type=lambda text: [int(one) for one in text.split(",")])
    parser.add_argument("--keep", type=Path, help="a folder for logs that stays")
    parser.add_argument("--out", type=Path, help="a folder that gets the report, too, named by date and commit")
    arguments = parser.parse_args()
    if (LINE, CLIENT) not in Place(arguments.place).lines():
        sys.exit("no Spark with Celeborn's client here: see install.py")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dunlin-celeborn-")))
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(arguments, folder.resolve())
        stack.callback(bench.close)
        bench.run()
        text, name = markdown(bench.medians(), bench.results, arguments)
    print(text)
    if arguments.out:
        (arguments.out / f"{name}.md").write_text(text)
        (arguments.out / f"{name}.json").write_text(json.dumps(bench.results, indent=1) + "\n")


if __name__ == "__main__":
    main()
