//! The seam to local disks. [`LocalDisk`] is the real one; tests and simulations put one that
//! fails, fills up, hangs or changes bytes in its place.

mod kept;
mod local;
mod seam;

pub use local::LocalDisk;
pub use seam::{Disk, DiskFile, ExtentId, Space};
