//! The command line as types; read by `commands`. Options that are also configuration keys are
//! optional here: one that was not given leaves the key as file and environment have it.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use dunlin_base::ByteCount;
use serde::{Deserialize, Serialize};

/// What `--version` prints after the version.
pub(crate) fn long_version() -> String {
    format!(
        "{}\ndatafusion {}\nplan format {}\ntarget {}-{}{}",
        env!("CARGO_PKG_VERSION"),
        dunlin_planner::DATAFUSION_VERSION,
        dunlin_planner::CODEC_VERSION,
        std::env::consts::ARCH,
        std::env::consts::OS,
        if cfg!(debug_assertions) { "\nunoptimised build" } else { "" },
    )
}

const EXAMPLES: &str = "\
Examples:
  dunlin sql --data ./lake                       a prompt on the files of a folder
  dunlin sql --data ./lake -c 'SELECT count(*) FROM orders'
  dunlin sql -f report.sql --format parquet --output report.parquet
  dunlin queries --state ./state                 what ran before
  dunlin config dump                             the settings and where they come from";

const SQL_EXAMPLES: &str = "\
Examples:
  dunlin sql --data ./lake
  dunlin sql --data ./lake -c 'SELECT * FROM orders LIMIT 5' --format csv > orders.csv
  dunlin sql --data ./lake -f report.sql --set partitions=16 --timing
  echo 'SELECT 1;' | dunlin sql

Exit codes: 0 done, 1 the query is wrong, 2 the command line or the configuration is wrong,
3 a limit is used up, 4 something is unavailable, 5 data lost or a bug, 130 Ctrl-C.";

const SERVE_EXAMPLES: &str = "\
Examples:
  dunlin serve --metadata etcd://127.0.0.1:2379 --blobs ./blobs --data ./lake
  dunlin serve --roles executor --metadata etcd://etcd:2379 --blobs s3://bucket/dunlin \\
      --listen 0.0.0.0 --advertise $(hostname) --tls-cert me.pem --tls-key me.key --tls-ca ca.pem

More settings of the shuffle role are in the section [shuffle] of the configuration: see
`dunlin config dump`.

SIGTERM drains: running work ends, nothing new begins. A second signal ends it at once.";

const SHUFFLE_EXAMPLES: &str = "\
Examples:
  dunlin shuffle ls --metadata etcd://127.0.0.1:2379
  dunlin shuffle disks --json
  dunlin shuffle show 01jdq...                   stages, partitions, bytes, tiers
  dunlin shuffle drain 10.0.0.21:8817            later: --undo";

const CLUSTER_EXAMPLES: &str = "\
Examples:
  dunlin cluster --data ./lake
  dunlin cluster --executors 4 --data ./lake -- --threads 1 --lease-ttl 2s
  dunlin sql --connect 127.0.0.1:8815

It needs the program etcd (Debian: etcd-server). Ctrl-C ends all processes.";

/// SQL over files and object stores, without a coordinator.
#[derive(Debug, Parser)]
#[command(name = "dunlin", version, long_version = long_version(), after_help = EXAMPLES)]
#[command(arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of all commands.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// Configuration file [default: ./dunlin.toml if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "DUNLIN_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or a filter such as `warn,dunlin_queue=debug`
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log_level: Option<String>,
    /// How to write logs
    #[arg(long, global = true)]
    pub(crate) log_format: Option<LogFormat>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run SQL: from options, a file, standard input or a prompt
    #[command(after_help = SQL_EXAMPLES)]
    Sql(Box<Sql>),
    /// Serve some of the roles to other processes, until told to end
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<Serve>),
    /// Run etcd and processes of each role on this machine, for trying and for tests
    #[command(after_help = CLUSTER_EXAMPLES)]
    Cluster(Cluster),
    /// Say who may come in at the gateways of a cluster
    Users(Users),
    /// List running and recent queries of a state folder
    Queries(Queries),
    /// Look at the shuffle workers of a cluster, and have one leave
    #[command(after_help = SHUFFLE_EXAMPLES)]
    Shuffle(Shuffle),
    /// Show or check the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// `dunlin sql`.
