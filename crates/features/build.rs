//! Nothing to build: its presence makes cargo unify the features of build dependencies too.

fn main() {}
