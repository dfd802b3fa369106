//! Uploads in parts. Where the store says how others can abort one, a record names it before its first
//! part: if this process is killed, the sweep of gateways ends it. See "Uploads of dead workers" in
//! `design/2026-11-28-shuffle-service.md`.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use dunlin_base::Result;
use dunlin_proto::uploads::{FOLDER, Upload as Named, UploadRecord};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};

use super::Objects;
use super::slots::Slot;
use crate::options::ByIds;

/// An upload under way. One that is dropped before its end is aborted later, by whoever uses its slot
/// next, if it has one.
pub(super) enum Upload<'a> {
    /// The store does not say how others could end it.
    Nameless(Box<dyn MultipartUpload>),
    /// A record names it.
    Recorded(Recorded<'a>),
}

pub(super) struct Recorded<'a> {
    store: &'a dyn MultipartStore,
    path: Path,
    id: String,
    parts: Vec<PartId>,
    slot: Slot<'a>,
}

impl Upload<'_> {
    /// Sends the next part; parts follow each other.
    pub(super) async fn put_part(&mut self, part: PutPayload) -> object_store::Result<()> {
        match self {
            Self::Nameless(upload) => upload.put_part(part).await,
            Self::Recorded(Recorded { store, path, id, parts, .. }) => {
                let part = store.put_part(path, id, parts.len(), part).await?;
                parts.push(part);
                Ok(())
            }
        }
    }

    /// Makes the parts an object. After an error it may be there.
    pub(super) async fn complete(&mut self) -> object_store::Result<()> {
        match self {
            Self::Nameless(upload) => upload.complete().await.map(drop),
            Self::Recorded(Recorded { store, path, id, parts, slot }) => {
                store.complete_multipart(path, id, std::mem::take(parts)).await?;
                slot.ended(id);
                Ok(())
            }
        }
    }

    /// Parts of an upload that nobody ends cost money. An object that it has become stays.
    pub(super) async fn abort(&mut self) -> object_store::Result<()> {
        match self {
            Self::Nameless(upload) => upload.abort().await,
            Self::Recorded(Recorded { store, path, id, slot, .. }) => {
                abort(*store, path, id).await?;
                slot.ended(id);
                Ok(())
            }
        }
    }
}

/// An upload that the store does not know was completed or aborted before.
async fn abort(store: &dyn MultipartStore, path: &Path, id: &String) -> object_store::Result<()> {
    // Without an id it is the request that removes the object.
    if id.is_empty() {
        return Ok(());
    }
    match store.abort_multipart(path, id).await {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        done => done,
    }
}

impl Objects {
    /// Begins an upload. No part was sent if this fails.
    pub(super) async fn begin(&self, path: &Path) -> Result<Upload<'_>> {
        let what = format!("upload of {path}");
        let Some(ByIds(store)) = &self.options.by_ids else {
            let begin = || self.store().put_multipart(path);
            return self.try_often(&what, begin).await.map(Upload::Nameless);
        };
        let store = store.as_ref();
        let mut slot = self.slots.take();
        self.abort_left(store, &mut slot).await;
        let id = self.try_often(&what, || store.create_multipart(path)).await?;
        let folder = self.own_folder();
        let words = path.prefix_match(&folder).into_iter().flatten();
        let words: Vec<_> = words.map(|word| word.as_ref().to_owned()).collect();
        let named = Named { object: words.join("/"), id: id.clone() };
        // A store without ids drops what is not ended by itself.
        let is_named = !id.is_empty();
        if is_named && let Some(forgotten) = slot.begun(named) {
            tracing::warn!(upload = ?forgotten, "an upload cannot be aborted, and is forgotten");
        }
        let recorded = if is_named { self.record(&mut slot).await } else { Ok(()) };
        let (path, parts) = (path.clone(), Vec::new());
        let mut upload = Upload::Recorded(Recorded { store, path, id, parts, slot });
        if let Err(error) = recorded {
            self.abort(&mut upload).await;
            return Err(error);
        }
        Ok(upload)
    }

    /// Aborts an upload that failed; what cannot be aborted now is aborted before the next one in its
    /// slot.
    pub(super) async fn abort(&self, upload: &mut Upload<'_>) {
        let aborted = self.env.timeout(self.options.call_max, upload.abort()).await;
        tracing::debug!(?aborted, "an upload failed");
    }

    /// Removes the records of uploads that have ended. What cannot be removed is left to the next
    /// call, and in the end to the sweep of gateways.
    pub(crate) async fn forget_uploads(&self) {
        let Some(ByIds(store)) = &self.options.by_ids else { return };
        for mut slot in self.slots.idle() {
            self.abort_left(store.as_ref(), &mut slot).await;
            if !slot.open.is_empty() {
                continue;
            }
            let (path, before) = (self.record_path(slot.number), slot.doubtful);
            slot.doubtful = true;
            let delete = self.store().delete(&path);
            match self.env.timeout(self.options.call_max, delete).await {
                Some(Ok(()) | Err(object_store::Error::NotFound { .. })) => {
                    slot.doubtful = before;
                    slot.removed();
                }
                failed => tracing::debug!(%path, ?failed, "the record of an upload is left"),
            }
        }
    }

    async fn abort_left(&self, store: &dyn MultipartStore, slot: &mut Slot<'_>) {
        for Named { object, id } in slot.open.clone() {
            let path: Path =
                object.split('/').fold(self.own_folder(), |path, word| path.join(word));
            let aborted = abort(store, &path, &id);
            match self.env.timeout(self.options.call_max, aborted).await {
                Some(Ok(())) => slot.ended(&id),
                failed => tracing::debug!(%path, ?failed, "an upload is still not aborted"),
            }
        }
    }

    /// Has the slot's record name all that may be open in it.
    async fn record(&self, slot: &mut Slot<'_>) -> Result<()> {
        let record = UploadRecord { uploads: slot.open.clone() };
        let (path, payload) = (self.record_path(slot.number), PutPayload::from(record.to_bytes()?));
        let calls = AtomicU32::new(0);
        let put = || {
            calls.fetch_add(1, Relaxed);
            self.store().put(&path, payload.clone())
        };
        (slot.recorded, slot.doubtful) = (true, true);
        self.try_often(&format!("put of {path}"), put).await?;
        // One that was given up may arrive yet, and would lie over the record of a later upload.
        slot.doubtful = calls.load(Relaxed) > 1;
        Ok(())
    }

    fn record_path(&self, slot: u32) -> Path {
        self.own_folder().join(FOLDER).join(slot.to_string())
    }
}
