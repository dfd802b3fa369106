//! From options to what is served; everything that can be refused is refused here, before anything
//! is opened.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use dunlin_base::{ByteCount, Error, Result};
use dunlin_celeborn_service::{MasterOptions, SlotPolicy, WorkerOptions};
use tempfile::TempDir;

use super::rest::Guard;
use super::tls::Material;
use crate::cli::{FourPorts, RoleName, Serve, SlotsName};
use crate::config::Config;
use crate::engine::{CelebornOptions, EngineOptions, Wire};

/// Bytes of pushes of Celeborn's clients that are being stored; once more for copies.
const PUSHES: ByteCount = ByteCount(128 << 20);

/// A token that is shorter can be guessed.
const TOKEN_LEN_MIN: usize = 16;

/// What `dunlin serve` serves.
pub(crate) struct Serving {
    pub(super) engine: EngineOptions,
    pub(super) data: Option<PathBuf>,
    pub(super) flight: SocketAddr,
    pub(super) admin: SocketAddr,
    /// Who may change something there.
    pub(super) guard: Guard,
    /// What it runs with, as Celeborn's servers call it.
    pub(super) conf: Vec<(&'static str, String)>,
    /// Passwords are asked for.
    pub(super) users: bool,
    pub(super) tls: Option<Material>,
    pub(super) drain_limit: Duration,
    /// Ends when its standard input does: the process that started it has gone.
    pub(super) with_parent: bool,
    _scratch: Option<TempDir>,
}

impl Serving {
    /// `Invalid`: options that do not fit together, names that are none, certificates that cannot
    /// be read.
    pub(crate) fn new(options: &Serve, config: &Config) -> Result<Self> {
        let host = resolved("--listen", &options.listen)?;
        let tls = Material::load(options)?;
        refuse_open(options, host, tls.is_some())?;
        if let Some(name) = &options.advertise {
            resolved("--advertise", name)?;
        } else if host.is_unspecified() {
            return Err(Error::invalid(format!("nobody can connect to {host}"))
                .with_hint("say with --advertise HOST how others reach this machine"));
        }
        let (scratch, kept) = match &options.scratch {
            Some(folder) => (folder.clone(), None),
            None => {
                let folder = tempfile::Builder::new().prefix("dunlin-").tempdir();
                let folder = folder.map_err(|e| {
                    Error::invalid(format!("cannot make a temporary folder: {e}")).with_source(e)
                })?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        let mut engine = EngineOptions::ephemeral(scratch);
        // Only a folder that stays is found again. Half of the limit is left to all else.
        let half = Duration::from_secs(options.drain_limit.into()) / 2;
        engine.hand_over = options.scratch.is_some().then_some(half);
        // The catalog outlives this process and its folder: an administrator says where tables go.
        engine.settings.warehouse.clear();
        config.apply(&mut engine)?;
        // Statements come from others, and so do plans: closed, but for what is named.
        engine.allowed = config.allowed(&engine.settings)?;
        engine.metadata.clone_from(&options.metadata);
        engine.blobs = blobs(options)?;
        let has = |role| options.roles.contains(&role);
        engine.gateway = has(RoleName::Gateway);
        engine.shuffle = has(RoleName::Shuffle) || has(RoleName::CelebornWorker);
        engine.celeborn = celeborn(options, host, tls.as_ref())?;
        if !has(RoleName::Executor) {
            engine.executors = 0;
        }
        engine.wire = Some(Wire {
            listen: SocketAddr::new(host, options.shuffle_port).to_string(),
            advertise: options.advertise.clone(),
            tls: tls.as_ref().map(Material::wire).transpose()?,
            machine_sockets: !options.tcp_only,
        });
        let conf = conf(&engine.celeborn);
        Ok(Self {
            engine,
            guard: guard(options)?,
            conf,
            data: config.data.clone(),
            flight: SocketAddr::new(host, options.flight_port),
            admin: SocketAddr::new(host, options.admin_port),
            users: options.users,
            tls,
            drain_limit: Duration::from_secs(options.drain_limit.into()),
            with_parent: options.with_parent,
            _scratch: kept,
        })
    }
}

/// Queries need blobs; what serves Celeborn's clients alone does not.
fn blobs(options: &Serve) -> Result<String> {
    let only = |role: &RoleName| role.is_of_celeborn() || *role == RoleName::Shuffle;
    match options.blobs.as_str() {
        "" if options.roles.iter().all(only) => Ok("memory:".to_owned()),
        "" => Err(Error::invalid("queries need a place for blobs")
            .with_hint("say with --blobs URL which object store or folder all processes see")),
        url => Ok(url.to_owned()),
    }
}

fn celeborn(options: &Serve, host: IpAddr, tls: Option<&Material>) -> Result<CelebornOptions> {
    let has = |role| options.roles.contains(&role);
    let tls = tls.map(Material::celeborn).transpose()?;
    let FourPorts(ports) = options.celeborn_worker_ports.unwrap_or_default();
    let advertise = options.advertise.clone().unwrap_or_else(|| options.listen.clone());
    let worker = WorkerOptions {
        listen: bracketed(host),
        advertise,
        ports,
        pushes: PUSHES,
        tls: tls.clone(),
        auth: options.celeborn_auth,
    };
    let listen = SocketAddr::new(host, options.celeborn_port).to_string();
    let application_ttl = Duration::from_secs(options.celeborn_application_timeout.into());
    let slots = match options.celeborn_slots {
        SlotsName::RoundRobin => SlotPolicy::RoundRobin,
        SlotsName::LoadAware => SlotPolicy::LoadAware,
    };
    let auth = options.celeborn_auth;
    let master = MasterOptions { listen, tls, application_ttl, slots, auth };
    Ok(CelebornOptions {
        master: has(RoleName::CelebornMaster).then_some(master),
        worker: has(RoleName::CelebornWorker).then_some(worker),
        rack: options.rack.clone(),
        tags: tags(&options.celeborn_tags)?,
    })
}

/// Words, as clients write them between commas.
fn tags(all: &[String]) -> Result<Vec<String>> {
    let tags: Vec<String> = all.iter().map(|tag| tag.trim().to_owned()).collect();
    match tags.iter().any(String::is_empty) {
        true => Err(Error::invalid("a tag in --celeborn-tags is empty")),
        false => Ok(tags),
    }
}

/// What the options are to Celeborn's command line, as far as it has names for them.
fn conf(celeborn: &CelebornOptions) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    if let Some(master) = &celeborn.master {
        let (host, port) = master.listen.rsplit_once(':').unwrap_or((&master.listen, ""));
        let slots = match master.slots {
            SlotPolicy::RoundRobin => "ROUNDROBIN",
            SlotPolicy::LoadAware => "LOADAWARE",
        };
        let timeout = format!("{}s", master.application_ttl.as_secs());
        all.push(("celeborn.master.host", host.to_owned()));
        all.push(("celeborn.master.port", port.to_owned()));
        all.push(("celeborn.master.heartbeat.application.timeout", timeout));
        all.push(("celeborn.master.slot.assign.policy", slots.to_owned()));
    }
    if let Some(worker) = &celeborn.worker {
        let names = [
            "celeborn.worker.rpc.port",
            "celeborn.worker.push.port",
            "celeborn.worker.fetch.port",
            "celeborn.worker.replicate.port",
        ];
        all.extend(names.into_iter().zip(worker.ports.map(|port| port.to_string())));
    }
    all
}

/// Who may change something at the admin listener.
fn guard(options: &Serve) -> Result<Guard> {
    let Some(file) = &options.admin_token_file else {
        return Ok(Guard { token: String::new(), anybody: options.insecure });
    };
    let text = std::fs::read_to_string(file).map_err(|e| {
        Error::invalid(format!("cannot read --admin-token-file {}: {e}", file.display()))
    })?;
    let token = text.trim().to_owned();
    let plain = |byte: u8| byte.is_ascii_graphic();
    if token.len() < TOKEN_LEN_MIN || !token.bytes().all(plain) {
        return Err(Error::invalid(format!("{} holds no token", file.display())).with_hint(
            format!("a token has {TOKEN_LEN_MIN} letters and digits or more, and no spaces"),
        ));
    }
    Ok(Guard { token, anybody: false })
}

fn bracketed(host: IpAddr) -> String {
    match host {
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) => format!("[{host}]"),
    }
}

/// Closed by default: what others can reach is encrypted, and asks who they are.
fn refuse_open(options: &Serve, host: IpAddr, tls: bool) -> Result<()> {
    if host.is_loopback() || options.insecure {
        return Ok(());
    }
    if !tls {
        return Err(Error::invalid(format!("{host} can be reached from elsewhere, without TLS"))
            .with_hint("give --tls-cert, --tls-key and --tls-ca, or say --insecure"));
    }
    if options.roles.iter().any(RoleName::is_of_celeborn) && !options.celeborn_auth {
        let text = format!("{host} can be reached from elsewhere, and Celeborn's clients are not");
        return Err(Error::invalid(format!("{text} asked who they are"))
            .with_hint("say --celeborn-auth, or --insecure if nobody else is in this network"));
    }
    if options.roles.contains(&RoleName::Gateway) && !options.users {
        return Err(Error::invalid(format!("{host} can be reached from elsewhere, by anybody"))
            .with_hint("say --users, or --insecure"));
    }
    Ok(())
}

fn resolved(option: &str, host: &str) -> Result<IpAddr> {
    let failed = |why: String| Error::invalid(format!("{option} {host}: {why}"));
    let mut found = (host, 0).to_socket_addrs().map_err(|e| failed(e.to_string()))?;
    found.next().map(|address| address.ip()).ok_or_else(|| failed("it has no address".to_owned()))
}
