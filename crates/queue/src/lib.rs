//! The global queue: queries, stages and segments as small fenced records in the metadata store.
//!
//! No process owns a query. A gateway [publishes](Queue::publish) one; executors
//! [claim](Queue::claim) ranges of slices, run them and [commit](Queue::commit) their output; whoever
//! commits the last slice of a stage seals it, runs the pure decision function and writes its
//! result. Every call may be made by any process at any time and is either idempotent or fenced.
//!
//! The queue knows no plans: graphs, templates and slice lists are opaque bytes.
//!
//! ```text
//! publish ─► ready ─► claim ─► commit ─► seal ─► decide ─┬─► ready (next stages)
//!                       ▲  │failed, hand back, lease gone │
//!                       └──┘                              └─► done ─► wait_ended ─► remove
//! ```
//!
//! Read [`invariants`] for what may be written, `unfold` for how a query goes on, `segment` for
//! what claims and commits do to a record.

mod advance;
mod attempt;
mod bounded;
mod changes;
pub mod checker;
mod choose;
mod claim;
mod claimed;
mod commit;
mod depot;
mod end;
mod ends;
mod estate;
mod failure;
mod first_claim;
pub mod invariants;
mod keep;
mod keys;
mod latch;
mod live;
mod member;
mod mirror;
mod peer;
mod poison;
mod publish;
mod queue;
mod ready;
mod record;
mod records;
mod release;
mod reopen;
mod seat;
mod segment;
mod status;
mod sweep;
mod unfold;
mod voided;
mod wait;
mod wish;

pub use claim::{Offer, Room};
pub use claimed::{ClaimedSlices, InputStage};
pub use commit::More;
pub use estate::{Estate, HEIR_WAIT, Heir, TURN};
pub use live::LiveSet;
pub use member::{Member, Role, WeakMember};
pub use peer::Peer;
pub use publish::Published;
pub use queue::{Advanced, Committed, NewQuery, Queue, Swept, Tuning};
pub use ready::{AtHand, Lane, ReadyStage, ReadyWatch};
pub use reopen::{Lost, Missing, Reopened};
pub use seat::{Seat, SeatOptions};
pub use status::{Ended, HistoryEntry, Phase, QueryStatus, RunningQuery, Spread, StageStatus};
pub use wait::QueryWatch;
pub use wish::{Want, Wish, Wishes};
