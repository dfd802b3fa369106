#!/usr/bin/env python3
"""Drives servers of Celeborn's protocol with unmodified Spark and a stock client, and compares all results
with those of Spark's own shuffle.

Called by `./dev celeborn`, `./dev test` (--short) and `./dev compat`. A case is a job with settings (cases.py,
jobs.py); Spark runs in processes of driver.py. Fallback to Spark's shuffle is forbidden, and the manager
that was used is checked. One line for each case; the exit code is 1 if any differed or failed, and 2 if
nothing could be run.
"""

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

import cases
import certificates
import faults
import servers
from install import Place
from standalone import Standalone
from spark import BASE, CELEBORN, Failed, Spark

HERE = Path(__file__).parent
# How long a plain run of a job may take, and what the leftovers of a dead application may stay, seconds.
PLAIN_MAX, FORGET_MAX = 600, 120


class Runner:
    def __init__(self, arguments, place, line, client, folder):
        self.arguments, self.place, self.folder = arguments, place, folder
        folder.mkdir()
        self.spark = Spark(place, line, client, folder)
        self.expected, self.sets, self.started, self.two_hosts = {}, {}, 0, None

    # ---- Servers ----

    def servers_for(self, case):
        """Servers with what the case wants: those of the case before, if they will do."""
        if self.arguments.server not in ("java", "dunlin"):
            return servers.Running(self.arguments.server, self.arguments.workers)
        key = (case.workers, tuple(sorted(case.servers.items())), case.name if case.spoils else "")
        if key not in self.sets:
            self.stop_servers()
            self.started += 1
            folder = self.folder / f"servers-{self.started}"
            if self.arguments.server == "java":
                self.sets[key] = servers.Java(self.place.servers(self.version()), folder, case.workers, self.placed(case.servers))
            else:
                self.sets[key] = servers.Dunlin(self.arguments.dunlin, folder, case.workers, self.placed(case.servers))
        return self.sets[key]

    def placed(self, conf):
        """Settings that name files of certificates, which are made when they are named first."""
        folder = self.folder / "certificates"
        if any(cases.CERTIFICATES in str(value) for value in conf.values()) and not folder.exists():
            certificates.make(folder)
        place = lambda value: value.replace(cases.CERTIFICATES, str(folder)) if isinstance(value, str) else value
        return {name: place(value) for name, value in conf.items()}

    def version(self):
        there = self.place.server_versions()
        return self.arguments.server_version or (there[0] if there else "none")

    def stop_servers(self):
        for one in self.sets.values():
            one.stop()
        self.sets.clear()

    def standalone(self):
        if self.two_hosts is None:
            place = (self.spark.python, self.spark.jar, self.folder / "standalone")
            self.two_hosts = Standalone(*place, servers.free_ports(3))
        return self.two_hosts.url

    def close(self):
        self.spark.stop()
        if self.two_hosts is not None:
            self.two_hosts.stop()
        self.stop_servers()

    # ---- Cases ----

    def why_not(self, case):
        """Why a case cannot be run here; empty if it can."""
        if case.job == "tpch" and not (self.data_of(case) / "lineitem.parquet").exists():
            return f"no data in {self.data_of(case)}"
        if self.arguments.server == "java":
            missing = case.needs - servers.Java.can
            return f"cannot {', '.join(sorted(missing))} from here" if missing else ""
        if self.arguments.workers and case.workers > self.arguments.workers and case.conf.get(cases.COPIES) == "true":
            return f"wants {case.workers} workers"
        missing = case.needs - (servers.Dunlin.can if self.arguments.server == "dunlin" else servers.Running.can)
        return f"cannot {', '.join(sorted(missing))} from here" if missing else ""

    def data_of(self, case):
        return self.arguments.data / f"tpch-sf{case.args['scale']}"

    def arguments_of(self, case):
        args = dict(case.args)
        if args.pop("scale", None):
            args |= {"data": str(self.data_of(case)), "texts": str(HERE.parent / "tpch")}
        return args

    def plain(self, case):
        """What Spark's own shuffle gives for the same job; each is computed once."""
        args = self.arguments_of(case)
        key = json.dumps([case.job, args], sort_keys=True)
        if key not in self.expected:
            conf = {**BASE, **{name: value for name, value in case.conf.items() if "celeborn" not in name}}
            if "seconds" in args:
                args |= {"seconds": 0}
            request = {"master": "local[2,4]", "app": f"plain {case.name}", "conf": conf, "job": case.job, "args": args}
            self.expected[key] = self.spark.run(request, PLAIN_MAX, lambda action: None)
        return self.expected[key]

    def run(self, case):
        """Raises Failed with the reason; gives what was seen."""
        on = self.servers_for(case)
        expected = None if case.forgotten or case.fails else self.plain(case)
        endpoint = {"spark.celeborn.master.endpoints": on.endpoint}
        conf = {**BASE, **CELEBORN, **endpoint, **self.placed(case.conf)}
        request = {"master": case.master, "app": case.name, "conf": conf, "job": case.job, "args": self.arguments_of(case)}
        if case.fails:
            return self.refused(request, case)
        if case.master == "standalone":
            request["master"] = self.standalone()
        with faults.During(on, case.faults, self.arguments.seed) if case.faults else contextlib.nullcontext() as during:
            found = self.spark.run(request, case.bound, on.act)
        if case.forgotten:
            self.check_forgotten(on)
            return {"seconds": 0.0}
        self.check(case, expected, found)
        on.check()
        if during:
            self.check_faults(during)
        return {**found, "plain": expected["seconds"]}

    @staticmethod
    def check_faults(during):
        said = ", ".join(f"{count} {kind}" for kind, count in during.counts.items())
        print(f"         faults: {said}", flush=True)
        if during.failure:
            raise Failed(during.failure)
        if not all(during.counts.values()):
            raise Failed("the job ended before all kinds of faults had come")

    def refused(self, request, case):
        """A job that must not succeed. Too late is no refusal."""
        began, log = time.monotonic(), self.spark.log
        before = log.stat().st_size if log.exists() else 0
        try:
            self.spark.run(request, case.bound, lambda action: None)
        except Failed as failed:
            if "no end within" in str(failed):
                raise
        else:
            raise Failed("it was served")
        finally:
            # A client that failed so early leaves its masters to the next context of its JVM.
            self.spark.stop()
        if self.arguments.server == "dunlin" and case.fails.encode() not in log.read_bytes()[before:]:
            raise Failed(f"the driver's log does not say: {case.fails}")
        return {"seconds": time.monotonic() - began}

    def check(self, case, expected, found):
        if found["rows"] != expected["rows"]:
            raise Failed(difference(expected["rows"], found["rows"]))
        if case.split and found["epochs"] < 1:
            raise Failed("no partition was split or revived")
        if case.within and found["seconds"] > case.within:
            raise Failed(f"took {found['seconds']:.0f} s and not {case.within}: it waited for what it should not")
        if case.rerun and found["reruns"] < 1:
            raise Failed("no stage was run again")
        if case.plan and case.plan not in found["plan"]:
            raise Failed(f"the plan has no {case.plan!r}")

    def check_forgotten(self, on):
        """After an application died: others work, and what it left is removed in time."""
        follow = cases.Case("after", "group_by")
        expected = self.plain(follow)
        conf = {**BASE, **CELEBORN, "spark.celeborn.master.endpoints": on.endpoint}
        request = {"master": "local[2,4]", "app": "after", "conf": conf, "job": "group_by", "args": {}}
        self.check(follow, expected, self.spark.run(request, 120, lambda action: None))
        if "list-shuffles" in on.can:
            end = time.monotonic() + FORGET_MAX
            while left := on.list_shuffles():
                if time.monotonic() > end:
                    raise Failed(f"still there after {FORGET_MAX} s: {', '.join(left[:3])}")
                time.sleep(1)


