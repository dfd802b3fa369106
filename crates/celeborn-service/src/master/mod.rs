//! The master: answers from the records and the cards of workers, and keeps nothing itself.

pub mod slots;
