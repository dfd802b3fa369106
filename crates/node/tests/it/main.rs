//! The whole path in one process: SQL through gateway, queue, executors and shuffle, held against
//! plain DataFusion, with roles stopped on the way, and nothing left behind.

mod adopted;
mod cli;
mod cluster;
mod damaged;
mod door;
mod explain;
mod left_behind;
mod outdated;
mod processes;
mod stopped;
mod storage;
mod tpcds;
mod tpch;
mod writes;
