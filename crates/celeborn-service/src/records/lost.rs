//! Shuffles whose records went with the lease of their application, or were deleted by hand: for some
//! time their ids are remembered, so that they can have their records again. Whether their data are
//! still there is for workers to say; one that has removed them says so to readers.

use dunlin_base::{Error, Kind, LeaseId, Result};
use dunlin_celeborn::sasl::Key;
use dunlin_metadata::{Compare, Op};

use super::shuffles::{Shuffle, query};
use super::{Records, SHUFFLES, TRIES, decoded, escaped, id_key, shuffle_key};

impl Records {
    /// Shuffles that have slots by their records, and that were not given up by their driver. Those that
    /// have no record get it again with the id that they had. Returns those that are not known any more.
    /// `proved`: as for [`Records::beat`]; nobody gets a shuffle of a former application of his name.
    pub(crate) async fn revise(
        &self,
        app: &str,
        shuffles: &[i32],
        proved: Option<Key>,
    ) -> Result<Vec<i32>> {
        let mut unknown = Vec::new();
        for shuffle in shuffles {
            if !self.revive(app, *shuffle, proved).await? {
                unknown.push(*shuffle);
            }
        }
        Ok(unknown)
    }

    /// False: nobody knows its id.
    async fn revive(&self, app: &str, shuffle: i32, proved: Option<Key>) -> Result<bool> {
        let (key, id) = (shuffle_key(app, shuffle)?, id_key(app, shuffle)?);
        for _ in 0..TRIES {
            if self.store.get(&key).await?.is_some() {
                return Ok(true);
            }
            let Some(entry) = self.store.get(&id).await? else { return Ok(false) };
            query(&entry)?;
            // By hand the application comes back as what it was.
            let key_then = Key::from_bytes(&decoded::<Shuffle>(&entry)?.key).ok();
            if proved.is_some() && proved != key_then {
                return Ok(false);
            }
            let owner = self.beat(app, None, key_then).await?;
            let compares =
                vec![Compare::Absent(key.clone()), Compare::Modified(id.clone(), entry.modified)];
            let puts = vec![
                Op::Put(key.clone(), entry.value.clone(), Some(LeaseId(owner.lease))),
                Op::Put(id.clone(), entry.value.clone(), Some(LeaseId(owner.memory))),
            ];
            match self.change(compares, puts).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) if error.kind() == Kind::Fenced => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::retry(format!("shuffle {shuffle} of application {app} cannot be revised")))
    }

    /// Deletes the records of an application's shuffles, by hand: for some time they can be revised.
    /// A repeat finds nothing and succeeds.
    pub(crate) async fn drop_shuffles(&self, app: &str) -> Result<()> {
        let all = Op::DeletePrefix(format!("{SHUFFLES}{}/", escaped(app)?));
        self.change(Vec::new(), vec![all]).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{TTL, records};
    use super::Key;

    #[tokio::test(start_paused = true)]
    async fn shuffles_that_went_with_their_application_come_back_under_their_ids() {
        let (records, env) = records();
        let first = records.open(("app", 4), "h", None).await.expect("opened");
        env.sleep(TTL + TTL / 4).await;
        assert_eq!(records.find("app", 4).await.expect("read"), None);
        assert_eq!(records.revise("app", &[4, 5], None).await.expect("revised"), [5]);
        assert_eq!(records.find("app", 4).await.expect("read"), Some(first));
        // They live on with the application, and can be lost once more.
        env.sleep(TTL + TTL / 4).await;
        assert_eq!(records.find("app", 4).await.expect("read"), None);
        assert_eq!(records.revise("app", &[4], None).await.expect("revised"), [0; 0]);
        assert_eq!(records.find("app", 4).await.expect("read"), Some(first));
        env.sleep(TTL * 3).await;
        assert_eq!(records.revise("app", &[4], None).await.expect("looked"), [4], "long forgotten");
        assert_eq!(records.apps().await.expect("read"), [], "a look makes no application");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_deleted_by_hand_comes_back_and_what_its_driver_gave_up_does_not() {
        let (records, _) = records();
        let ids = [1, 2, 3].map(|shuffle| (shuffle, records.open(("app", shuffle), "h", None)));
        let mut known = Vec::new();
        for (shuffle, id) in ids {
            known.push((shuffle, id.await.expect("opened")));
        }
        records.close("app", 2).await.expect("closed");
        records.drop_shuffles("app").await.expect("deleted");
        records.drop_shuffles("app").await.expect("twice is once");
        assert_eq!(records.shuffles("app").await.expect("read"), [0; 0]);
        assert_eq!(records.apps().await.expect("read").len(), 1, "the application lives");
        // One that began anew keeps its new id.
        let anew = records.open(("app", 3), "h", None).await.expect("opened");
        assert_eq!(records.revise("app", &[1, 2, 3], None).await.expect("revised"), [2]);
        assert_eq!(records.find("app", 1).await.expect("read"), Some(known[0].1));
        assert_eq!(records.find("app", 3).await.expect("read"), Some(anew));
        records.end("app").await.expect("ended");
        assert_eq!(records.revise("app", &[1, 3], None).await.expect("looked"), [1, 3]);
    }
    #[tokio::test(start_paused = true)]
    async fn a_later_application_of_a_name_gets_nothing_of_the_former() {
        let (records, env) = records();
        let [former, later] = ["one", "two"].map(|secret| Key::new("app", secret));
        records.open(("app", 1), "h", Some(former)).await.expect("opened");
        env.sleep(TTL + TTL / 4).await;
        assert_eq!(records.revise("app", &[1], Some(later)).await.expect("looked"), [1]);
        assert_eq!(records.revise("app", &[1], None).await.expect("by hand"), [0; 0]);
        let alive = records.key("app").await.expect("read").map(|(key, _)| key);
        assert_eq!(alive, Some(former), "as what it was");
    }
}
