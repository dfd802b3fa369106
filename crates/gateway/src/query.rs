//! One query on its way: published, awaited, its rows read back, its remains removed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use dunlin_base::{Error, Kind, PartitionId, QueryId, Result};
use dunlin_proto::block::ShuffleId;
use dunlin_queue::{Ended, Phase};
use dunlin_shuffle::read_partition;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};

use crate::gateway::Gateway;

/// The rows of a query: waits for its end, then reads its result. Dropped early, it cancels the
/// query; either way the query's remains are removed.
pub(crate) struct RowStream {
    rows: BoxStream<'static, Result<RecordBatch>>,
    cleaner: Option<Cleaner>,
}

/// Removes what a query leaves, once.
struct Cleaner {
    gateway: Gateway,
    query: QueryId,
}

impl RowStream {
    /// The rows of `query`, which this or another gateway published.
    pub(crate) fn new(gateway: Gateway, query: QueryId, schema: SchemaRef) -> Self {
        let cleaner = Some(Cleaner { gateway: gateway.clone(), query });
        let rows = stream::once(result(gateway, query, schema))
            .flat_map(|rows| rows.unwrap_or_else(|error| stream::iter([Err(error)]).boxed()))
            .boxed();
        Self { rows, cleaner }
    }
}

impl Stream for RowStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.rows.poll_next_unpin(cx);
        if let Poll::Ready(None | Some(Err(_))) = &next
            && let Some(cleaner) = self.cleaner.take()
        {
            cleaner.clean(false);
        }
        next
    }
}

impl Drop for RowStream {
    fn drop(&mut self) {
        if let Some(cleaner) = self.cleaner.take() {
            cleaner.clean(true);
        }
    }
}

impl Cleaner {
    fn clean(self, cancel: bool) {
        let Self { gateway, query } = self;
        gateway.clone().in_background(async move {
            if cancel && let Err(error) = gateway.parts().queue.cancel(query).await {
                tracing::warn!(%query, %error, "could not cancel");
            }
            gateway.clean_up(query).await;
        });
    }
}

async fn result(
    gateway: Gateway,
    query: QueryId,
    schema: SchemaRef,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let ended = gateway.parts().queue.wait_ended(query).await?;
    if ended.phase != Phase::Done {
        return Err(failure(&ended));
    }
    let Some((stage, epoch, output)) = ended.result else {
        let message = format!("the result of query {query} was removed before it was read");
        return Err(Error::lost(message).with_hint("run the query again"));
    };
    let shuffle = ShuffleId { query, stage, epoch };
    let workers = gateway.parts().workers.as_ref();
    Ok(read_partition(workers, shuffle, PartitionId(0), Arc::new(output), schema))
}

fn failure(ended: &Ended) -> Error {
    match (&ended.failure, ended.phase) {
        (Some(error), _) => error.clone(),
        (None, Phase::Cancelled) => Error::new(Kind::Fenced, "the query was cancelled"),
        (None, _) => Error::bug("the query failed without a cause"),
    }
}
