#!/usr/bin/env python3
"""Drives a Flight SQL door with the ADBC driver, as a stranger would.

usage: flight_sql.py HOST:PORT USER PASSWORD

Needs adbc-driver-flightsql and pyarrow (see requirements.txt), and a door over TPC-H tables, or over
those that doors.py makes, with a warehouse for new tables.
Prints one line for each check; the exit code is the number of checks that failed.
"""

import datetime
import decimal
import sys

import pyarrow
from adbc_driver_flightsql import DatabaseOptions, dbapi

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def rows(cursor, sql, parameters=None):
    cursor.execute(sql, parameters)
    return cursor.fetch_arrow_table()


@check
def statements(connection, cursor):
    table = rows(cursor, "SELECT count(*) AS n, min(n_name) AS first FROM nation")
    assert table.to_pylist() == [{"n": 25, "first": "ALGERIA"}], table
    assert rows(cursor, "SELECT * FROM lineitem").num_rows > 1000
    assert rows(cursor, "SELECT n_name FROM nation WHERE false").num_rows == 0


@check
def types(connection, cursor):
    sql = (
        "SELECT true AS b, CAST(1 AS SMALLINT) AS s, CAST(2 AS BIGINT) AS l, 1.5 AS d, 'ä' AS t, "
        "DATE '2026-11-21' AS day, CAST('1.25' AS DECIMAL(10, 2)) AS e, NULL AS none, [1, 2] AS list"
    )
    (row,) = rows(cursor, sql).to_pylist()
    assert row["day"] == datetime.date(2026, 11, 21), row
    assert row["e"] == decimal.Decimal("1.25"), row
    assert (row["b"], row["s"], row["l"], row["t"]) == (True, 1, 2, "ä"), row
    assert (row["none"], row["list"]) == (None, [1, 2]), row


@check
def parameters(connection, cursor):
    sql = "SELECT n_name FROM nation WHERE n_nationkey = ? OR n_name = ?"
    assert rows(cursor, sql, (3, "FRANCE")).num_rows == 2
    assert rows(cursor, sql, (3, "x' OR '1'='1")).num_rows == 1
    assert rows(cursor, sql, (None, "FRANCE")).num_rows == 1
    typed = rows(cursor, "SELECT ? AS a, ? AS b, ? AS c", (1.5, True, datetime.date(2026, 1, 2)))
    assert typed.to_pylist() == [{"a": 1.5, "b": True, "c": datetime.date(2026, 1, 2)}], typed


@check
def changes(connection, cursor):
    cursor.execute("CREATE SCHEMA IF NOT EXISTS compat")
    cursor.execute("CREATE OR REPLACE VIEW compat.v AS SELECT 1 AS x")
    assert rows(cursor, "SELECT x FROM compat.v").to_pylist() == [{"x": 1}]
    cursor.execute("DROP VIEW compat.v")
    cursor.execute("DROP SCHEMA compat")


@check
def ingest(connection, cursor):
    numbers = pyarrow.array(range(50_000), pyarrow.int64())
    words = pyarrow.array([f"word {n}" for n in range(50_000)]).dictionary_encode()
    table = pyarrow.table({"id": numbers, "what": words})
    cursor.execute("CREATE SCHEMA IF NOT EXISTS compat")
    place = {"db_schema_name": "compat"}
    assert cursor.adbc_ingest("loaded", table, mode="create", **place) == 50_000
    assert cursor.adbc_ingest("loaded", table.to_batches(1000)[0], mode="append", **place) == 1000
    assert cursor.adbc_ingest("loaded", table.slice(0, 3), mode="create_append", **place) == 3
    sql = "SELECT count(*) AS n, count(DISTINCT what) AS w, max(id) AS m FROM compat.loaded"
    assert rows(cursor, sql).to_pylist() == [{"n": 51_003, "w": 50_000, "m": 49_999}]
    for mode, words in (("create", "already exists"), ("replace", "replacing a table")):
        try:
            cursor.adbc_ingest("loaded", table, mode=mode, **place)
            raise AssertionError(f"{mode}: no error")
        except dbapi.Error as error:
            assert words in str(error), error
    assert rows(cursor, sql).to_pylist()[0]["n"] == 51_003
    cursor.execute("DROP TABLE compat.loaded")
    cursor.execute("DROP SCHEMA compat")


@check
def session(connection, cursor):
    rows(cursor, "SELECT 1")
    cursor.execute("SET dunlin.partitions = 3")
    sql = "SELECT value FROM information_schema.df_settings WHERE name = 'dunlin.partitions'"
    assert rows(cursor, sql).to_pylist() == [{"value": "3"}]
    cursor.execute("RESET dunlin.partitions")


@check
def objects(connection, cursor):
    found = connection.adbc_get_objects(depth="all").read_all().to_pylist()
    catalogs = {catalog["catalog_name"]: catalog for catalog in found}
    schemas = {s["db_schema_name"]: s for s in catalogs["dunlin"]["catalog_db_schemas"]}
    tables = {t["table_name"]: t for t in schemas["public"]["db_schema_tables"]}
    columns = [column["column_name"] for column in tables["nation"]["table_columns"]]
    assert columns == ["n_nationkey", "n_name", "n_regionkey", "n_comment"], columns
    schema = connection.adbc_get_table_schema("nation")
    assert schema.names == columns, schema
    assert set(connection.adbc_get_table_types()) == {"TABLE", "VIEW"}
    assert connection.adbc_get_info()["vendor_name"] == "Dunlin"


@check
def errors(connection, cursor):
    try:
        rows(cursor, "SELECT *\nFROM natoin")
        raise AssertionError("no error")
    except dbapi.Error as error:
        assert "unknown table 'natoin' (line 2, column 6)" in str(error), error
        assert "nation" in str(error), error


@check
def cancel(connection, cursor):
    # Long, but never for long at a time: an operator that does not pause holds its thread.
    cursor.execute(
        "SELECT sum(length(md5(concat(repeat(a.l_comment, 50), b.n_name, c.n_name)))) "
        "FROM lineitem a, nation b, nation c"
    )
    cursor.adbc_cancel()
    try:
        cursor.fetchall()
    except dbapi.Error:
        pass
    assert rows(cursor, "SELECT 1 AS one").num_rows == 1


def main():
    address, user, password = sys.argv[1:4]
    options = {
        "username": user,
        "password": password,
        DatabaseOptions.WITH_COOKIE_MIDDLEWARE.value: "true",
    }
    print(f"pyarrow {pyarrow.__version__}")
    failed = 0
    for one in CHECKS:
        with dbapi.connect(f"grpc://{address}", db_kwargs=options, autocommit=True) as connection:
            with connection.cursor() as cursor:
                try:
                    one(connection, cursor)
                    print(f"ok      {one.__name__}")
                except Exception as error:  # every check is to be seen
                    failed += 1
                    print(f"FAILED  {one.__name__}: {type(error).__name__}: {error}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
