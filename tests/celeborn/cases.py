"""The table of cases: what is run with which settings, and what must have happened.

Read by run.py. A name says what is special; what is not set is a plain job: three workers, one copy, LZ4,
the hash writer, no adaptive execution, local mode.
"""

from dataclasses import dataclass, field

from certificates import PASSWORD

# The settings of Celeborn by which cases differ most.
CODEC = "spark.celeborn.client.shuffle.compression.codec"
WRITER = "spark.celeborn.client.spark.shuffle.writer"
COPIES = "spark.celeborn.client.push.replicate.enabled"
SPLIT = "spark.celeborn.client.shuffle.partitionSplit"
AQE = "spark.sql.adaptive.enabled"
PARTITIONS = "spark.sql.shuffle.partitions"

NONE, ZSTD, SORT, TWO = {CODEC: "NONE"}, {CODEC: "ZSTD"}, {WRITER: "SORT"}, {COPIES: "true"}
ADAPTIVE = {AQE: "true"}
# Its name since 0.6, and the one before.
RERUN = {f"spark.celeborn.client.spark.{name}": "true" for name in ("stageRerun.enabled", "fetch.throwsFetchFailure")}
# Small enough that a few megabytes are many splits; the client's smallest push buffer still is one batch.
SOFT = {**NONE, f"{SPLIT}.threshold": "1m", f"{SPLIT}.mode": "SOFT"}
HARD = {**NONE, f"{SPLIT}.threshold": "1m", f"{SPLIT}.mode": "HARD"}
# A partition with most of the rows is cut into ranges of maps, and no side is broadcast.
SKEW = {
    **ADAPTIVE,
    "spark.sql.autoBroadcastJoinThreshold": "-1",
    "spark.sql.adaptive.skewJoin.enabled": "true",
    "spark.sql.adaptive.skewJoin.skewedPartitionFactor": "2",
    "spark.sql.adaptive.skewJoin.skewedPartitionThresholdInBytes": "128k",
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": "512k",
}
LOCAL = {
    **ADAPTIVE,
    "spark.sql.adaptive.localShuffleReader.enabled": "true",
    "spark.sql.adaptive.autoBroadcastJoinThreshold": "1m",
    "spark.sql.autoBroadcastJoinThreshold": "-1",
}
MERGE = {"spark.sql.autoBroadcastJoinThreshold": "-1"}
# A reader gives up a place after seconds, not after a minute.
IMPATIENT = {"spark.celeborn.data.io.retryWait": "500ms", "spark.celeborn.data.io.maxRetries": "2"}
# Of clients and of servers. The runner makes the files, and says where they are.
AUTH = {"spark.celeborn.auth.enabled": "true"}
ASKS = {"celeborn.auth.enabled": "true", "celeborn.internal.port.enabled": "true"}
CERTIFICATES = "{certificates}"
BELIEVES = {"trustStore": f"{CERTIFICATES}/authority.p12", "trustStorePassword": PASSWORD}
SHOWS = {"keyStore": f"{CERTIFICATES}/process.p12", "keyStorePassword": PASSWORD}
# A driver is a server, too, of its executors.
TLS = {
    f"spark.celeborn.ssl.{part}.{name}": value
    for part, more in (("rpc_app", SHOWS), ("rpc_service", {}), ("data", {}))
    for name, value in {"enabled": "true", **BELIEVES, **more}.items()
}
SECURED = {f"celeborn.ssl.{name}": value for name, value in {"enabled": "true", **BELIEVES, **SHOWS}.items()}
BIG = {"rows": 90_000, "width": 512, "parts": 3}


@dataclass(frozen=True)
class Case:
    name: str
    job: str
    conf: dict = field(default_factory=dict)
    args: dict = field(default_factory=dict)
    workers: int = 3
    master: str = "local[2,4]"
    # In the set that is run with every test.
    short: bool = False
    # What the servers must let be done to them.
    needs: frozenset = frozenset()
    # What must be seen, or the case has not tested what it says: a split or revive, a stage run again, words of the plan.
    split: bool = False
    rerun: bool = False
    plan: str = ""
    # Seconds that the job may take, where that is what shows it.
    within: int = 0
    # Whether servers of this case are its own, since it leaves them damaged.
    spoils: bool = False
    # Settings of the servers, for those that are started here.
    servers: dict = field(default_factory=dict)
    # Seconds.
    bound: int = 120
    # Faults that come at random while the job runs, by name.
    faults: tuple = ()
    # Must fail, and soon: who does not fit in is not let in. What Dunlin says then is in the driver's log.
    fails: str = ""
    # Gives what the processes leave behind time to be found out.
    forgotten: bool = False


