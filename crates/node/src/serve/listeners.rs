//! The listeners of a process that serves, as a list: what it announces is made from it, and the
//! test with hostile clients goes through it.

use std::net::SocketAddr;

/// A socket on which `dunlin serve` takes connections. Every listener that it opens is one of
/// these and stands in its ready line as `name=address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Flight SQL, for clients.
    Flight,
    /// Shuffle data, for other processes of the cluster.
    Shuffle,
    /// Drivers of Celeborn's clients, of a master.
    CelebornMaster,
    /// The same, of a worker.
    CelebornWorker,
    /// Executors of Celeborn's clients that push.
    CelebornPush,
    /// The same, that read.
    CelebornFetch,
    /// Other workers, with second copies of what Celeborn's clients push.
    CelebornReplicate,
    /// Probes and metrics.
    Admin,
}

impl Listener {
    /// All of them, in the order of the ready line.
    pub const ALL: [Self; 8] = [
        Self::Flight,
        Self::Shuffle,
        Self::CelebornMaster,
        Self::CelebornWorker,
        Self::CelebornPush,
        Self::CelebornFetch,
        Self::CelebornReplicate,
        Self::Admin,
    ];

    /// What it is called in the ready line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flight => "flight",
            Self::Shuffle => "shuffle",
            Self::CelebornMaster => "celeborn-master",
            Self::CelebornWorker => "celeborn-worker",
            Self::CelebornPush => "celeborn-push",
            Self::CelebornFetch => "celeborn-fetch",
            Self::CelebornReplicate => "celeborn-replicate",
            Self::Admin => "admin",
        }
    }

    /// Where it listens, by a ready line; `None`: the process does not have it.
    pub fn announced(self, line: &str) -> Option<SocketAddr> {
        let address = |word: &str| word.strip_prefix(self.name())?.strip_prefix('=')?.parse().ok();
        line.split(' ').find_map(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_a_ready_line() {
        let line = "dunlin: ready flight=127.0.0.1:8815 admin=[::1]:8816 executors=1";
        let found = Listener::ALL.map(|listener| listener.announced(line));
        let parsed = |text: &str| text.parse().ok();
        let mut expected = [None; Listener::ALL.len()];
        expected[0] = parsed("127.0.0.1:8815");
        expected[Listener::ALL.len() - 1] = parsed("[::1]:8816");
        assert_eq!(found, expected);
    }
}