#[derive(Args, Debug)]
pub(crate) struct Sql {
    /// SQL to run; may be given several times
    #[arg(short = 'c', long = "command", value_name = "TEXT")]
    pub(crate) commands: Vec<String>,
    /// File with SQL to run, after all -c; `-` is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Ask the gateways of a cluster, not an engine of this process: HOST:PORT,...
    #[arg(long, env = "DUNLIN_CONNECT", value_name = "ADDRESSES", value_delimiter = ',')]
    pub(crate) connect: Vec<String>,
    /// As whom to connect; the password is asked of $DUNLIN_PASSWORD
    #[arg(long, env = "DUNLIN_USER", value_name = "NAME", requires = "connect")]
    pub(crate) user: Option<String>,
    /// The authority that signed the gateways' certificate (PEM): connect with TLS
    #[arg(long, env = "DUNLIN_TLS_CA", value_name = "FILE", requires = "connect")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Session setting, as SET would change it; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) settings: Vec<(String, String)>,
    /// Write the rows to this file; an error leaves none
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) display: DisplayArgs,
}

/// Options about the process.
#[derive(Args, Debug, Default)]
pub(crate) struct EngineArgs {
    /// Make a table of every file and folder in this folder, named by its stem
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Keep catalog, queries and history in this folder [default: nothing is kept]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// A place that statements may open beside the data, such as /srv/lake, s3://bucket/prefix or
    /// the endpoint https://minio:9000; may be given several times [default: `sql` all, `serve` none]
    #[arg(long, value_name = "PLACE")]
    pub(crate) allow: Vec<String>,
    /// CPU threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) threads: Option<u32>,
    /// Memory of one executor, such as 2GiB
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) memory: Option<ByteCount>,
    /// Executors in this process
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) executors: Option<u32>,
    /// A process that is silent for so long counts as dead, such as 10s
    #[arg(long, value_name = "TIME")]
    pub(crate) lease_ttl: Option<String>,
}

/// Options about what is printed.
#[derive(Args, Debug, Default)]
pub(crate) struct DisplayArgs {
    /// How to write rows
    #[arg(long)]
    pub(crate) format: Option<Format>,
    /// Say how long each statement took
    #[arg(long)]
    pub(crate) timing: bool,
    /// When to show how far a query is
    #[arg(long, value_name = "WHEN")]
    pub(crate) progress: Option<When>,
    /// Rows of a table that are shown on a terminal; 0 shows all
    #[arg(long, value_name = "N")]
    pub(crate) max_rows: Option<u32>,
}