def short_cases():
    def case(name, job, *confs, **more):
        return Case(name, job, {key: value for conf in confs for key, value in conf.items()}, short=True, **more)

    return [
        case("group-by", "group_by"),
        case("group-by-adaptive", "group_by", ADAPTIVE),
        case("combine", "combine"),
        case("join", "join", MERGE),
        case("join-adaptive-zstd", "join", MERGE, ADAPTIVE, ZSTD),
        case("repartition", "repartition"),
        case("repartition-sort-writer", "repartition", SORT),
        case("repartition-uncompressed", "repartition", NONE),
        case("repartition-two-copies", "repartition", TWO),
        case("sort", "sort"),
        case("empty", "empty"),
        # A minute: in each of its 2,000 tasks the client waits for threads and timers of its own, whatever the servers.
        case("many-partitions", "many_partitions", bound=400),
        case("split-soft", "repartition", SOFT, args=BIG, split=True),
        case("split-hard", "repartition", HARD, args=BIG, split=True),
        case("revive", "repartition", {"spark.celeborn.test.client.retryRevive": "true"}, split=True),
        case("skew-join", "skew_plan", SKEW, plan="skewed"),
        case("local-reader", "local_reader", LOCAL, plan="AQEShuffleRead local"),
        case("stage-rerun", "repartition", {"spark.celeborn.test.client.mockShuffleLost": "true", **RERUN}, rerun=True),
        case("attempt-dies", "half_written"),
        case("tpch", "tpch", ADAPTIVE, args={"scale": "0.01", "queries": [3, 9, 18, 21]}),
        case("auth", "repartition", AUTH, servers=ASKS),
        case("auth-two-copies", "repartition", AUTH, TWO, servers=ASKS),
        # A client of 0.7 keeps the server's text to itself.
        case("auth-missing", "repartition", servers=ASKS, fails="org.apache.celeborn"),
        case("auth-unasked", "repartition", AUTH, fails="this server does not ask clients which application they are"),
        case("tls-two-copies", "repartition", TLS, TWO, servers=SECURED),
        case("auth-tls-two-copies", "repartition", AUTH, TLS, TWO, servers={**ASKS, **SECURED}),
    ]


def matrix():
    """Each codec, writer, number of copies and way of planning with each other, on the jobs that differ by them."""
    for codec in ("LZ4", "ZSTD", "NONE"):
        for writer in ("HASH", "SORT"):
            for copies in ("false", "true"):
                for adaptive in ("false", "true"):
                    conf = {CODEC: codec, WRITER: writer, COPIES: copies, AQE: adaptive, **MERGE}
                    kind = f"{codec}-{writer}-{'two' if copies == 'true' else 'one'}-{'aqe' if adaptive == 'true' else 'plain'}".lower()
                    for job in ("join", "repartition", "sort"):
                        yield Case(f"{job}-{kind}", job, conf)


