"""Writes the 99 TPC-DS query texts to the folder named on the command line, as q01.sql to q99.sql.

Called by `./dev test` in a throw-away environment that holds `duckdb` and `duckdb-extension-tpcds`.
The texts belong to the TPC and are not ours to commit. The folder appears in one step (rename) or
not at all, and only if the texts have the digest that the tests were written against.
"""

import hashlib
import os
import sys
import tempfile

import duckdb
import duckdb_extension_tpcds

DIGEST = "bdf728e03c201140ca3d03afe5a84009a321a64534554a6f4cfba7521ff389e4"


def query_texts():
    """The texts in order of their number, from the extension's own file (no download by DuckDB)."""
    package = os.path.dirname(duckdb_extension_tpcds.__file__)
    file = os.path.join(package, "extensions", "v" + duckdb.__version__, "tpcds.duckdb_extension")
    connection = duckdb.connect()
    connection.execute("LOAD '" + file.replace("'", "''") + "'")
    return sorted(connection.execute("select query_nr, query from tpcds_queries()").fetchall())


def main(folder):
    texts = [(number, text.strip() + "\n") for number, text in query_texts()]
    digest = hashlib.sha256("".join(text for _, text in texts).encode()).hexdigest()
    if digest != DIGEST:
        sys.exit(f"the TPC-DS query texts have the digest {digest}, not the expected {DIGEST}")
    parent = os.path.dirname(os.path.abspath(folder))
    os.makedirs(parent, exist_ok=True)
    staging = tempfile.mkdtemp(dir=parent)
    os.chmod(staging, 0o755)
    for number, text in texts:
        with open(os.path.join(staging, f"q{number:02}.sql"), "w", encoding="utf-8") as out:
            out.write(text)
    os.rename(staging, folder)


main(sys.argv[1])
