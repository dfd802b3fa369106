//! Tests of the queue through its public interface, on the simulated store.

mod builds;
mod chaos;
mod estates;
mod life;
mod losses;
mod peers;
mod poison;
mod seats;
mod short;
mod toy;
mod world;
