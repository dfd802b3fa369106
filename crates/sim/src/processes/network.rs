//! Network namespaces: processes with network cards of their own on a bridge, whose packets `nft`
//! drops.
//!
//! What a proxy cannot do: here nobody holds the other end of a connection open, so that the
//! system's own timers and resets are at work. It needs root. All names have the id of this process,
//! and what an earlier one could not remove is removed first.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use dunlin_base::{Env, Error, Result};
use tokio::process::Command;

/// How long a change of the network may take.
const CHANGE_MAX: Duration = Duration::from_secs(10);

/// The beginning of all names.
const MARK: &str = "dunlin";

/// Which packets of a host are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Those that come and those that go.
    Both,
    /// Those that come.
    In,
    /// Those that go.
    Out,
}

/// A bridge. Dropping it removes it with all its hosts.
pub struct Network {
    env: Env,
    /// Of this process.
    id: u32,
    hosts: usize,
}

/// A namespace with one card on the bridge.
pub struct Host {
    env: Env,
    namespace: String,
    address: String,
}

impl Network {
    /// A bridge with the hosts 1 to `hosts`. `Invalid`: the machine does not permit it; the message
    /// says what it said.
    pub async fn open(env: &Env, hosts: usize) -> Result<Self> {
        remove_orphans(env).await?;
        let network = Self { env: env.clone(), id: std::process::id(), hosts };
        let (bridge, address) = (network.bridge(), network.address(0));
        network.ip(&format!("link add {bridge} type bridge")).await?;
        network.ip(&format!("addr add {address}/24 dev {bridge}")).await?;
        network.ip(&format!("link set {bridge} up")).await?;
        for number in 1..=hosts {
            network.plug(number).await?;
        }
        Ok(network)
    }

    async fn plug(&self, number: usize) -> Result<()> {
        let (bridge, card) = (self.bridge(), self.card(number));
        let Host { namespace, address, .. } = self.host(number);
        self.ip(&format!("netns add {namespace}")).await?;
        self.ip(&format!("link add {card} type veth peer name eth0 netns {namespace}")).await?;
        self.ip(&format!("link set {card} master {bridge} up")).await?;
        self.ip(&format!("-n {namespace} addr add {address}/24 dev eth0")).await?;
        self.ip(&format!("-n {namespace} link set eth0 up")).await?;
        self.ip(&format!("-n {namespace} link set lo up")).await
    }

    /// The address of a host; that of number 0 is ours.
    pub fn address(&self, host: usize) -> String {
        // From the range for measurements in closed networks.
        format!("198.18.{}.{}", self.id % 256, host + 1)
    }

    /// A host, from 1 on.
    pub fn host(&self, number: usize) -> Host {
        let namespace = format!("{MARK}-{}-{number}", self.id);
        Host { env: self.env.clone(), namespace, address: self.address(number) }
    }

    fn bridge(&self) -> String {
        format!("dn{}b", self.id)
    }

    fn card(&self, number: usize) -> String {
        format!("dn{}v{number}", self.id)
    }

    async fn ip(&self, words: &str) -> Result<()> {
        run(&self.env, "ip", &words.split(' ').collect::<Vec<_>>()).await.map(drop)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What was not made is not there to be removed.
        let quiet = |words: String| {
            let _ = std::process::Command::new("ip").args(words.split(' ')).output();
        };
        for number in 1..=self.hosts {
            quiet(format!("link del {}", self.card(number)));
            quiet(format!("netns del {}", self.host(number).namespace));
        }
        quiet(format!("link del {}", self.bridge()));
    }
}

impl Host {
    /// Its address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The words before a command that is to run there.
    pub fn prefix(&self) -> [String; 4] {
        ["ip", "netns", "exec", &self.namespace].map(str::to_owned)
    }

    /// From now on packets are dropped.
    pub async fn cut(&self, cut: Cut) -> Result<()> {
        let mut rules = format!("add table inet {MARK}\n");
        let hooks = [("input", "iifname", Cut::In), ("output", "oifname", Cut::Out)];
        for (hook, card, _) in hooks.iter().filter(|(_, _, one)| [Cut::Both, *one].contains(&cut)) {
            rules.push_str(&format!(
                "add chain inet {MARK} {hook} {{ type filter hook {hook} priority 0; }}\n\
                 add rule inet {MARK} {hook} {card} eth0 counter drop\n"
            ));
        }
        self.nft(&[&rules]).await.map(drop)
    }

    /// How many packets have been dropped since it was cut.
    pub async fn dropped(&self) -> Result<u64> {
        let told = self.nft(&["list", "table", "inet", MARK]).await?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let counts = told.split("packets ").skip(1).filter_map(|rest| rest.split(' ').next());
        Ok(counts.filter_map(|count| count.parse::<u64>().ok()).sum())
    }

    /// All packets pass again.
    pub async fn heal(&self) -> Result<()> {
        let rules = format!("add table inet {MARK}\ndelete table inet {MARK}");
        self.nft(&[&rules]).await.map(drop)
    }

    async fn nft(&self, words: &[&str]) -> Result<Output> {
        let prefix = self.prefix();
        let mut all: Vec<&str> = prefix.iter().skip(1).map(String::as_str).collect();
        all.push("nft");
        all.extend(words);
        run(&self.env, "ip", &all).await
    }
}

/// Removes the hosts of processes that are no more: they could not do so themselves.
async fn remove_orphans(env: &Env) -> Result<()> {
    let told = run(env, "ip", &["netns", "list"]).await?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    for name in told.lines().filter_map(|line| line.split(' ').next()) {
        let of = name.strip_prefix("dunlin-").and_then(|rest| rest.split_once('-'));
        let Some((id, _)) = of.filter(|(id, _)| id.parse::<u32>().is_ok()) else { continue };
        if !Path::new("/proc").join(id).exists() {
            run(env, "ip", &["netns", "del", name]).await?;
            // Gone with its last host, or of another orphan.
            let _ = run(env, "ip", &["link", "del", &format!("dn{id}b")]).await;
        }
    }
    Ok(())
}

/// Runs a program to its end. `Invalid`: it is not there, or fails; the message has what it said.
async fn run(env: &Env, program: &str, words: &[&str]) -> Result<Output> {
    let hint = "network namespaces need root and the packages iproute2 and nftables";
    let shown = || format!("{program} {}", words.join(" "));
    let failed = |why: String| Error::invalid(format!("{}: {why}", shown())).with_hint(hint);
    let mut command = Command::new(program);
    command.args(words).kill_on_drop(true);
    let output = env.timeout(CHANGE_MAX, command.output()).await;
    let output = output.ok_or_else(|| failed("it does not end".to_owned()))?;
    let output = output.map_err(|e| failed(e.to_string()))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}
