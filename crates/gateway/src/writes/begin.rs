//! How a write begins, and how the same write sent again finds the first.

use dunlin_base::{Error, Kind, QueryId, Result, Revision};
use dunlin_planner::WritePlan;
use dunlin_planner::write::Landing;
use dunlin_proto::write::Write;
use dunlin_proto::write::target::Kind as TargetKind;
use dunlin_proto::write::write::Phase;
use dunlin_queue::{Published, QueryStatus};

use super::drive::given_up;
use super::records::{Name, unmoved};
use crate::gateway::{Gateway, Prepared};

/// What there is of a write by its name.
pub(super) enum Earlier {
    /// Nothing that counts; the record of the name, if there is one, was written then.
    Nothing(Option<Revision>),
    /// It was done, with these rows.
    Done(u64),
    /// It is on its way.
    Running(QueryId),
}

impl Gateway {
    /// What there is of the write of this name. A write whose query nobody has is given up first.
    /// `Invalid`: the name was used by another statement, or by this one under another default
    /// schema.
    pub(super) async fn earlier(&self, name: &Name) -> Result<Earlier> {
        let records = self.writes();
        loop {
            let Some(id) = records.id(&name.key).await? else { return Ok(Earlier::Nothing(None)) };
            if id.record.statement != name.statement {
                return Err(Error::invalid("the write id was used by another statement")
                    .with_hint("give every write an id of its own: SET dunlin.write_id = '...'"));
            }
            if !id.record.schema.is_empty() && id.record.schema != name.schema {
                return Err(Error::invalid(format!(
                    "the write id was used by this statement with '{}' as default schema",
                    id.record.schema
                ))
                .with_hint("its tables were others: give this write an id of its own"));
            }
            if id.record.done {
                return Ok(Earlier::Done(id.record.rows));
            }
            let query: QueryId =
                id.record.query.parse().map_err(|_| Error::lost("a write id names no query"))?;
            let Some(write) = records.write(query).await? else {
                return Ok(Earlier::Nothing(Some(id.revision)));
            };
            match write.record.phase() {
                Phase::Aborted => return Ok(Earlier::Nothing(Some(id.revision))),
                Phase::Open if !self.has_query(query).await? => {
                    // Its gateway died before it published the query; if it did not, it finds that it
                    // cannot any more.
                    records.abort(query, &write, self.parts().env.unix_ms()).await?;
                }
                _ => return Ok(Earlier::Running(query)),
            }
        }
    }

    pub(super) async fn has_query(&self, query: QueryId) -> Result<bool> {
        self.query_of(query).await.map(|status| status.is_some())
    }

    /// The query of a write. One that cannot be read is none.
    pub(super) async fn query_of(&self, query: QueryId) -> Result<Option<QueryStatus>> {
        match self.parts().queue.status(query).await {
            Err(error) if error.kind() == Kind::Lost => Ok(None),
            status => status,
        }
    }

    /// Records the write, stages what does not depend on its rows, publishes its query. `false`:
    /// another statement of the same name was faster, and nothing was done.
    pub(super) async fn begin_write(
        &self,
        plan: &WritePlan,
        mut query: Prepared,
        name: Option<(&Name, Option<Revision>)>,
    ) -> Result<bool> {
        let mut write = Write {
            target: Some(plan.target.clone()),
            created_unix_ms: self.parts().env.unix_ms(),
            id_key: name.map(|(name, _)| name.key.clone()).unwrap_or_default(),
            ..Write::default()
        };
        write.set_phase(Phase::Open);
        let Some(begun) = self.writes().begin(plan.id, &write, name).await? else {
            return Ok(false);
        };
        // Whoever takes this gateway for dead gives the write up: then its query must not run.
        query.guards.push(unmoved(plan.id, begun));
        let published = self.stage_and_publish(plan, query).await;
        if let Err(error) = published {
            let gateway = self.clone();
            let id = plan.id;
            // Without a query it will never come to anything.
            self.in_background(async move { gateway.give_up_unpublished(id).await });
            return Err(error);
        }
        Ok(true)
    }

    async fn stage_and_publish(&self, plan: &WritePlan, query: Prepared) -> Result<()> {
        if plan.target.kind() != TargetKind::Insert {
            let landing = Landing::new(&self.parts().stores, &plan.target, plan.id)?;
            // Another statement may have had the target since this one was planned.
            landing.check_free().await?;
            landing.stage_empty(plan.empty.clone()).await?;
        }
        match self.publish_as(plan.id, query).await? {
            Published::Here => Ok(()),
            Published::Outdated => Err(given_up()),
        }
    }

    /// Ends the query of a write whose client is gone, as far as this gateway knows. The client may
    /// wait for the same write at another gateway, having sent its statement again: to that one it is
    /// told as what it is, and not as a cancellation that nobody asked for.
    pub(super) async fn stop_write(&self, query: QueryId) -> Result<()> {
        let error = Error::retry("the write lost its client on the way: nothing was written")
            .with_hint("send the statement again");
        self.parts().queue.fail(query, &error).await
    }

    /// Gives up a write whose query was not published, as far as anybody knows.
    async fn give_up_unpublished(&self, id: QueryId) {
        let given_up = async {
            if self.has_query(id).await? {
                self.stop_write(id).await?;
            } else if let Some(seen) = self.writes().write(id).await?
                && seen.record.phase() == Phase::Open
            {
                self.writes().abort(id, &seen, self.parts().env.unix_ms()).await?;
            }
            self.drive(id).await
        };
        if let Err(error) = given_up.await {
            tracing::debug!(query = %id, %error, "write given up");
        }
        self.clean_up_after(id).await;
    }
}
