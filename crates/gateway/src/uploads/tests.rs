//! The sweep of uploads over a store that answers for those that it does not know as S3 does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_base::QueryId;
use dunlin_metadata::blob::{Begun, open_objects};
use dunlin_proto::uploads::Upload;
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload, PutResult};

use super::*;

const GRACE: Duration = Duration::from_millis(100);

/// Uploads of a store in memory.
#[derive(Default)]
struct Store {
    memory: Arc<InMemory>,
    open: Mutex<BTreeMap<String, Path>>,
    ill: AtomicBool,
}

#[async_trait]
impl MultipartStore for Store {
    async fn create_multipart(&self, at: &Path) -> object_store::Result<String> {
        let id = self.memory.create_multipart(at).await?;
        self.open.lock().insert(id.clone(), at.clone());
        Ok(id)
    }

    async fn put_part(
        &self,
        at: &Path,
        id: &String,
        number: usize,
        part: PutPayload,
    ) -> object_store::Result<PartId> {
        self.memory.put_part(at, id, number, part).await
    }

    async fn complete_multipart(
        &self,
        at: &Path,
        id: &String,
        parts: Vec<PartId>,
    ) -> object_store::Result<PutResult> {
        self.open.lock().remove(id);
        self.memory.complete_multipart(at, id, parts).await
    }

    async fn abort_multipart(&self, at: &Path, id: &String) -> object_store::Result<()> {
        if self.ill.load(SeqCst) {
            return Err(object_store::Error::Generic { store: "ill", source: "503".into() });
        }
        let found = self.open.lock().get(id) == Some(at);
        if !found {
            let (path, source) = (at.to_string(), "NoSuchUpload".into());
            return Err(object_store::Error::NotFound { path, source });
        }
        self.open.lock().remove(id);
        self.memory.abort_multipart(at, id).await
    }
}

struct Bed {
    store: Arc<Store>,
    place: ObjectPlace,
    env: Env,
    uploads: Uploads,
}

impl Bed {
    fn new() -> Self {
        let (store, env) = (Arc::new(Store::default()), Env::real(None));
        let begun = Begun::Ids(Arc::clone(&store) as _);
        let place =
            ObjectPlace { store: Arc::clone(&store.memory) as _, root: Path::from("below"), begun };
        let uploads = Uploads::new(&place, &env, GRACE);
        Self { store, place, env, uploads }
    }

    /// Begins the upload of an object of a worker and sends a part. Returns what a record says of it.
    async fn begin(&self, worker: &str, number: u32) -> Upload {
        let object = format!("{}/1.0.0.{number}", QueryId::from_u128(7));
        let at = Path::from(format!("below/shuffle/{worker}/{object}"));
        let id = self.store.create_multipart(&at).await.expect("in memory");
        self.store.put_part(&at, &id, 0, "part".into()).await.expect("in memory");
        Upload { object, id }
    }

    async fn complete(&self, worker: &str, Upload { object, id }: &Upload) -> Path {
        let at = Path::from(format!("below/shuffle/{worker}/{object}"));
        self.store.complete_multipart(&at, id, Vec::new()).await.expect("in memory");
        at
    }

    async fn record(&self, worker: &str, slot: &str, uploads: Vec<Upload>) {
        let bytes = UploadRecord { uploads }.to_bytes().expect("small");
        self.put(worker, slot, bytes.into()).await;
    }

    async fn put(&self, worker: &str, slot: &str, bytes: Bytes) {
        let at = Path::from(format!("below/shuffle/{worker}/uploads/{slot}"));
        self.place.store.put(&at, bytes.into()).await.expect("in memory");
    }

    /// A sweep while these folders have owners.
    async fn sweep(&self, owners: &[&str], now: u64) {
        let owners = owners.iter().map(|&owner| owner.to_owned()).collect();
        let names = self.records().await;
        let left = self.uploads.left(&names).await.expect("listed");
        self.uploads.end_all(&left, &owners, now).await;
    }

    async fn records(&self) -> Vec<String> {
        let names = self.place.blobs(self.env.clone()).list(ROOT).await.expect("in memory");
        names.into_iter().filter(|name| name.contains("/uploads/")).collect()
    }

    fn open(&self) -> Vec<String> {
        self.store.open.lock().keys().cloned().collect()
    }
}

#[tokio::test]
async fn uploads_are_aborted_once_their_worker_had_no_card_for_the_grace() {
    let bed = Bed::new();
    let (dead, alive) = (bed.begin("dead", 0).await, bed.begin("alive", 0).await);
    bed.record("dead", "0", vec![dead.clone()]).await;
    bed.record("alive", "0", vec![alive.clone()]).await;
    bed.sweep(&["alive"], 1000).await;
    bed.sweep(&["alive", "dead"], 1050).await;
    bed.sweep(&["alive"], 1099).await;
    bed.sweep(&["alive"], 1198).await;
    assert_eq!(bed.open().len(), 2, "it had a card in between");
    bed.sweep(&["alive"], 1199).await;
    assert_eq!(bed.open(), [alive.id]);
    assert_eq!(bed.records().await, ["shuffle/alive/uploads/0"]);
    bed.sweep(&["alive"], 5000).await;
    assert_eq!(bed.records().await, ["shuffle/alive/uploads/0"], "the living one is never touched");
}

