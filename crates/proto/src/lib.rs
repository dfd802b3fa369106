//! Everything that two processes must agree on: stored records, plan blobs, shuffle blocks and the
//! contracts between the roles. No I/O happens here.

pub mod block;
pub mod decide;
pub mod extent_index;
#[cfg(test)]
mod fuzz;
mod head;
pub mod shuffle;
pub mod table;
pub mod uploads;
pub mod wire;

/// Definitions of the catalog. Generated from `proto/catalog.proto`, which documents every field.
pub mod catalog {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/dunlin.catalog.v1.rs"));
    }
    pub use v1::*;
}

/// What clients hold for the gateways' doors, and the keys it is signed with. Generated from
/// `proto/door.proto`, which documents every field.
pub mod door {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/dunlin.door.v1.rs"));
    }
    pub use v1::*;
}

/// Stored records of the queue. Generated from `proto/queue.proto`, which documents every field.
pub mod queue {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/dunlin.queue.v1.rs"));
    }
    pub use v1::*;
}

/// Plan blobs. Generated from `proto/plan.proto`, which documents every field.
pub mod plan {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/dunlin.plan.v1.rs"));
    }
    pub use v1::*;
}

/// Reports of shuffle output. Generated from `proto/shuffle.proto`, which documents every field.
pub mod output {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/dunlin.shuffle.v1.rs"));
    }
    pub use v1::*;
}

/// Records of writes. Generated from `proto/write.proto`, which documents every field.
pub mod write {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/dunlin.write.v1.rs"));
    }
    pub use v1::*;
}
