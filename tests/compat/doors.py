#!/usr/bin/env python3
"""Flight SQL as strangers speak it: a server of our own, and the drivers of others against it.

Called by `./dev compat`: makes a few tables, starts `dunlin serve` with users on free ports of the
loopback, runs the checks with JDBC (FlightSqlJdbc.java) and with ADBC (flight_sql.py), ends it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).parent
USER, PASSWORD = "ann", "sesame"
NATIONS = (
    "ALGERIA ARGENTINA BRAZIL CANADA EGYPT ETHIOPIA FRANCE GERMANY INDIA INDONESIA IRAN IRAQ JAPAN JORDAN "
    "KENYA MOROCCO MOZAMBIQUE PERU CHINA ROMANIA RUSSIA VIETNAM SPAIN SWEDEN TURKEY"
).split()
# Work for some seconds in a debug build, by the query that is cancelled (by ADBC: in vain, if its rows
# were not asked for yet).
LINES = 1_500
# How long the server may take to start, and a driver for its checks.
START_MAX, CHECKS_MAX = 60, 300


def make_tables(folder):
    """Enough rows for a join that takes until it is cancelled."""
    folder.mkdir()
    nations = "".join(f"{key},{name},{key % 5},about {name}\n" for key, name in enumerate(NATIONS))
    (folder / "nation.csv").write_text(f"n_nationkey,n_name,n_regionkey,n_comment\n{nations}")
    comments = "".join(f"{n},comment {n * 7919 % LINES}\n" for n in range(LINES))
    (folder / "lineitem.csv").write_text(f"l_orderkey,l_comment\n{comments}")


class Server:
    """`dunlin serve`, which ends when its standard input does."""

    def __init__(self, dunlin, folder):
        state = ["--metadata", str(folder / "state")]
        environment = {**os.environ, "DUNLIN_PASSWORD": PASSWORD}
        subprocess.run([dunlin, "users", *state, "set", USER, "--admin"], env=environment, check=True, timeout=60)
        config = folder / "dunlin.toml"
        config.write_text(f'[session]\nwarehouse = "{folder / "warehouse"}"\n')
        command = [dunlin, "serve", "--config", str(config), *state, "--blobs", str(folder / "blobs"), "--data", str(folder / "data")]
        command += ["--flight-port", "0", "--admin-port", "0", "--users", "--with-parent"]
        self.said = []
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.ready, self.address = threading.Event(), None
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()

    def listen(self):
        for line in self.process.stderr:
            self.said.append(line)
            if line.startswith("dunlin: ready "):
                words = dict(word.split("=", 1) for word in line.split() if "=" in word)
                self.address = words["flight"]
                self.ready.set()
        self.ready.set()

    def wait(self):
        if not self.ready.wait(START_MAX) or self.address is None:
            self.stop()
            sys.exit("the server did not start:\n" + "".join(self.said))
        return self.address

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.listener.join(5)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dunlin", required=True)
    parser.add_argument("--python", required=True, help="one that has the ADBC driver")
    parser.add_argument("--jdbc", required=True, help="the JDBC driver's jar")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dunlin-compat-") as name:
        folder = Path(name)
        make_tables(folder / "data")
        server = Server(arguments.dunlin, folder)
        try:
            login = [server.wait(), USER, PASSWORD]
            adbc = [arguments.python, str(HERE / "flight_sql.py"), *login]
            # The driver's buffers are outside of Java's heap.
            opened = "--add-opens=java.base/java.nio=ALL-UNNAMED"
            jdbc = ["java", opened, "-cp", arguments.jdbc, str(HERE / "FlightSqlJdbc.java"), *login]
            failed = 0
            for what, command in (("JDBC", jdbc), ("ADBC", adbc)):
                print(f"{what}:", flush=True)
                try:
                    failed += subprocess.run(command, timeout=CHECKS_MAX).returncode
                except subprocess.TimeoutExpired:
                    print(f"FAILED  no end within {CHECKS_MAX} s")
                    failed += 1
        finally:
            server.stop()
        if failed:
            print("".join(server.said[-40:]), file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
