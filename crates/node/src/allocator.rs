//! The allocator of the binaries.

use std::ffi::c_int;

/// mimalloc, which a binary makes its own with `#[global_allocator]`. Planning allocates much and
/// briefly, on several threads.
pub type Allocator = mimalloc::MiMalloc;

/// The allocator itself.
pub const ALLOCATOR: Allocator = mimalloc::MiMalloc;

/// `mi_option_purge_delay`, in milliseconds: the same number in all of mimalloc 2 and 3.
const PURGE_DELAY: c_int = 15;

/// Keeps freed memory in the process. Query work frees and takes the same hundreds of megabytes
/// again and again; giving them back in between costs a tenth of all time (TPC-H at scale 1), for
/// zeroing pages. How much a process holds is bounded by its memory limits. Called first thing in
/// `main`.
pub fn keep_freed_memory() {
    // SAFETY: sets an option of the allocator, before there are other threads.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}
