//! The DataFusion context that plans are decoded and run in, rebuilt from a plan blob's header so
//! that every executor runs a plan with the settings of the session that made it.

use std::sync::Arc;

use datafusion::execution::config::SessionConfig;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionStateBuilder, TaskContext};
use dunlin_base::{Error, Result};
use dunlin_proto::plan::{Header, Setting};

use crate::codec::{BUILD, CODEC_VERSION, DATAFUSION_VERSION};
use crate::errors::from_datafusion;
use crate::functions;

/// Settings of a session that change what operators do; they travel in the header.
const TRAVELLING: [&str; 3] =
    ["datafusion.execution.", "datafusion.optimizer.", "datafusion.format."];

/// Makes task contexts. One for each process, shared.
#[derive(Clone)]
pub struct Contexts {
    base: Arc<TaskContext>,
}

impl Contexts {
    /// Contexts over the stores, caches and spill folder of `runtime`, with DataFusion's functions.
    pub fn new(runtime: Arc<RuntimeEnv>) -> Result<Self> {
        let mut state =
            SessionStateBuilder::new().with_default_features().with_runtime_env(runtime).build();
        functions::register(&mut state).map_err(from_datafusion)?;
        Ok(Self { base: state.task_ctx() })
    }

    /// A context with default settings, for decoding.
    pub fn base(&self) -> Arc<TaskContext> {
        Arc::clone(&self.base)
    }

    /// A context with default settings, to be changed.
    pub fn copy(&self) -> TaskContext {
        let base = &self.base;
        TaskContext::new(
            None,
            base.session_id(),
            base.session_config().clone(),
            base.scalar_functions().clone(),
            base.higher_order_functions().clone(),
            base.aggregate_functions().clone(),
            base.window_functions().clone(),
            base.runtime_env(),
        )
    }

    /// The context for a plan with this header; its operators reserve memory in `pool`.
    pub fn for_header(&self, header: &Header, pool: Arc<dyn MemoryPool>) -> Result<TaskContext> {
        let mut config = SessionConfig::new();
        for setting in &header.settings {
            if TRAVELLING.iter().any(|prefix| setting.key.starts_with(prefix)) {
                config.options_mut().set(&setting.key, &setting.value).map_err(|e| {
                    Error::invalid(format!("setting {} of another build: {e}", setting.key))
                })?;
            }
        }
        let mut runtime = RuntimeEnv::clone(&self.base.runtime_env());
        runtime.memory_pool = pool;
        Ok(self.copy().with_session_config(config).with_runtime(Arc::new(runtime)))
    }
}

/// A header of this build with the settings of `config` that differ from DataFusion's own.
pub fn header(config: &SessionConfig, more: Vec<(String, String)>) -> Header {
    let defaults = SessionConfig::new();
    let standard: std::collections::HashMap<String, Option<String>> =
        defaults.options().entries().into_iter().map(|e| (e.key, e.value)).collect();
    let changed = config.options().entries().into_iter().filter(|entry| {
        TRAVELLING.iter().any(|prefix| entry.key.starts_with(prefix))
            && standard.get(&entry.key) != Some(&entry.value)
    });
    let own = more.into_iter().map(|(key, value)| Setting { key, value });
    let settings =
        changed.filter_map(|e| Some(Setting { key: e.key, value: e.value? })).chain(own).collect();
    Header {
        codec_version: CODEC_VERSION,
        build: BUILD.to_owned(),
        datafusion: DATAFUSION_VERSION.to_owned(),
        settings,
        ..Header::default()
    }
}
