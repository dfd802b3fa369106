//! SQL to stages: sessions and catalogs on DataFusion, cutting, decisions, the plan codec, binding.
//!
//! Pure: no network of ours, no clocks, no knowledge of the queue or the metadata store. (DataFusion
//! itself lists files and reads their footers through object stores while it plans.)

pub mod bind;
mod codec;
mod context;
pub mod cut;
pub mod decide;
pub mod errors;
pub mod nodes;

pub use bind::{BoundTask, TaskOutput, Template};
pub use codec::{
    BUILD, CODEC_VERSION, DATAFUSION_VERSION, PlanCodec, ProtoCodec, check_header, decode_expr,
};
pub use context::{Contexts, header};
pub use cut::{CutOptions, cut};
pub use decide::{DecideOptions, Decider};