#[tokio::test]
async fn an_upload_that_was_completed_keeps_its_object_and_one_that_is_gone_is_no_error() {
    let bed = Bed::new();
    let (completed, aborted) = (bed.begin("w", 0).await, bed.begin("w", 1).await);
    let open = bed.begin("w", 2).await;
    let at = bed.complete("w", &completed).await;
    let gone = Path::from(format!("below/shuffle/w/{}", aborted.object));
    bed.store.abort_multipart(&gone, &aborted.id).await.expect("in memory");
    bed.record("w", "1", vec![aborted, completed, open]).await;
    // The slot with a longer number stays whole if the removal of the first one is exact.
    let other = bed.begin("w", 3).await;
    bed.put("w", "10", UploadRecord { uploads: vec![other] }.to_bytes().expect("small").into())
        .await;
    bed.sweep(&[], 1000).await;
    bed.sweep(&[], 1100).await;
    assert_eq!(bed.open(), Vec::<String>::new());
    assert_eq!(bed.records().await, Vec::<String>::new());
    let object = bed.place.store.get(&at).await.expect("it is there").bytes().await;
    assert_eq!(object.expect("in memory"), "part");
}

#[tokio::test]
async fn what_a_worker_began_and_did_not_record_or_send_is_nobodys() {
    let bed = Bed::new();
    // Killed between the begin of an upload and its record.
    let unrecorded = bed.begin("w", 0).await;
    bed.sweep(&[], 1000).await;
    bed.sweep(&[], 2000).await;
    assert_eq!(bed.open(), [unrecorded.id]);
    // Killed between the record and the first part.
    let object = format!("{}/1.0.0.1", QueryId::from_u128(7));
    let at = Path::from(format!("below/shuffle/w/{object}"));
    let id = bed.store.create_multipart(&at).await.expect("in memory");
    bed.record("w", "0", vec![Upload { object, id: id.clone() }]).await;
    bed.sweep(&[], 3000).await;
    bed.sweep(&[], 4000).await;
    assert!(!bed.open().contains(&id));
    assert_eq!(bed.records().await, Vec::<String>::new());
}

#[tokio::test]
async fn records_that_are_damaged_or_too_long_are_left_and_keep_no_other_waiting() {
    let bed = Bed::new();
    let (first, second) = (bed.begin("w", 0).await, bed.begin("w", 1).await);
    let mut bytes = UploadRecord { uploads: vec![first.clone()] }.to_bytes().expect("small");
    *bytes.last_mut().expect("not empty") ^= 1;
    bed.put("w", "0", bytes.into()).await;
    bed.put("w", "1", vec![0; RECORD_LEN_MAX + 1].into()).await;
    bed.record("w", "2", vec![second]).await;
    for now in [1000, 1100, 1200] {
        bed.sweep(&[], now).await;
    }
    assert_eq!(bed.open(), [first.id]);
    assert_eq!(bed.records().await, ["shuffle/w/uploads/0", "shuffle/w/uploads/1"]);
    assert_eq!(bed.uploads.stuck.lock().len(), 2, "each is logged once");
}

#[tokio::test]
async fn a_store_that_fails_during_the_sweep_is_asked_again() {
    let bed = Bed::new();
    let upload = bed.begin("w", 0).await;
    bed.record("w", "0", vec![upload]).await;
    bed.store.ill.store(true, SeqCst);
    bed.sweep(&[], 1000).await;
    bed.sweep(&[], 1100).await;
    assert_eq!((bed.open().len(), bed.records().await.len()), (1, 1), "the record stays");
    bed.store.ill.store(false, SeqCst);
    bed.sweep(&[], 1101).await;
    assert_eq!((bed.open().len(), bed.records().await.len()), (0, 0));
}

#[tokio::test]
async fn unfinished_files_of_dead_workers_go_from_a_local_folder() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let env = Env::real(None);
    let url = dir.path().display().to_string();
    let place = open_objects(&url, &[], env.clone()).await.expect("opened");
    let uploads = Uploads::new(&place, &env, GRACE);
    let mut begun = Vec::new();
    for worker in ["alive", "dead"] {
        let at = Path::from(format!("shuffle/{worker}/{}/1.0.0.0", QueryId::from_u128(7)));
        let mut upload = place.store.put_multipart(&at).await.expect("begun");
        upload.put_part("part".into()).await.expect("a part");
        begun.push((at, upload));
    }
    for now in [1000, 1099, 1100] {
        let left = uploads.left(&[]).await.expect("listed");
        assert_eq!(left.len(), 2);
        uploads.end_all(&left, &["alive".to_owned()].into(), now).await;
    }
    let left = uploads.left(&[]).await.expect("listed");
    assert_eq!(left.into_keys().collect::<Vec<_>>(), ["alive"]);
    let (at, mut upload) = begun.swap_remove(0);
    upload.complete().await.expect("nobody disturbed it");
    place.store.head(&at).await.expect("it is there");
}

#[test]
fn the_folders_of_a_card_that_its_worker_writes_to_are_its_own() {
    let object_folders = vec!["own".to_owned(), "adopted".to_owned()];
    let older = ShuffleStorage { object_folders, ..ShuffleStorage::default() };
    assert_eq!(own_folders(&older), ["own", "adopted"], "an older build does not say");
    let card = ShuffleStorage { object_folder: "own".to_owned(), ..older };
    assert_eq!(own_folders(&card), ["own"]);
}

#[test]
fn records_are_known_by_their_names() {
    assert!(is_record("shuffle/w/uploads/12"));
    for other in
        ["shuffle/w/uploads/", "shuffle/w/uploads/a", "shuffle//uploads/1", "shuffle/w/q/1"]
    {
        assert!(!is_record(other), "{other}");
    }
    assert!(!is_record("shuffle/w/uploads/1/2") && !is_record("q/w/uploads/1"));
}
