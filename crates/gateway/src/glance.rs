//! A statement whose plan is kept is published without a look at the store: that nothing has
//! changed of what the plan was made of is a condition of the transaction that publishes it.
//!
//! Without this a short query would ask the store three times before it begins: which version the
//! catalog has, and which writes are under way, before planning and after. If the condition does
//! not hold, the statement is planned with these looks, and they are remembered.

use std::sync::Arc;

use dunlin_base::{Error, Result};
use dunlin_planner::Statement;

use crate::gateway::Prepared;
use crate::publish::Published;
use crate::session::{Session, Step, locations};
use crate::{catalog, writes};

impl Session {
    /// The statement as it would be published if nothing has changed since this gateway last looked;
    /// `None` if that is not known, or a write on one of its tables is coming to its end.
    pub(crate) async fn unlooked(&self, statement: &Statement) -> Result<Option<Prepared>> {
        let Some(view) = self.gateway().last_view() else { return Ok(None) };
        let Some((plan, version)) = self.planned().known_plan_as_of(statement).await else {
            return Ok(None);
        };
        let locations = locations(&plan);
        if view.comes_to_an_end(&locations) {
            return Ok(None);
        }
        let mut query = self.prepare_query(&plan, statement)?;
        query.guards.push(catalog::unchanged(version));
        if !locations.is_empty() {
            query.guards.push(writes::none_since(&view));
        }
        Ok(Some(query))
    }

    /// Publishes what [`Session::step`] has prepared, planned anew if it is out of date: what was a
    /// query may then be answered here, such as a view of `information_schema`. Once this returns, a
    /// query survives the crash of any process.
    pub(crate) async fn publish_query(
        &self,
        query: Prepared,
        statement: &Statement,
    ) -> Result<Published> {
        let (schema, deadline) = (Arc::clone(&query.schema), query.deadline_unix_ms);
        if let Some(id) = self.gateway().publish(query).await? {
            return Ok(Published::Query { id, schema });
        }
        let mut query = match self.look_and_step(statement).await? {
            Step::Run(query) => query,
            Step::Reply(reply) => return Ok(Published::Reply(reply)),
            Step::Analyze(..) => return Err(Error::bug("a query is not one to be explained")),
        };
        query.deadline_unix_ms = deadline;
        let schema = Arc::clone(&query.schema);
        let id = self.gateway().publish(query).await?;
        id.map(|id| Published::Query { id, schema })
            .ok_or_else(|| Error::bug("a publication without conditions failed"))
    }
}
