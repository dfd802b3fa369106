//! `dunlin users`: who may come in at the Flight SQL doors of a cluster.

use std::sync::Arc;

use dunlin_base::{Env, Error, Result};
use dunlin_gateway::flight::{Cost, MetadataUsers};
use tokio::runtime::Builder;

use crate::cli::{Format, Users, UsersCommand};
use crate::output::Output;
use crate::report::Failure;

/// Changes or lists the users in a metadata store.
pub(super) fn run(options: &Users) -> Result<(), Failure> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|e| Error::bug("can not start threads").with_source(e))?;
    let env = Env::real(Some(runtime.handle().clone()));
    let said = runtime.block_on(change(&env, options))?;
    let mut output = Output::open(Format::Table, None, 0)?;
    said.iter().try_for_each(|line| output.line(line))?;
    output.commit()
}

async fn change(env: &Env, options: &Users) -> Result<Vec<String>> {
    let store = dunlin_metadata::open(&options.metadata, env.clone()).await?;
    let users = MetadataUsers::new(Arc::clone(&store));
    match &options.command {
        UsersCommand::Set { name, admin, no_admin } => {
            let role = (*admin || *no_admin).then_some(*admin);
            let mut said = Vec::new();
            match std::env::var("DUNLIN_PASSWORD") {
                Ok(password) => {
                    users.set(name, &password, Cost::Full, env).await?;
                    said.push(format!("user '{name}' has this password now"));
                }
                Err(_) if role.is_some() => {}
                Err(_) => {
                    return Err(Error::invalid(format!("there is no password for user '{name}'"))
                        .with_hint("put it into the environment as DUNLIN_PASSWORD"));
                }
            }
            if let Some(admin) = role {
                users.set_admin(name, admin).await?;
                let is = if admin { "is an administrator" } else { "is no administrator" };
                said.push(format!("user '{name}' {is} now"));
            }
            Ok(said)
        }
        UsersCommand::Remove { name } => {
            users.remove(name).await?;
            Ok(vec![format!("there is no user '{name}' any more")])
        }
        UsersCommand::List => {
            let admins = users.admins().await?;
            let line = |name: String| match admins.contains(&name) {
                true => format!("{name} (administrator)"),
                false => name,
            };
            Ok(users.names().await?.into_iter().map(line).collect())
        }
    }
}
