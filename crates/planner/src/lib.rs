//! SQL to stages: sessions and catalogs on DataFusion, cutting, decisions, the plan codec, binding.
//!
//! Nothing here knows the queue or the metadata store, and nothing reads a clock. What must be kept
//! (the catalog) goes through [`catalog::CatalogStore`], which the gateway implements. (DataFusion
//! itself lists files and reads their footers through object stores while it plans.)

pub mod bind;
pub mod catalog;
mod codec;
mod context;
pub mod cut;
pub mod decide;
pub mod errors;
mod explain;
mod footers;
pub mod functions;
pub mod nodes;
pub mod object_stores;
mod rules;
pub mod session;
pub mod settings;
pub mod write;

pub use bind::{BoundTask, TaskOutput, Template};
pub use catalog::Who;
pub use codec::{
    BUILD, CODEC_VERSION, DATAFUSION_VERSION, PlanCodec, ProtoCodec, build, check_header,
    decode_expr,
};
pub use context::{Contexts, TaskContexts, header};
pub use cut::{CutOptions, cut};
pub use decide::{DecideOptions, Decider};
pub use errors::{from_datafusion, into_datafusion};
pub use explain::explain;
pub use object_stores::{Allowed, ObjectStores, StoreLimits, StoreSpec};
pub use rules::physical_rules;
pub use session::{
    Description, Ingest, IngestPlan, Planned, Planner, QueryPlan, Session, Statement,
    StatementKind, TableEntry, TableInfo, prepare,
};
pub use settings::{Settings, session_config};
pub use write::WritePlan;
