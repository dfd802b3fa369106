//! The DataFusion context that plans are decoded and run in, rebuilt from a plan blob's header so
//! that every executor runs a plan with the settings of the session that made it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use datafusion::execution::config::SessionConfig;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionStateBuilder, TaskContext};
use dunlin_base::{Error, Result};
use dunlin_proto::plan::{Header, Setting};
use parking_lot::Mutex;

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
    recent: Arc<Mutex<Recent>>,
}

/// Contexts for decoding that were asked for lately, with their settings.
type Recent = VecDeque<(Vec<Setting>, Arc<TaskContext>)>;

/// Sessions on one cluster have few different settings.
const RECENT_MAX: usize = 8;

impl Contexts {
    /// Contexts over the stores, caches and spill folder of `runtime`, with DataFusion's functions.
    pub fn new(runtime: Arc<RuntimeEnv>) -> Result<Self> {
        let mut state =
            SessionStateBuilder::new().with_default_features().with_runtime_env(runtime).build();
        functions::register(&mut state).map_err(from_datafusion)?;
        Ok(Self { base: state.task_ctx(), recent: Arc::default() })
    }

    /// A context with default settings, for decoding.
    pub fn base(&self) -> Arc<TaskContext> {
        Arc::clone(&self.base)
    }

    /// The contexts for a plan with this header; its operators reserve memory in `pool`.
    pub fn for_header(&self, header: &Header, pool: Arc<dyn MemoryPool>) -> Result<TaskContexts> {
        let decode = self.decoding(&header.settings)?;
        let mut runtime = RuntimeEnv::clone(&self.base.runtime_env());
        runtime.memory_pool = pool;
        let run = TaskContext::new(
            None,
            decode.session_id(),
            decode.session_config().clone(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            Arc::new(runtime),
        );
        Ok(TaskContexts { decode, run: Arc::new(run) })
    }

    /// The context with these settings and all functions: copying the names of some hundred
    /// functions for each task would cost a short one a tenth of its time.
    fn decoding(&self, settings: &[Setting]) -> Result<Arc<TaskContext>> {
        let mut recent = self.recent.lock();
        if let Some((_, context)) = recent.iter().find(|(of, _)| of == settings) {
            return Ok(Arc::clone(context));
        }
        let mut config = SessionConfig::new();
        for setting in settings {
            if TRAVELLING.iter().any(|prefix| setting.key.starts_with(prefix)) {
                config.options_mut().set(&setting.key, &setting.value).map_err(|e| {
                    Error::invalid(format!("setting {} of another build: {e}", setting.key))
                })?;
            }
        }
        let base = &self.base;
        let context = Arc::new(TaskContext::new(
            None,
            base.session_id(),
            config,
            base.scalar_functions().clone(),
            base.higher_order_functions().clone(),
            base.aggregate_functions().clone(),
            base.window_functions().clone(),
            base.runtime_env(),
        ));
        recent.truncate(RECENT_MAX - 1);
        recent.push_front((settings.to_vec(), Arc::clone(&context)));
        Ok(context)
    }
}

/// What a task works in.
#[derive(Clone)]
pub struct TaskContexts {
    /// For decoding its plan: knows all functions.
    pub decode: Arc<TaskContext>,
    /// For running it: has its memory pool.
    pub run: Arc<TaskContext>,
}

/// A header of this build with the settings of `config` that differ from DataFusion's own.
pub fn header(config: &SessionConfig, more: Vec<(String, String)>) -> Header {
    let defaults = SessionConfig::new();
    let standard: HashMap<String, Option<String>> =
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