/// `dunlin serve`.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// The roles of this process
    #[arg(long, value_delimiter = ',', default_value = "gateway,executor,shuffle")]
    #[arg(env = "DUNLIN_ROLES", value_name = "ROLE,...")]
    pub(crate) roles: Vec<RoleName>,
    /// Metadata store: etcd://host:2379,host:2379/prefix, or a folder for one process alone
    #[arg(long, env = "DUNLIN_METADATA", value_name = "URL")]
    pub(crate) metadata: String,
    /// Blobs: a URL of an object store, or a folder that all processes see. Only for queries: Celeborn's
    /// roles need none
    #[arg(
        long,
        env = "DUNLIN_BLOBS",
        value_name = "URL",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) blobs: String,
    /// Folder for spilled and shuffled data [default: a temporary one]
    #[arg(long, env = "DUNLIN_SCRATCH", value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    /// Address or name to listen on
    #[arg(long, env = "DUNLIN_LISTEN", value_name = "HOST", default_value = "127.0.0.1")]
    pub(crate) listen: String,
    /// Address or name by which other processes reach this one [default: that of --listen]
    #[arg(long, env = "DUNLIN_ADVERTISE", value_name = "HOST")]
    pub(crate) advertise: Option<String>,
    /// Port for Flight SQL; 0 is any free one
    #[arg(long, env = "DUNLIN_FLIGHT_PORT", value_name = "PORT", default_value_t = 8815)]
    pub(crate) flight_port: u16,
    /// Port for shuffle data; 0 is any free one
    #[arg(long, env = "DUNLIN_SHUFFLE_PORT", value_name = "PORT", default_value_t = 0)]
    pub(crate) shuffle_port: u16,
    /// Port for drivers of Celeborn's clients, in `spark.celeborn.master.endpoints`; 0 is any free one
    #[arg(long, env = "DUNLIN_CELEBORN_PORT", value_name = "PORT", default_value_t = 9097)]
    pub(crate) celeborn_port: u16,
    /// How a master deals partitions out: the same number to each worker, or by the room that they have
    #[arg(
        long,
        env = "DUNLIN_CELEBORN_SLOTS",
        value_name = "POLICY",
        default_value = "round-robin"
    )]
    pub(crate) celeborn_slots: SlotsName,
    /// Words by which applications of Celeborn's clients choose this worker (`celeborn.tags.tagsExpr`)
    #[arg(long, env = "DUNLIN_CELEBORN_TAGS", value_name = "TAG,...", value_delimiter = ',')]
    pub(crate) celeborn_tags: Vec<String>,
    /// Seconds after its last heartbeat until an application of Celeborn's clients counts as dead, at all
    /// masters alike
    #[arg(
        long,
        env = "DUNLIN_CELEBORN_APPLICATION_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = 300
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(10..=86_400))]
    pub(crate) celeborn_application_timeout: u32,
    /// Ports of a worker for Celeborn's clients: control, pushes, reads, copies. A worker that is to
    /// come back after a restart needs fixed ones
    #[arg(long, env = "DUNLIN_CELEBORN_WORKER_PORTS", value_name = "PORT,PORT,PORT,PORT")]
    #[arg(value_parser = four_ports)]
    pub(crate) celeborn_worker_ports: Option<FourPorts>,
    /// Celeborn's clients have to prove which application they are (spark.celeborn.auth.enabled), at all
    /// masters and workers alike. Beyond one machine it takes TLS
    #[arg(long, env = "DUNLIN_CELEBORN_AUTH")]
    pub(crate) celeborn_auth: bool,
    /// Where this machine stands, such as /rack7: second copies go to another rack if a client asks
    #[arg(long, env = "DUNLIN_RACK", value_name = "/RACK", default_value = "/default-rack")]
    pub(crate) rack: String,
    /// Reach shuffle workers of this machine by TCP, as all others, not by sockets in their folders
    #[arg(long, env = "DUNLIN_TCP_ONLY")]
    pub(crate) tcp_only: bool,
    /// Port for /livez, /readyz, /metrics and Celeborn's /api/v1; 0 is any free one
    #[arg(long, env = "DUNLIN_ADMIN_PORT", value_name = "PORT", default_value_t = 8816)]
    pub(crate) admin_port: u16,
    /// A file with a secret that whoever changes something by /api/v1 has to know; without it only this
    /// machine may, or anybody with --insecure
    #[arg(long, env = "DUNLIN_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,
    /// Certificate chain of this process (PEM)
    #[arg(long, env = "DUNLIN_TLS_CERT", value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, env = "DUNLIN_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The authority whose certificates are believed (PEM)
    #[arg(long, env = "DUNLIN_TLS_CA", value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Ask for user and password at the Flight SQL door
    #[arg(long, env = "DUNLIN_USERS")]
    pub(crate) users: bool,
    /// Listen beyond this machine without TLS, or without users
    #[arg(long, env = "DUNLIN_INSECURE")]
    pub(crate) insecure: bool,
    /// Seconds that running work has to end once the process is told to
    #[arg(long, env = "DUNLIN_DRAIN_LIMIT", value_name = "SECONDS", default_value_t = 60)]
    pub(crate) drain_limit: u32,
    /// A disk for shuffled data that leave memory, such as /mnt/a:hdd:capacity=200GiB; may be given
    /// several times [default: the scratch folder]
    #[arg(long, value_name = "FOLDER[:ssd|:hdd][:reserve=BYTES][:capacity=BYTES]")]
    pub(crate) shuffle_disk: Vec<String>,
    /// What shuffled data that leave memory are offered to, in this order: disks, objects
    #[arg(long, value_name = "TIER,...", value_delimiter = ',')]
    pub(crate) shuffle_tiers: Vec<String>,
    /// End when standard input ends
    #[arg(long, hide = true)]
    pub(crate) with_parent: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// `dunlin cluster`.
#[derive(Args, Debug)]
pub(crate) struct Cluster {
    /// Gateway processes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) gateways: u32,
    /// Executor processes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=64))]
    pub(crate) executors: u32,
    /// Shuffle processes
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) shuffle: u32,
    /// Port of the first gateway; 0 is any free one
    #[arg(long, value_name = "PORT", default_value_t = 8815)]
    pub(crate) port: u16,
    /// Make a table of every file and folder in this folder, named by its stem
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Keep everything in this folder [default: nothing is kept]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Leave processes down that have ended
    #[arg(long)]
    pub(crate) no_restart: bool,
    /// Seconds until a process that has ended is started again, doubled each time it ends early
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=30))]
    pub(crate) restart_wait: u32,
    /// Further options for each process, such as -- --threads 1
    #[arg(last = true, value_name = "OPTION")]
    pub(crate) process: Vec<String>,
}

/// `dunlin users`.
#[derive(Args, Debug)]
pub(crate) struct Users {
    /// Metadata store of the cluster
    #[arg(long, env = "DUNLIN_METADATA", value_name = "URL", global = true, default_value = "")]
    pub(crate) metadata: String,
    #[command(subcommand)]
    pub(crate) command: UsersCommand,
}

