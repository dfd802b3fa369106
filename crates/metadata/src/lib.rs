//! A small, linearizable, watchable key space with compare-and-swap transactions and leases, and
//! the immutable blobs that its records name. It knows nothing of queries.
//!
//! Start at [`open`]: a URL picks the backend. [`conformance`] pins what all backends promise.

pub mod blob;
pub mod conformance;
pub mod embedded;
pub mod etcd;
mod io;
pub mod limits;
mod open;
pub mod sim;
mod store;

pub use open::open;
pub use store::{
    Compare, Durability, Entry, Event, KEY_LEN_MAX, Key, LEASE_TTL_MIN, Lease, Op, Snapshot, Store,
    StoreRef, TXN_LEN_MAX, TXN_OPS_MAX, Txn, TxnOutcome, VALUE_LEN_MAX, Watch,
};
