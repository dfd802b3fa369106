//! Tests of the protocol as a whole: many processes in one thread, from a seed.

mod sim;