def long_cases():
    every = list(range(1, 23))
    tpch = {"scale": "1", "queries": every}
    yield Case("one-worker", "join", MERGE, workers=1)
    yield Case("one-worker-tpch", "tpch", ADAPTIVE, {"scale": "0.01", "queries": every}, workers=1, bound=240)
    yield Case("two-workers-two-copies", "repartition", {**TWO, **ZSTD}, workers=2)
    yield Case("split-soft-two-copies", "repartition", {**SOFT, **TWO}, BIG, split=True)
    yield Case("split-hard-two-copies", "repartition", {**HARD, **TWO}, BIG, split=True)
    yield Case("split-hard-sort-writer", "repartition", {**HARD, **SORT}, BIG, split=True)
    yield Case("split-soft-skew", "skew_plan", {**SKEW, **SOFT}, plan="skewed", split=True)
    yield Case("revive-two-copies", "repartition", {**TWO, "spark.celeborn.test.client.retryRevive": "true"}, split=True)
    yield Case("skew-join-two-copies", "skew_plan", {**SKEW, **TWO, **SORT}, plan="skewed")
    yield Case("skew-join-aggregated", "skew_join", SKEW)
    yield Case("local-reader-two-copies", "local_reader", {**LOCAL, **TWO}, plan="AQEShuffleRead local")
    yield Case("integrity-check", "join", {**MERGE, "spark.celeborn.client.shuffle.integrityCheck.enabled": "true"})
    yield Case("range-filter", "skew_plan", {**SKEW, "spark.celeborn.client.shuffle.rangeReadFilter.enabled": "true"}, plan="skewed")
    # The fourth chunk fails at first: chunks are of 8 MiB, so the one partition must have more than four.
    whole = {"rows": 90_000, "width": 512, "parts": 1}
    failing = {**NONE, **IMPATIENT, "spark.celeborn.test.client.fetchFailure": "true"}
    yield Case("fetch-retried", "repartition", failing, whole)
    yield Case("fetch-retried-two-copies", "repartition", {**failing, **TWO}, whole)
    apart = {**MERGE, **ADAPTIVE, **AUTH, **TLS, **TWO}
    yield Case("auth-tls-executors-apart", "join", apart, master="local-cluster[2,1,640]", servers={**ASKS, **SECURED}, bound=180)
    dies = {**IMPATIENT, **AUTH}
    yield Case("auth-master-dies", "twice", dies, {"action": "kill-master"}, needs=frozenset({"kill-master"}), servers=ASKS, spoils=True)
    yield Case("executors-apart", "join", {**MERGE, **ADAPTIVE}, master="local-cluster[2,1,640]", bound=180)
    yield Case("tpch-adaptive", "tpch", ADAPTIVE, tpch, bound=600)
    yield Case("tpch-plain-zstd-two-copies", "tpch", {**ZSTD, **TWO}, tpch, bound=600)
    yield Case("tpch-sort-writer", "tpch", {**SORT, PARTITIONS: "200", **ADAPTIVE}, tpch, bound=900)
    lost = {**RERUN, **IMPATIENT}
    yield Case("files-lost", "twice", lost, {"action": "lose-files"}, needs=frozenset({"lose-files"}), rerun=True, bound=240)
    killed = {**TWO, **IMPATIENT}
    yield Case("worker-dies-two-copies", "twice", killed, {"action": "kill-worker"}, needs=frozenset({"kill-worker"}), spoils=True, bound=240)
    yield Case("worker-dies", "twice", lost, {"action": "kill-worker"}, needs=frozenset({"kill-worker"}), rerun=True, spoils=True, bound=240)
    turned = {"action": "restart-workers"}
    yield Case("workers-restart", "twice", IMPATIENT, turned, needs=frozenset({"restart-workers"}), bound=240)
    yield Case("workers-restart-two-copies", "twice", killed, turned, needs=frozenset({"restart-workers"}), bound=240)
    yield Case("master-dies", "twice", IMPATIENT, {"action": "kill-master"}, needs=frozenset({"kill-master"}), spoils=True)
    # The first attempt of a task sleeps for a minute; who waits for it has not speculated.
    speculation = {f"spark.speculation{name}": value for name, value in (("", "true"), (".interval", "200ms"), (".quantile", "0.5"))}
    slow = {"seconds": 60}
    for name, conf in (("speculation", {}), ("speculation-sort-writer", SORT), ("speculation-two-copies", TWO)):
        yield Case(name, "slow_task", {**speculation, **conf}, slow, master="standalone", within=50, bound=180)
    yield Case("reused-exchange", "reused", MERGE)
    yield Case("reused-exchange-adaptive", "reused", {**MERGE, **ADAPTIVE})
    yield from fault_cases(lost, killed)
    yield Case(
        "application-dies",
        "dies",
        servers={"celeborn.master.heartbeat.application.timeout": "20s", "celeborn.master.heartbeat.worker.timeout": "40s"},
        spoils=True,
        forgotten=True,
        bound=240,
    )


def fault_cases(lost, killed):
    """What only Dunlin's servers can be put through; the loops last long enough for each fault to come."""
    three = {"dunlin.etcd": 3}
    gone = {"action": "decommission"}
    yield Case("worker-decommissioned", "twice", lost, gone, needs=frozenset({"decommission"}), spoils=True, bound=240)
    little = {"dunlin.config": 'shuffle-memory = "64MiB"\n', "dunlin.disk": "24m"}
    full = {"rows": 400_000, "width": 512}
    for name, conf in (("disk-full", lost), ("disk-full-two-copies", killed)):
        yield Case(name, "repartition", {**NONE, **conf}, full, servers=little, needs=frozenset({"little-disk"}), split=True, spoils=True, bound=300)
    # Committed data of more than memory are on disk; a part of every partition's is damaged there.
    tiny = {"dunlin.config": 'shuffle-memory = "32MiB"\n[shuffle]\nmemory-mark = 10\n'}
    damaged = {"action": "corrupt-blocks", "rows": 300_000, "width": 512}
    for name, conf, rerun in (("blocks-corrupt", lost, True), ("blocks-corrupt-two-copies", killed, False)):
        yield Case(name, "twice", {**NONE, **conf}, damaged, servers=tiny, needs=frozenset({"corrupt-blocks"}), rerun=rerun, spoils=True, bound=300)
    # A client shuns for minutes whom it failed to reach once; of four workers, one is away at any time.
    patient = {"spark.stage.maxConsecutiveAttempts": "20", "spark.celeborn.client.excludedWorker.expireTimeout": "10s"}
    every = ("crash-worker", "crash-master", "crash-etcd-leader", "stall-worker", "restart-worker")
    for name, conf in (("faults-one-copy", lost), ("faults-two-copies", {**lost, **TWO})):
        yield Case(name, "loop", {**conf, **patient}, {"seconds": 90}, workers=4, master="local[2,8]", servers=three, faults=every, needs=frozenset(every), spoils=True, bound=400)


def all_cases():
    """The short ones first; then by their servers, so that these are started seldom."""
    rest = sorted([*matrix(), *long_cases()], key=lambda case: (case.spoils, -case.workers))
    return short_cases() + rest
