//! The worker: the locations that drivers reserve, on the core that stores them.

mod verdict;
