//! Where a process keeps its state: a folder that stays, or one that goes with the process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dunlin_base::{Error, Result};
use tempfile::TempDir;

use crate::config::Config;
use crate::engine::{Engine, EngineOptions};
use crate::report::{Failure, note};

/// The longest a graceful end may take; what is left then is removed by the next process's sweep.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

/// An engine and the folder it works in.
pub(crate) struct Place {
    engine: Engine,
    // After the engine: it is removed when nothing uses it any more.
    _scratch: Option<TempDir>,
}

impl Place {
    /// Starts the engine that the configuration describes.
    pub(crate) fn open(config: &Config) -> Result<Self, Failure> {
        let (mut options, scratch) = match &config.state {
            Some(state) => (kept(state)?, None),
            None => {
                let scratch = tempfile::Builder::new()
                    .prefix("dunlin-")
                    .tempdir()
                    .map_err(|e| Failure::writing("a temporary folder", e))?;
                (EngineOptions::ephemeral(scratch.path()), Some(scratch))
            }
        };
        config.apply(&mut options)?;
        if !config.allow.is_empty() {
            options.allowed = config.allowed(&options.settings)?;
        }
        let engine = Engine::start(options)?;
        let place = Self { engine, _scratch: scratch };
        if let Some(data) = &config.data {
            place.register(data)?;
        }
        Ok(place)
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    fn register(&self, data: &Path) -> Result<()> {
        let planner = self.engine.planner();
        for (table, result) in self.engine.block_on(planner.register_folder(data))? {
            if let Err(error) = result {
                note(&format!("note: {table} is not a table: {}", error.message()));
            }
        }
        Ok(())
    }

    /// Ends the engine gracefully.
    pub(crate) fn close(self) {
        let engine = &self.engine;
        let ended = engine.block_on(async {
            let ending = async {
                if let Ok(gateway) = engine.gateway() {
                    gateway.settle().await;
                }
                engine.shutdown().await;
            };
            engine.env().timeout(SHUTDOWN_MAX, ending).await
        });
        if ended.is_none() {
            tracing::warn!("the engine did not end in {SHUTDOWN_MAX:?}");
        }
    }
}

fn kept(state: &Path) -> Result<EngineOptions> {
    let failed = |e: std::io::Error| {
        Error::invalid(format!("cannot use state folder {}: {e}", state.display()))
    };
    std::fs::create_dir_all(state).map_err(failed)?;
    // The metadata store and the blobs take places as text, in which `:` ends a scheme.
    let state: PathBuf = state.canonicalize().map_err(failed)?;
    let text = |name: &str| state.join(name).display().to_string();
    let mut options = EngineOptions::ephemeral(state.join("scratch"));
    options.settings.warehouse = text("tables");
    Ok(EngineOptions {
        metadata: format!("embedded:{}", text("metadata")),
        blobs: text("blobs"),
        ..options
    })
}
