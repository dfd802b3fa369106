"""The peers: each opens the Parquet files of a folder as tables and answers SQL with Arrow tables.

An engine is a function of (tables, threads) that returns `ask` and the version in words. `tables` has
the path of each table; `ask` takes the text of a query and returns a `pyarrow.Table`. Each runs in a
process of its own, so nothing is closed here. All read the files in place, and none has a limit of
memory but Spark, whose heap is given. Settings are those that say how many threads there are;
others are as the peer comes.
"""

import os
from importlib.metadata import version

import pyarrow

# Of Spark's process: its default of 1 GiB makes it spill at scale 1.
SPARK_HEAP = "8g"


def duckdb(tables, threads):
    import duckdb

    connection = duckdb.connect(config={"threads": threads})
    for name, path in tables.items():
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{path}')")
    return lambda sql: connection.sql(sql).to_arrow_table(), version("duckdb")


def datafusion(tables, threads):
    from datafusion import SessionConfig, SessionContext

    context = SessionContext(SessionConfig().with_target_partitions(threads))
    for name, path in tables.items():
        context.register_parquet(name, path)
    return lambda sql: context.sql(sql).to_arrow_table(), version("datafusion")


def ballista(tables, threads):
    """A scheduler and an executor in this process, over TCP on the loopback.

    One executor: a second one wants a port that the first has, and nothing tells it another.
    """
    from ballista import BallistaExecutor, BallistaScheduler, BallistaSessionContext

    port = free_port()
    BallistaScheduler("127.0.0.1", port).start()
    BallistaExecutor(free_port(), "127.0.0.1", "127.0.0.1", port, threads).start()
    settings = {"datafusion.execution.target_partitions": str(threads)}
    context = BallistaSessionContext(f"df://127.0.0.1:{port}", cluster_config=settings)
    for name, path in tables.items():
        context.register_parquet(name, path)

    def ask(sql):
        return pyarrow.Table.from_batches(context.sql(sql).collect())

    return ask, version("ballista")


def sail(tables, threads):
    return connect_sail(tables, {"SAIL_MODE": "local"}, threads)


def sail_cluster(tables, threads):
    """Its local cluster: a driver and two workers, threads of this process that speak over TCP."""
    settings = {
        "SAIL_MODE": "local-cluster",
        "SAIL_CLUSTER__WORKER_INITIAL_COUNT": "2",
        "SAIL_CLUSTER__WORKER_MAX_COUNT": "2",
    }
    return connect_sail(tables, settings, threads)


def connect_sail(tables, settings, threads):
    os.environ.setdefault("RUST_LOG", "error")
    os.environ.update(settings, SAIL_EXECUTION__DEFAULT_PARALLELISM=str(threads))
    from pysail.spark import SparkConnectServer
    from pyspark.sql import SparkSession

    server = SparkConnectServer()
    server.start()
    _, port = server.listening_address
    session = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
    ask = read_parquet(session, tables)
    # Held by the closure: the server ends with its object.
    return lambda sql, _server=server: ask(sql), version("pysail")


def spark(tables, threads):
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{threads}]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.memory", SPARK_HEAP)
    builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    session = builder.config("spark.sql.shuffle.partitions", str(threads)).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return read_parquet(session, tables), version("pyspark")


def read_parquet(session, tables):
    for name, path in tables.items():
        session.read.parquet(path).createOrReplaceTempView(name)
    return lambda sql: session.sql(sql).toArrow()


def free_port():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


ENGINES = {
    "duckdb": duckdb,
    "datafusion": datafusion,
    "sail": sail,
    "sail_cluster": sail_cluster,
    "ballista": ballista,
    "spark": spark,
}
