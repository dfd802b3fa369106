//! The gateways of a cluster as a place to run statements.

use std::io::IsTerminal;
use std::time::Duration;

use dunlin_base::{Env, Error, Result};
use dunlin_gateway::flight::{Client, ClientOptions, ClientTls, Credentials};
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::{Builder, Runtime};

use super::runner::{Answer, Watched};
use crate::cli::{Sql, When};
use crate::report::note;

/// Queries that end sooner show nothing.
const QUIET: Duration = Duration::from_millis(500);

/// How long the end of the program waits for gateways to hear that results were read.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// A connection with a runtime of its own.
pub(crate) struct Remote {
    env: Env,
    client: Client,
    runtime: Runtime,
}

impl Remote {
    /// Connects and logs in. `Invalid`: wrong credentials or addresses; `Retry`: nobody answers.
    pub(crate) fn connect(options: &Sql) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|e| Error::bug("can not start threads").with_source(e))?;
        let env = Env::real(Some(runtime.handle().clone()));
        let client = runtime.block_on(Client::connect(env.clone(), client_options(options)?))?;
        Ok(Self { env, client, runtime })
    }

    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub(super) async fn answer(&self, sql: &str) -> Result<Answer> {
        let mut answer = self.client.sql(sql).await?;
        if answer.schema.fields().is_empty() {
            while let Some(batch) = answer.next().await {
                batch?;
            }
            return Ok(Answer::Done(first_word(sql)));
        }
        let watched = answer.ticket.clone().map_or(Watched::Nothing, Watched::Ticket);
        Ok(Answer::Rows(answer.schema.clone(), answer.boxed(), watched))
    }

    /// Shows the query's progress until the future is dropped.
    pub(super) async fn show_progress(&self, ticket: &bytes::Bytes, when: When) {
        let terminal = std::io::stderr().is_terminal();
        if when == When::Never || (when == When::Auto && !terminal) {
            return std::future::pending().await;
        }
        self.env.sleep(QUIET).await;
        let style = ProgressStyle::with_template("{bar:30} {pos} %");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = Bar(terminal.then(|| ProgressBar::new(100).with_style(style)));
        while let Ok(Some(part)) = self.client.progress(ticket).await {
            match &bar.0 {
                Some(bar) => bar.set_position((part * 100.0) as u64),
                None => note(&format!("progress: {:.0} %", part * 100.0)),
            }
        }
        // Ended, or out of reach: the rows will say so.
        std::future::pending().await
    }
}

impl Drop for Remote {
    /// The last result, too, is to be removed at once.
    fn drop(&mut self) {
        self.runtime.block_on(self.env.timeout(CLOSE_MAX, self.client.closed()));
    }
}

struct Bar(Option<ProgressBar>);

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn client_options(options: &Sql) -> Result<ClientOptions> {
    let credentials = match &options.user {
        None => Credentials::None,
        Some(user) => {
            let password = std::env::var("DUNLIN_PASSWORD").map_err(|_| {
                Error::invalid(format!("there is no password for user '{user}'"))
                    .with_hint("put it into the environment as DUNLIN_PASSWORD")
            })?;
            Credentials::Password { user: user.clone(), password }
        }
    };
    let mut client = ClientOptions::new(options.connect.clone(), credentials);
    if let Some(path) = &options.tls_ca {
        let authority = std::fs::read_to_string(path).map_err(|e| {
            Error::invalid(format!("cannot read {}: {e}", path.display())).with_source(e)
        })?;
        client.tls = Some(ClientTls { authority, name: None });
    }
    Ok(client)
}

fn first_word(sql: &str) -> String {
    sql.split_whitespace().next().unwrap_or_default().to_uppercase()
}
