//! Event time: windows, watermarks, and what is late. Called by sources (watermarks) and by operators
//! after the seal of a micro-batch.
//!
//! All times are milliseconds since 1970, negative before it. Nothing here reads a clock: whoever
//! needs one is given the reading that is in the cut, so that a replay is the same.

mod lateness;
mod session;
mod watermark;
mod window;

pub use lateness::{Counts, Timing, timing};
pub use session::{Session, Sessions};
pub use watermark::{Merger, SourceClock, SplitTiming, Watermark, WatermarkOptions};
pub use window::{WINDOWS_PER_ROW_MAX, Window, Windows};
