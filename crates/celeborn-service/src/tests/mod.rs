//! A master and workers on real sockets, and a client that says what the stock one says.

mod admin;
mod bed;
mod bounds;
mod copies;
mod life;
mod others;
mod proof;
mod proving;
mod restart;
mod secure;
mod splits;