/// What `dunlin users` does.
#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// Make a user, or give it another password: the one in $DUNLIN_PASSWORD
    Set {
        /// Its name
        name: String,
        /// It may do everything; without a password in the environment it keeps the one it has
        #[arg(long, conflicts_with = "no_admin")]
        admin: bool,
        /// It may do what is granted to it, and no more
        #[arg(long)]
        no_admin: bool,
    },
    /// Remove a user and what was granted to it
    Remove {
        /// Its name
        name: String,
    },
    /// List all users, and who is an administrator
    List,
}

/// A role of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    /// Answers clients, plans, publishes queries
    Gateway,
    /// Runs plans
    Executor,
    /// Holds shuffled data
    Shuffle,
    /// Answers drivers of Celeborn's clients
    CelebornMaster,
    /// Holds shuffled data of Celeborn's clients, and others' too
    CelebornWorker,
}

/// How a master deals partitions out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SlotsName {
    /// The same number to each worker
    RoundRobin,
    /// By the room that workers have
    LoadAware,
}

impl RoleName {
    /// Whether it is there for Celeborn's clients.
    pub(crate) fn is_of_celeborn(&self) -> bool {
        matches!(self, Self::CelebornMaster | Self::CelebornWorker)
    }
}

/// `dunlin queries`.
#[derive(Args, Debug)]
pub(crate) struct Queries {
    /// The state folder
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Most queries to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
}

/// `dunlin shuffle`.
#[derive(Args, Debug)]
pub(crate) struct Shuffle {
    /// Metadata store of the cluster
    #[arg(long, env = "DUNLIN_METADATA", value_name = "URL", global = true, default_value = "")]
    pub(crate) metadata: String,
    /// One JSON object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: ShuffleCommand,
}

/// What `dunlin shuffle` does.
#[derive(Debug, Subcommand)]
pub(crate) enum ShuffleCommand {
    /// List the workers, as their cards say some seconds ago
    Ls,
    /// List the disks of all workers
    Disks,
    /// Ask the workers what they hold of a query
    Show {
        /// The query, as `dunlin queries` lists it
        query: String,
    },
    /// Have a worker take nothing more, and end once nobody needs what it holds
    Drain {
        /// Its id, the beginning of it, or its address
        worker: String,
        /// Have it take data again, unless it has ended
        #[arg(long)]
        undo: bool,
        /// Also if no other worker takes data
        #[arg(long, conflicts_with = "undo")]
        force: bool,
    },
}

/// `dunlin config`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the effective configuration as TOML, with the origin of each value
    Dump,
    /// Fail on unknown keys and on values that do not fit
    Check,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    /// A table for people
    #[default]
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON object per line
    Json,
    /// A Parquet file; needs --output
    Parquet,
}

/// When progress is shown.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum When {
    /// On a terminal, for queries that run longer than half a second
    #[default]
    Auto,
    /// Also where standard error is no terminal, as lines
    Always,
    /// Never
    Never,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

fn bytes(text: &str) -> Result<ByteCount, String> {
    let error = |e: dunlin_base::Error| match e.hint() {
        Some(hint) => format!("{e}; {hint}"),
        None => e.to_string(),
    };
    text.parse().map_err(error)
}

/// In the order of a worker's name.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FourPorts(pub(crate) [u16; 4]);

fn four_ports(text: &str) -> Result<FourPorts, String> {
    let ports: Result<Vec<u16>, _> = text.split(',').map(str::parse).collect();
    let ports = ports.ok().and_then(|ports| ports.try_into().ok());
    ports.map(FourPorts).ok_or_else(|| "write four ports, such as 9100,9101,9102,9103".to_owned())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write key=value")?;
    let known = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if key.is_empty() || !key.chars().all(known) {
        return Err(format!("'{key}' is not the name of a setting"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Every environment variable that stands for an option of some command, and the password, which
/// is never an option.
pub(crate) fn variables() -> Vec<String> {
    fn collect(command: &clap::Command, into: &mut Vec<String>) {
        let named = command.get_arguments().filter_map(clap::Arg::get_env);
        into.extend(named.filter_map(|name| name.to_str()).map(str::to_owned));
        command.get_subcommands().for_each(|command| collect(command, into));
    }
    let mut names = vec!["DUNLIN_PASSWORD".to_owned()];
    collect(&Cli::command(), &mut names);
    names
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_are_pairs() {
        assert_eq!(key_value("a.b=c=d"), Ok(("a.b".into(), "c=d".into())));
        assert!(key_value("a").is_err() && key_value("=1").is_err() && key_value("a b=1").is_err());
    }
}
