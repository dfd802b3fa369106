"""The process in which Spark runs: takes one job after the other from run.py, each in a context of its own.

A line of JSON on standard input is a request, a line on the descriptor that is the first argument an
answer; Java writes what it likes to the other two. One JVM serves many contexts, since it takes longest to start.
"""

import json
import os
import sys
import time
import traceback

import jobs

MANAGER = "org.apache.spark.shuffle.celeborn.SparkShuffleManager"


def plain(value):
    """Rows as JSON: what it does not know goes as text."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if isinstance(value, (int, str, type(None))) else str(value)


def manager_of(spark):
    return spark._jvm.org.apache.spark.SparkEnv.get().shuffleManager()


def epochs(spark):
    """The highest epoch of any partition that the driver's manager knows: over 0 after a split or revive."""
    latest = manager_of(spark).getLifecycleManager().latestPartitionLocation()
    highest = 0
    for of_shuffle in latest.values():
        for location in of_shuffle.values():
            highest = max(highest, location.getEpoch())
    return highest


def reruns(spark):
    """How many stages were tried more than once."""
    tracker, count = spark.sparkContext.statusTracker(), 0
    for job in tracker.getJobIdsForGroup(None):
        info = tracker.getJobInfo(job)
        for stage in info.stageIds if info else ():
            of_stage = tracker.getStageInfo(stage)
            count += 1 if of_stage and of_stage.currentAttemptId > 0 else 0
    return count


class Driver:
    def __init__(self, answers):
        self.answers = answers

    def say(self, **what):
        self.answers.write(json.dumps(what) + "\n")
        self.answers.flush()

    def ask(self, action):
        """Has the runner do something to the servers, and waits until it is done."""
        self.say(do=action)
        if not sys.stdin.readline():
            sys.exit("the runner has gone")

    def run(self, request):
        from pyspark.sql import SparkSession

        builder = SparkSession.builder.master(request["master"]).appName(request["app"])
        for key, value in request["conf"].items():
            builder = builder.config(key, value)
        spark = builder.getOrCreate()
        try:
            spark.sparkContext.setLogLevel("WARN")
            began = time.monotonic()
            found = plain(getattr(jobs, request["job"])(spark, self.ask, **request["args"]))
            facts = {"seconds": time.monotonic() - began}
            celeborn = manager_of(spark).getClass().getName() == MANAGER
            if celeborn != (request["conf"].get("spark.shuffle.manager") == MANAGER):
                raise AssertionError(f"the shuffle manager is {manager_of(spark).getClass().getName()}")
            if celeborn:
                facts["epochs"], facts["reruns"] = epochs(spark), reruns(spark)
            if isinstance(found, dict):
                facts["plan"], found = found["plan"], found["rows"]
            return {"rows": found, **facts}
        finally:
            spark.stop()
            # The next context is another application, and must not get this one's client.
            if request["conf"].get("spark.shuffle.manager") == MANAGER:
                spark._jvm.org.apache.celeborn.client.ShuffleClient.reset()

    def serve(self):
        from pyspark import SparkContext

        # The JVM is started without settings: those of a first context would be in its command line, and so in all others.
        SparkContext._ensure_initialized()
        for line in sys.stdin:
            try:
                self.say(**self.run(json.loads(line)))
            except Exception:  # each is the answer of its case
                self.say(error=traceback.format_exc(limit=3))


if __name__ == "__main__":
    Driver(os.fdopen(int(sys.argv[1]), "w")).serve()
