#!/usr/bin/env python3
"""Fetches what the Celeborn tests drive: Spark from PyPI, Celeborn's client jars and servers by Maven.

Called by `./dev` with a folder, and by whoever wants to see what is there (--list). In the folder:
spark/VERSION is a Python of its own with that pyspark, clients/ holds jars under their Maven names,
servers/VERSION the jars of master and worker. A jar or a folder of jars that somebody put there is
taken as it is. What cannot be had is no failure here: a line says so, and what needs it is left out
by name. `.error` beside its place says why; the next call with --again asks once more.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).parent
GROUP = "org.apache.celeborn"
# Spark's release for each line, and the client of that line.
SPARKS = {"3": "3.5.9", "4": "4.0.5"}
CLIENTS = {"3": "celeborn-client-spark-3-shaded_2.12", "4": "celeborn-client-spark-4-shaded_2.13"}
# Newest first: the first that is there is what a run takes unless told.
VERSIONS = ("0.7.0", "0.6.3", "0.5.4")
# What has no release for a line: 0.5 knows no Spark 4.
NEVER = {("4", "0.5.4")}
# How long one client of a registry may take, seconds.
FETCH_MAX = 600


class Place:
    """The folder and the names in it; the runner asks it what can be run."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def python(self, line):
        return self.folder / "spark" / SPARKS[line] / "bin/python"

    def client(self, line, version):
        return self.folder / "clients" / f"{CLIENTS[line]}-{version}.jar"

    def servers(self, version):
        return self.folder / "servers" / version

    def lines(self):
        """Each (Spark line, client version) that can be run, newest client first."""
        return [
            (line, version)
            for line in SPARKS
            for version in VERSIONS
            if self.python(line).with_name("pyspark").exists() and self.client(line, version).exists()
        ]

    def server_versions(self):
        return [version for version in VERSIONS if any(self.servers(version).glob("celeborn-worker_*.jar"))]


def run(command, **options):
    """Runs a registry's client; raises RuntimeError with the line of its output that says why not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_MAX, **options)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no end within {FETCH_MAX} s") from None
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        raise RuntimeError(said[0] if said else f"ended with {done.returncode}")


def why(reason):
    """One line, without the registry's address, which is this machine's own business."""
    said = str(reason).splitlines()[0]
    absent = re.search(rf"({GROUP}:\S+?)(?: was not found| in )", said)
    return f"the registry has no {absent[1]}" if absent else said[-300:]


def fetch_spark(line, place):
    """A source package of Python and jars: nothing is compiled."""
    folder = place.python(line).parent.parent
    venv.create(folder, clear=True, with_pip=True)
    run([folder / "bin/pip", "install", "--quiet", "--no-cache-dir", f"pyspark=={SPARKS[line]}"])


def fetch_client(line, version, place):
    """The jar gets its name when it is whole."""
    jar = place.client(line, version)
    jar.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jar.parent) as work:
        artifact = f"{GROUP}:{CLIENTS[line]}:{version}"
        copy = ["mvn", "--batch-mode", "--quiet", "dependency:copy"]
        run([*copy, f"-Dartifact={artifact}", f"-DoutputDirectory={work}"], cwd=work)
        (Path(work) / jar.name).rename(jar)


def fetch_servers(version, place):
    folder = place.servers(version)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        shutil.copy(HERE / "servers/pom.xml", work)
        copy = ["mvn", "--batch-mode", "--quiet", "dependency:copy-dependencies", "-DincludeScope=runtime"]
        run([*copy, f"-Dceleborn.version={version}", f"-DoutputDirectory={work}/jars"], cwd=work)
        (Path(work) / "jars").rename(folder)


def wanted(place):
    """What there is to have: its name, the path that is there once it is, and how to get it."""
    for line, version in SPARKS.items():
        there = place.python(line).with_name("pyspark")
        yield f"Spark {version}", there, lambda line=line: fetch_spark(line, place)
    for version in VERSIONS:
        for line in CLIENTS:
            if (line, version) not in NEVER:
                jar = place.client(line, version)
                yield f"client {version} for Spark {line}", jar, lambda line=line, v=version: fetch_client(line, v, place)
    for version in VERSIONS:
        folder = place.servers(version)
        yield f"servers {version}", folder, lambda v=version: fetch_servers(v, place)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--again", action="store_true", help="ask again for what could not be had")
    parser.add_argument("--short", action="store_true", help="only Spark 3 and the newest client of it")
    parser.add_argument("--list", action="store_true", help="say what is there, fetch nothing")
    arguments = parser.parse_args()
    place = Place(arguments.folder)
    for name, there, fetch in wanted(place):
        if arguments.short and (not name.endswith(("Spark 3", SPARKS["3"])) or place.lines()):
            continue
        error = there.parent / f"{there.name}.error"
        if there.exists() or arguments.list:
            if arguments.list:
                print(f"{'there' if there.exists() else 'missing':8} {name}")
            continue
        if error.exists() and not arguments.again:
            print(f"celeborn: no {name}: {error.read_text().strip()}", file=sys.stderr)
            continue
        print(f"celeborn: fetching {name}", file=sys.stderr)
        try:
            fetch()
            error.unlink(missing_ok=True)
        except Exception as reason:  # whatever it is: the others are wanted
            there.parent.mkdir(parents=True, exist_ok=True)
            error.write_text(why(reason) + "\n")
            print(f"celeborn: no {name}: {why(reason)}", file=sys.stderr)


if __name__ == "__main__":
    main()
