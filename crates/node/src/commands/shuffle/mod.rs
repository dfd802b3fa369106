//! `dunlin shuffle`: the shuffle workers of a cluster, by their cards in the metadata store; what
//! they hold, by asking them.

mod cards;
mod drain;
mod listing;
mod run;
mod show;

pub(super) use run::run;
