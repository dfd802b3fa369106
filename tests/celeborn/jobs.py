"""The jobs, each a function of a Spark session that gives rows or figures which no shuffle may change.

Runs in the process of driver.py, on the Spark line under test, and needs nothing but pyspark. Numbers are
whole or decimal, never floating: their sums must not depend on the order of rows. `ask` is a way to have
something done to the servers in the middle of a job; it returns once that is done.
"""

import gc
import time
from pathlib import Path

TABLES = "customer lineitem nation orders part partsupp region supplier".split()


def summary(frame):
    """One row for many: how many, and the sum of their hashes, which no order and no batch changes."""
    return frame.selectExpr("xxhash64(*) h").selectExpr("count(*)", "cast(sum(cast(h as decimal(38,0))) as string)").collect()


def payload(spark, rows, width=64, slices=4):
    """Rows that compress badly: `width` characters of hashes each, in steps of 64."""
    text = ", ".join(f"sha2(cast(id * 31 + {n} as string), 256)" for n in range(max(1, width // 64)))
    return spark.range(0, rows, 1, slices).selectExpr("id", f"concat({text}) text")


def group_by(spark, ask, rows=200_000, keys=1_000):
    grouped = spark.range(0, rows, 1, 4).selectExpr(f"id % {keys} k", "id v").groupBy("k")
    return grouped.agg({"v": "sum", "*": "count"}).orderBy("k").collect()


def combine(spark, ask, rows=20_000):
    """Shuffles of Python's own serializer, without SQL."""
    pairs = spark.sparkContext.parallelize(range(rows), 4).map(lambda n: (n % 97, n))
    return sorted(pairs.reduceByKey(lambda a, b: a + b, 5).collect())


def join(spark, ask, rows=50_000):
    left = spark.range(0, rows, 1, 3).selectExpr("id % 9973 k", "id a")
    right = spark.range(0, rows, 1, 4).selectExpr("id * 7 % 9973 k", "id b")
    return summary(left.join(right, "k"))


def repartition(spark, ask, rows=50_000, width=64, parts=16):
    frame = payload(spark, rows, width)
    by_key = summary(frame.repartition(parts, "id"))
    assert by_key == summary(frame), "a repartition changed rows"
    return by_key + summary(frame.repartition(parts))


def bulk(spark, ask, rows, parts, slices=16):
    """Rows of 148 bytes in a shuffle, which do not compress and cost little to make. Nothing else is shuffled:
    each task that writes a shuffle waits for its client, also if that is of one row."""
    from pyspark.sql import Observation, functions

    columns = [f"xxhash64(id, {n}) c{n}" for n in range(16)]
    frame = spark.range(0, rows, 1, slices).selectExpr("id", *columns).repartition(parts, "id")
    seen = Observation("rows")
    hashed = frame.selectExpr("xxhash64(*) h")
    observed = hashed.observe(seen, functions.expr("count(*) n"), functions.expr("sum(cast(h as decimal(38,0))) s"))
    observed.write.format("noop").mode("overwrite").save()
    return [[seen.get["n"], str(seen.get["s"])]]


def sort(spark, ask, rows=60_000):
    """The order itself, not only the rows."""
    frame = spark.range(0, rows, 1, 4).selectExpr("xxhash64(id) h", "id").orderBy("h")
    found = frame.collect()
    assert all(a.h <= b.h for a, b in zip(found, found[1:])), "rows are out of order"
    return found


def empty(spark, ask):
    """More partitions than keys, and a shuffle into which nobody writes."""
    few = spark.range(0, 1_000, 1, 4).selectExpr("id % 3 k", "id").repartition(100, "k")
    none = spark.range(0, 1_000, 1, 4).where("id < 0").repartition(20, "id")
    return few.groupBy("k").count().orderBy("k").collect() + [[none.count()]]


def many_partitions(spark, ask, rows=40_000, parts=2_000):
    return summary(payload(spark, rows).repartition(parts, "id"))


def tpch(spark, ask, data, queries, texts):
    """Queries over parquet files, each with its number before its rows."""
    for table in TABLES:
        spark.read.parquet(str(Path(data) / f"{table}.parquet")).createOrReplaceTempView(table)
    found = []
    for number in queries:
        text = (Path(texts) / f"q{number:02}.sql").read_text()
        found.append([f"q{number:02}"])
        # Ties may come in any order; that the order is right is what `sort` is for.
        found += sorted(([str(value) for value in row] for row in spark.sql(text).collect()))
    return found


def skew_join(spark, ask, rows=300_000):
    """A key with most of the rows: AQE cuts its partition by ranges of maps."""
    wide = "sha2(cast(id as string), 256) text"
    left = spark.range(0, rows, 1, 6).selectExpr("if(id % 20 > 0, 1, id % 50) k", "id", wide)
    right = spark.range(0, 100, 1, 2).selectExpr("id % 50 k", "id b")
    joined = left.join(right, "k")
    found = summary(joined.groupBy("k", "b").agg({"id": "sum", "text": "max"}))
    joined.selectExpr("max(text)").collect()
    return found


def skew_plan(spark, ask, rows=300_000):
    """As skew_join; gives the plan that was run, too."""
    wide = "sha2(cast(id as string), 256) text"
    left = spark.range(0, rows, 1, 6).selectExpr("if(id % 20 > 0, 1, id % 50) k", "id", wide)
    right = spark.range(0, 100, 1, 2).selectExpr("id % 50 k", "id b")
    return planned(left.join(right, "k").selectExpr("k", "id", "b", "text"))


def local_reader(spark, ask, rows=100_000):
    """A join that turns into a broadcast at run time: its big side reads its own maps' rows."""
    left = spark.range(0, rows, 1, 5).selectExpr("id % 1000 k", "id a")
    right = spark.range(0, 100_000, 1, 4).selectExpr("id k", "id b").where("b % 9973 = 5")
    return planned(left.join(right, "k"))


def planned(frame):
    """Counts rows by a query whose plan, as it was in the end, is kept for the case's `plan`."""
    counted = frame.selectExpr("xxhash64(*) h").selectExpr("count(*)", "cast(sum(cast(h as decimal(38,0))) as string)")
    rows = counted.collect()
    spark_plan = counted._jdf.queryExecution().executedPlan().toString()
    return {"rows": rows, "plan": spark_plan}


def twice(spark, ask, action, rows=40_000, width=64):
    """Reads the same shuffle again after something was done to its servers."""
    frame = payload(spark, rows, width, 6).repartition(8, "id")
    shuffled = frame.rdd
    first = shuffled.map(lambda row: (row.id * 31 + len(row.text)) % 1_000_003).sum()
    ask(action)
    second = shuffled.map(lambda row: (row.id * 31 + len(row.text)) % 1_000_003).sum()
    assert first == second, f"{first} rows' sum before, {second} after"
    return [[first]]


def loop(spark, ask, seconds, rows=120_000):
    """One shuffle after the other for so long; each round must give what the first gave."""
    end, first = time.monotonic() + seconds, None
    while first is None or time.monotonic() < end:
        found = summary(payload(spark, rows).repartition(12, "id")) + group_by(spark, ask) + join(spark, ask)
        first = first or found
        assert found == first, "a round gave other rows than the first"
    return first


def half_written(spark, ask, rows=20_000):
    """A map task that writes half of its rows and then fails: only those of its next attempt count."""

    def once(index, items):
        from pyspark import TaskContext

        for n, item in enumerate(items):
            if index == 0 and n == rows // 16 and TaskContext.get().attemptNumber() == 0:
                raise RuntimeError("the first attempt ends here")
            yield item % 97, "x" * 900, item

    frame = spark.sparkContext.parallelize(range(rows), 8).mapPartitionsWithIndex(once).toDF(["k", "text", "n"])
    return frame.repartition(4, "k").groupBy("k").agg({"n": "sum", "text": "max", "*": "count"}).orderBy("k").collect()


def slow_task(spark, ask, seconds, rows=20_000):
    """A map task whose first attempt writes some rows and then sleeps: another one must take its place."""

    def once(index, items):
        from pyspark import TaskContext

        for n, item in enumerate(items):
            if index == 0 and n == rows // 16 and TaskContext.get().attemptNumber() == 0:
                time.sleep(seconds)
            yield item % 97, "x" * 900, item

    frame = spark.sparkContext.parallelize(range(rows), 8).mapPartitionsWithIndex(once).toDF(["k", "text", "n"])
    # Without looking at rows first: that would run the slow task, too.
    return frame.repartition(4, "k").groupBy("k").agg({"n": "sum", "text": "max", "*": "count"}).orderBy("k").collect()


def reused(spark, ask, rows=60_000):
    """A shuffle that two sides of a join read, the second after the first was dropped, with collection of garbage between."""
    grouped = spark.range(0, rows, 1, 4).selectExpr("id % 997 k", "id v").groupBy("k").agg({"v": "sum"})
    grouped = grouped.withColumnRenamed("sum(v)", "s")
    found = summary(grouped.join(grouped.selectExpr("k", "s + 1 t"), "k"))
    shuffled = payload(spark, rows).repartition(8, "id")
    first = summary(shuffled)
    forget(spark, ask)
    return found + first + summary(shuffled.union(shuffled)) + summary(shuffled)


def dies(spark, ask):
    """Writes a shuffle, then has its own process killed."""
    shuffled = payload(spark, 20_000).repartition(8, "id").rdd
    shuffled.count()
    ask("die")


def forget(spark, ask):
    """A shuffle that Spark drops: the driver unregisters it some seconds later."""
    spark.range(0, 100, 1, 2).selectExpr("id % 3 k").groupBy("k").count().collect()
    for _ in range(4):
        gc.collect()
        spark._jvm.System.gc()
        time.sleep(1.5)
