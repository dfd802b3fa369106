//! Cutting, deciding, binding and the codec, held against plain DataFusion: a miniature cluster in
//! one thread runs the stage graphs and compares rows.

mod data;
mod determinate;
mod hostile;
mod mini;
mod round_trip;
mod tpch;
mod traps;
