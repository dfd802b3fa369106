//! Names of endpoints, as they are in an [`Envelope`](super::Envelope).

/// Answers whether others exist.
pub const VERIFIER: &str = "endpoint-verifier";
/// Of a master, for drivers.
pub const MASTER: &str = "MasterEndpoint";
/// Of a master, for workers and other masters.
pub const MASTER_INTERNAL: &str = "MasterInternalEndpoint";
/// Of a worker, for drivers.
pub const WORKER: &str = "WorkerEndpoint";
/// Of a worker, for masters.
pub const WORKER_INTERNAL: &str = "WorkerInternalEndpoint";
