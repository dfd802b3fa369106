//! The keys of the queue's records. Numbers are zero-padded so that keys sort as numbers do and no
//! stage's key is a prefix of another's.

use dunlin_base::{QueryId, StageId};

use crate::ready::Lane;

/// Highest stage number that the padding of keys holds.
pub(crate) const STAGE_MAX: u32 = 99_999;

/// Prefix of all queries.
pub(crate) const QUERIES: &str = "q/";
/// Prefix of the index of queries that have records.
pub(crate) const LIVE: &str = "live/";
/// Prefix of claimable stages.
pub(crate) const READY: &str = "ready/";
/// Prefix of the history.
pub(crate) const HISTORY: &str = "hist/";

/// Prefix of everything of a query, in the store and among the blobs.
pub(crate) fn query(id: QueryId) -> String {
    format!("{QUERIES}{id}/")
}

pub(crate) fn meta(id: QueryId) -> String {
    format!("{QUERIES}{id}/meta")
}

pub(crate) fn plan(id: QueryId) -> String {
    format!("{QUERIES}{id}/plan")
}

pub(crate) fn cancel(id: QueryId) -> String {
    format!("{QUERIES}{id}/cancel")
}

pub(crate) fn decision(id: QueryId, number: u32) -> String {
    format!("{QUERIES}{id}/dec/{number:06}")
}

/// The stage's own key, and the prefix of the stage and its segments.
pub(crate) fn stage(id: QueryId, stage: StageId) -> String {
    format!("{QUERIES}{id}/st/{:05}", stage.0)
}

pub(crate) fn segments(id: QueryId, stage: StageId) -> String {
    format!("{QUERIES}{id}/st/{:05}/sg/", stage.0)
}

pub(crate) fn segment(id: QueryId, stage: StageId, segment: u32) -> String {
    format!("{QUERIES}{id}/st/{:05}/sg/{segment:03}", stage.0)
}

pub(crate) fn ready(lane: Lane, id: QueryId, stage: StageId) -> String {
    format!("{READY}{}/{id}.{:05}", lane.as_str(), stage.0)
}

/// Prefix of all ready keys of a query in a lane.
pub(crate) fn ready_of(lane: Lane, id: QueryId) -> String {
    format!("{READY}{}/{id}.", lane.as_str())
}

/// The query of a key below [`LIVE`].
pub(crate) fn parse_live(key: &str) -> Option<QueryId> {
    key.strip_prefix(LIVE)?.parse().ok()
}

pub(crate) fn live(id: QueryId) -> String {
    format!("{LIVE}{id}")
}

pub(crate) fn history(id: QueryId) -> String {
    format!("{HISTORY}{id}")
}

/// The card of an executor, by its id as records write it.
pub(crate) fn executor(id: &str) -> String {
    format!("ex/{id}")
}

/// What a key below `q/{query}/` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Meta,
    Plan,
    Cancel,
    Decision(u32),
    Stage(u32),
    Segment(u32, u32),
}

/// Reads a key below `q/`: the query and what of it. `None` for keys that this build does not know.
pub(crate) fn parse(key: &str) -> Option<(QueryId, Part)> {
    let (id, rest) = key.strip_prefix(QUERIES)?.split_once('/')?;
    let id = id.parse().ok()?;
    let part = match rest {
        "meta" => Part::Meta,
        "plan" => Part::Plan,
        "cancel" => Part::Cancel,
        _ => match rest.split_once('/')? {
            ("dec", number) => Part::Decision(number.parse().ok()?),
            ("st", rest) => match rest.split_once("/sg/") {
                None => Part::Stage(rest.parse().ok()?),
                Some((stage, segment)) => Part::Segment(stage.parse().ok()?, segment.parse().ok()?),
            },
            _ => return None,
        },
    };
    Some((id, part))
}

/// Reads a ready key: its lane, query and stage.
pub(crate) fn parse_ready(key: &str) -> Option<(Lane, QueryId, StageId)> {
    let (lane, rest) = key.strip_prefix(READY)?.split_once('/')?;
    let (id, stage) = rest.split_once('.')?;
    Some((Lane::parse(lane)?, id.parse().ok()?, StageId(stage.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_as_what_they_were_written_for() {
        let id = QueryId::from_u128((7 << 64) | 9);
        for (key, part) in [
            (meta(id), Part::Meta),
            (plan(id), Part::Plan),
            (cancel(id), Part::Cancel),
            (decision(id, 12), Part::Decision(12)),
            (stage(id, StageId(3)), Part::Stage(3)),
            (segment(id, StageId(3), 255), Part::Segment(3, 255)),
        ] {
            assert_eq!(parse(&key), Some((id, part)), "{key}");
        }
        let key = ready(Lane::Short, id, StageId(4));
        assert_eq!(parse_ready(&key), Some((Lane::Short, id, StageId(4))));
        assert!(key.starts_with(&ready_of(Lane::Short, id)));
        assert_eq!(parse("q/none/meta"), None);
        assert_eq!(parse_ready("ready/short"), None);
    }

    #[test]
    fn a_stage_prefix_covers_its_own_segments_only() {
        let id = QueryId::from_u128(1);
        assert!(segment(id, StageId(1), 0).starts_with(&stage(id, StageId(1))));
        assert!(!stage(id, StageId(10)).starts_with(&stage(id, StageId(1))));
    }
}
