//! The heartbeat of an application, and what it is told of the cluster.

use dunlin_base::Result;
use dunlin_celeborn::message::Message;
use dunlin_celeborn::pb;
use dunlin_celeborn::sasl::Key;
use dunlin_celeborn::status::StatusCode;

use super::Desk;
use super::requests::quota;
use crate::fleet::Worker;

impl Desk {
    pub(super) async fn heartbeat(
        &self,
        beat: pb::HeartbeatFromApplication,
        proved: Option<Key>,
    ) -> Result<Message> {
        self.records.beat(&beat.app_id, None, proved).await?;
        if !beat.should_response {
            return Ok(Message::OneWayMessageResponse);
        }
        let registered_shuffles = self.records.shuffles(&beat.app_id).await?;
        let workers = self.fleet.workers();
        let asked = beat.need_checked_worker_list.into_iter();
        let unknown = asked.filter(|info| !workers.iter().any(|worker| worker.is(info)));
        let those =
            |which: fn(&&Worker) -> bool| workers.iter().filter(which).map(Worker::info).collect();
        let response = pb::HeartbeatFromApplicationResponse {
            status: StatusCode::Success.number(),
            unknown_workers: unknown.collect(),
            excluded_workers: those(|worker| !worker.takes && !worker.going),
            shutting_workers: those(|worker| worker.going),
            registered_shuffles,
            check_quota_response: Some(quota()),
        };
        Ok(response.into())
    }
}
