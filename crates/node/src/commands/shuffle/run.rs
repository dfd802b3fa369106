//! From the options to one of the commands.

use dunlin_base::{Env, Error, Result};
use tokio::runtime::Builder;

use super::listing::Listing;
use super::{cards, drain, show};
use crate::cli::{Format, Shuffle, ShuffleCommand};
use crate::output::Output;
use crate::report::{Failure, note};

/// Looks into the metadata store and asks workers; prints what they say. Workers that do not answer
/// are named on standard error, and then the command fails, after it has printed the others.
pub(in crate::commands) fn run(options: &Shuffle) -> Result<(), Failure> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|e| Error::bug("can not start threads").with_source(e))?;
    let env = Env::real(Some(runtime.handle().clone()));
    let listing = runtime.block_on(listing(&env, options))?;
    let mut output = Output::open(Format::Table, None, 0)?;
    for line in listing.lines(options.json) {
        output.line(&line)?;
    }
    output.commit()?;
    let Some((last, others)) = listing.failures.split_last() else { return Ok(()) };
    others.iter().for_each(|error| note(&crate::report::text(error)));
    Err(last.clone().into())
}

async fn listing(env: &Env, options: &Shuffle) -> Result<Listing> {
    let store = dunlin_metadata::open(&options.metadata, env.clone()).await?;
    match &options.command {
        ShuffleCommand::Ls => cards::workers(&store).await,
        ShuffleCommand::Disks => cards::disks(&store).await,
        ShuffleCommand::Show { query } => show::show(env, &store, query).await,
        ShuffleCommand::Drain { worker, undo, force } => {
            let said = drain::drain(env, &store, worker, (!undo, *force)).await?;
            Ok(Listing::said(said))
        }
    }
}
