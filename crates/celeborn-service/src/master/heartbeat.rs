//! The heartbeat of an application, and what it is told of the cluster.

use dunlin_base::Result;
use dunlin_celeborn::message::Message;
use dunlin_celeborn::pb;
use dunlin_celeborn::sasl::Key;
use dunlin_celeborn::status::StatusCode;

use super::Desk;
use super::crew::Standing;
use super::requests::quota;

impl Desk {
    pub(super) async fn heartbeat(
        &self,
        beat: pb::HeartbeatFromApplication,
        proved: Option<Key>,
    ) -> Result<Message> {
        self.records.beat(&beat.app_id, None, proved).await?;
        self.heard(&beat.app_id);
        if !beat.should_response {
            return Ok(Message::OneWayMessageResponse);
        }
        let registered_shuffles = self.records.shuffles(&beat.app_id).await?;
        let crew = self.crew().await?;
        let asked = beat.need_checked_worker_list.into_iter();
        let unknown = asked.filter(|info| !crew.iter().any(|one| one.worker.is(info)));
        let those = |which: fn(&&Standing) -> bool| {
            crew.iter().filter(which).map(|one| one.worker.info()).collect()
        };
        let response = pb::HeartbeatFromApplicationResponse {
            status: StatusCode::Success.number(),
            unknown_workers: unknown.collect(),
            excluded_workers: those(|one| one.is_unwell() || one.excluded.is_some()),
            shutting_workers: those(|one| one.is_leaving()),
            registered_shuffles,
            check_quota_response: Some(quota()),
        };
        Ok(response.into())
    }
}
