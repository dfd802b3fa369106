//! A small, linearizable, watchable key space with compare-and-swap transactions and leases, and
//! the immutable blobs that its records name. It knows nothing of queries.

pub mod blob;
pub mod sim;
mod store;

pub use store::{
    Compare, Entry, Event, Lease, Op, KEY_LEN_MAX, Key, Snapshot, Store, StoreRef, TXN_OPS_MAX, Txn, TxnOutcome, VALUE_LEN_MAX,
    Watch,
};
