//! Running statements for people: from texts ([`Runner`]) and at a prompt ([`prompt`]).

mod complete;
mod editor;
mod ended;
mod prompt;
mod remote;
mod runner;
mod slash;

pub(crate) use prompt::prompt;
pub(crate) use remote::Remote;
pub(crate) use runner::{Display, Runner};
