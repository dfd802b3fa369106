#!/usr/bin/env python3
"""Times one peer over TPC-H; `dunlin-bench peers` starts it, in the peer's environment.

    measure.py ENGINE DATA QUERIES ROWS --threads N --runs N --short-runs N [--only N,...]

ENGINE is a name of engines.py, DATA the folder of tables, QUERIES that of q01.sql and so on; into ROWS
go the rows of each query (Arrow IPC), which the caller compares. On standard output comes a line of
JSON for each finding: {"version"}, {"query", "ms"}, {"query", "error"}, {"short_ms"}. A query whose
first run fails is told and left out.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import pyarrow

from engines import ENGINES

SHORT = "SELECT count(*) FROM nation"
# Short queries before those that count.
WARM_UP = 50


def timed(ask, sql):
    began = time.perf_counter()
    table = ask(sql)
    return (time.perf_counter() - began) * 1000, table


def tell(**finding):
    print(json.dumps(finding), file=report, flush=True)


def first_line(error):
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def query(ask, number, sql, runs, rows):
    """One run to warm up, whose rows are kept, then those that count."""
    try:
        _, table = timed(ask, sql)
        with pyarrow.OSFile(str(rows / f"q{number:02}.arrow"), "wb") as file:
            with pyarrow.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
        tell(query=number, ms=[timed(ask, sql)[0] for _ in range(runs)])
    except Exception as error:  # of the peer's own, whatever it is
        tell(query=number, error=first_line(error))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=ENGINES)
    for name in ["data", "queries", "rows"]:
        parser.add_argument(name, type=Path)
    for name in ["threads", "runs", "short-runs"]:
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    # No peer may have more of the machine than the others.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    tables = {path.stem: str(path) for path in sorted(arguments.data.glob("*.parquet"))}
    try:
        ask, version = ENGINES[arguments.engine](tables, arguments.threads)
        tell(version=version)
    except Exception as error:
        tell(error=first_line(error))
        sys.exit(1)
    only = [int(number) for number in arguments.only.split(",") if number]
    for path in sorted(arguments.queries.glob("q*.sql")):
        number = int(path.stem[1:])
        if not only or number in only:
            query(ask, number, path.read_text().strip().rstrip(";"), arguments.runs, arguments.rows)
    try:
        for _ in range(WARM_UP):
            ask(SHORT)
        tell(short_ms=[timed(ask, SHORT)[0] for _ in range(arguments.short_runs)])
    except Exception as error:
        tell(short_error=first_line(error))
    sys.stdout.flush()
    # Threads and child processes of a peer do not keep it from ending.
    os._exit(0)


# What peers print themselves goes to standard error.
report = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

if __name__ == "__main__":
    main()
