//! Tests of the queue through its public interface, on the simulated store.

mod chaos;
mod checker;
mod life;
mod losses;
mod poison;
mod toy;
mod world;