def difference(expected, found):
    if len(expected) != len(found):
        return f"{len(found)} rows, {len(expected)} without the manager"
    differing = [(a, b) for a, b in zip(expected, found) if a != b]
    return f"{len(differing)} rows differ, first {differing[0][1]} in place of {differing[0][0]}"[:400]


def chosen_cases(arguments, newest=True):
    """With --newest the older clients of a line have the short set only."""
    short = arguments.short or (arguments.newest and not newest)
    table = cases.short_cases() if short else cases.all_cases()
    if not arguments.only:
        return table
    names = arguments.only.split(",")
    unknown = [name for name in names if not any(name in case.name for case in cases.all_cases())]
    if unknown:
        sys.exit(f"no such case: {', '.join(unknown)} (--list names them)")
    return [case for case in table if any(name in case.name for name in names)]


def chosen_lines(arguments, place):
    """Which Spark with which client: all that is there, or what was asked for."""
    lines = [one for one in place.lines() if arguments.spark in ("all", one[0])]
    if arguments.client == "newest":
        # Of each Spark the first: they come in this order.
        return list({line: (line, client) for line, client in reversed(lines)}.values())[::-1]
    return [one for one in lines if arguments.client in ("all", one[1])]


def run_line(arguments, place, line, client, newest, folder):
    """The chosen cases on one line of Spark and client; gives the numbers of passed, failed and left out."""
    runner, counts = Runner(arguments, place, line, client, folder), [0, 0, 0]
    on = f"java {runner.version()}" if arguments.server == "java" else arguments.server
    print(f"Spark {line} with client {client} on {on}:", flush=True)
    try:
        for case in chosen_cases(arguments, newest):
            reason, began = runner.why_not(case), time.monotonic()
            if reason:
                counts[2] += 1
                print(f"left out {case.name}: {reason}", flush=True)
                continue
            try:
                found = runner.run(case)
                counts[0] += 1
                took = f"{time.monotonic() - began:6.1f} s (job {found['seconds']:.1f} s, plain {found.get('plain', 0):.1f} s)"
                print(f"ok       {case.name:<34} {took}", flush=True)
            except (Failed, servers.NotStarted, faults.NotDone, TimeoutError) as reason:
                counts[1] += 1
                print(f"FAILED   {case.name:<34} {time.monotonic() - began:6.1f} s  {reason}", flush=True)
                if arguments.keep:
                    print(f"         logs are in {folder}", flush=True)
                if isinstance(reason, servers.NotStarted):
                    break
    finally:
        runner.close()
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--place", type=Path, required=True, help="where install.py put Spark, clients and servers")
    parser.add_argument("--data", type=Path, default=Path("."), help="folder of tpch-sf0.01 and others")
    parser.add_argument("--server", default="java", help="java, dunlin, or HOST:PORT of a master that runs already")
    parser.add_argument("--server-version", help="which release of the Java servers (the newest that is there)")
    parser.add_argument("--dunlin", help="the binary, for --server dunlin")
    parser.add_argument("--workers", type=int, help="how many workers the servers at HOST:PORT have")
    parser.add_argument("--spark", default="all", choices=("3", "4", "all"))
    parser.add_argument("--client", default="all", help="a version of the client, newest, or all that are there")
    parser.add_argument("--short", action="store_true", help="the cases of a few minutes")
    parser.add_argument("--newest", action="store_true", help="all cases with the newest client of a Spark, the short set with others")
    parser.add_argument("--only", help="cases whose names contain one of these words, with commas")
    parser.add_argument("--seed", type=int, default=1, help="of faults that come at random")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", type=Path, help="a folder for logs that stays")
    arguments = parser.parse_args()
    place = Place(arguments.place)
    if arguments.list:
        for case in chosen_cases(arguments):
            print(f"{'short' if case.short else '':6} {case.name}")
        return
    lines = chosen_lines(arguments, place)
    if not lines:
        print("no Spark with a client here: see install.py", file=sys.stderr)
        sys.exit(2)
    if arguments.server == "java" and not place.server_versions():
        print("no Java servers here: see install.py", file=sys.stderr)
        sys.exit(2)
    # However this ends, the JVMs that it started end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    passed = failed = skipped = 0
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dunlin-celeborn-")))
        folder.mkdir(parents=True, exist_ok=True)
        for line, client in lines:
            newest = client == next(version for of, version in lines if of == line)
            counts = run_line(arguments, place, line, client, newest, folder.resolve() / f"spark-{line}-{client}")
            passed, failed, skipped = passed + counts[0], failed + counts[1], skipped + counts[2]
    print(f"celeborn: {passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
