//! The allocator of the binaries.

use std::ffi::{c_int, c_long};

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

/// Milliseconds for which a process that only moves bytes keeps what it has freed: longer than from
/// one query to the next while there is work.
const KEPT_MS: c_long = 10_000;

/// Gives freed memory back after [`KEPT_MS`], and has the system give no memory in large pages: for a
/// process that moves bytes and does not compute. Giving it back at once costs a third of the
/// CPU time of such a process, for pages that come anew with each push.
///
/// It has a thread for each call of a disk that is under way, each with pages of the allocator for
/// each size of block, and most of such a page is never used: as a large page of the system it is
/// resident all the same. May be called later than [`keep_freed_memory`]; memory that was touched
/// before stays as it is.
pub fn give_back_unused_memory() {
    // SAFETY: sets options of the allocator, which are read whenever something is freed.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, KEPT_MS) };
    #[cfg(target_os = "linux")]
    // SAFETY: changes how the system maps memory of this process, and none that is mapped.
    unsafe {
        prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    };
}

/// `PR_SET_THP_DISABLE` of Linux: no transparent huge pages in this process from now on.
#[cfg(target_os = "linux")]
const PR_SET_THP_DISABLE: c_int = 41;

#[cfg(target_os = "linux")]
unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
}
