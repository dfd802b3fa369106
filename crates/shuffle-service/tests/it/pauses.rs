//! Pushes that wait say so: to who asked for it, in this process or through a door, and to nobody else.

use async_trait::async_trait;
use dunlin_base::{Kind, ProcessId};
use dunlin_proto::shuffle::{
    Ack, BlockStream, Durability, Hear, Peers, Push, Pushed, Refusal, Wait,
};
use dunlin_proto::wire::{Answer, Ask, Hears, Message, RequestId};
use dunlin_shuffle::{TcpOptions, TcpWorkers, Workers};
use dunlin_shuffle_service::{Door, DoorOptions};
use parking_lot::Mutex;

use super::bed::{Bed, LONG, Over, local, me, open, soon, until, workers_at};
use super::moody::Ward;
use super::odd::Odd;
use super::waits::{LIMIT, above_a_disk_that_hangs, of_query};
use super::wire::{Puppet, Raw};
use super::*;

/// What was said.
#[derive(Default)]
struct Words(Mutex<Vec<Wait>>);

impl Words {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn all(&self) -> Vec<Wait> {
        self.0.lock().clone()
    }
}

impl Hear for Words {
    fn waits(&self, why: Wait) {
        self.0.lock().push(why);
    }
}

/// A push that has to wait where [`above_a_disk_that_hangs`] is.
fn large() -> Push {
    Push::plain(of_query(1, 1, 20_000))
}

fn is_stored(answer: &Result<Pushed>) -> bool {
    matches!(answer, Ok(Pushed::Stored(_)))
}

#[tokio::test]
async fn a_push_that_waits_for_memory_says_so_and_is_stored_when_there_is_some() {
    for over in [Over::Process, Over::Tcp] {
        let ward = above_a_disk_that_hangs(1).await;
        let bed = Bed::around(over, Arc::clone(&ward.worker)).await;
        let words = Words::new();
        let push = bed.api.store_heard(large(), Arc::clone(&words) as _);
        let healing = async {
            until("a word", || !words.all().is_empty()).await;
            let stats = ward.worker.stats();
            assert_eq!((stats.waiting, stats.paused), (1, 1), "{over:?}");
            ward.moods[0].stall(false);
        };
        let (answer, ()) = soon("the push", async { tokio::join!(push, healing) }).await;
        assert!(is_stored(&answer), "{over:?}: {answer:?}");
        assert!(words.all().iter().all(|why| *why == Wait::Memory), "{over:?}");
        let stats = ward.worker.stats();
        assert_eq!((stats.waiting, stats.paused), (0, 1), "{over:?}");
        let words = Words::new();
        let small = Push::plain(of_query(1, 2, 10));
        assert!(is_stored(&bed.api.store_heard(small, Arc::clone(&words) as _).await));
        assert_eq!(words.all(), [], "{over:?}: it did not wait");
    }
}

#[tokio::test]
async fn a_client_hears_of_a_wait_only_if_it_says_that_it_understands_that() {
    for hears in [Hears::Ends, Hears::Pushed, Hears::Waiting] {
        let ward = above_a_disk_that_hangs(1).await;
        let door = open(Arc::clone(&ward.worker) as _, local()).await;
        let (mut raw, _) = Raw::greeted(&door.address().to_string()).await;
        raw.say(&Message::Ask(RequestId(5), Ask::Push(large(), hears))).await.expect("open");
        until("the time for a word", || ward.worker.stats().paused == 1).await;
        if hears == Hears::Waiting {
            let word = soon("a word", raw.hear()).await.expect("open");
            let said = matches!(word, Message::Answer(RequestId(5), Answer::Waiting(Wait::Memory)));
            assert!(said, "{word:?}");
        }
        ward.moods[0].stall(false);
        let answer = loop {
            match soon("the end", raw.hear()).await.expect("open") {
                Message::Answer(_, Answer::Waiting(_)) if hears == Hears::Waiting => {}
                answer => break answer,
            }
        };
        let Message::Answer(RequestId(5), answer) = answer else { panic!("{hears:?}: {answer:?}") };
        let end = match hears {
            Hears::Ends => matches!(answer, Answer::Done),
            _ => matches!(answer, Answer::Pushed(Pushed::Stored(_))),
        };
        assert!(end, "{hears:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_push_that_waits_for_room_says_so_before_its_bodies_are_received() {
    let puppet = Puppet::new(0);
    let options = DoorOptions { door_bytes_max: ByteCount(50_000), ..local() };
    let door = open(Arc::clone(&puppet) as _, options).await;
    let address = door.address().to_string();
    let clients = [0, 1].map(|_| workers_at(&address, TcpOptions::default()));
    let apis = clients.each_ref().map(|workers| workers.connect(me()).expect("known"));
    let push = |batch| Push::plain(vec![block(1, attempt(0, 0), batch, 40_000)]);
    let first = apis[0].store(push(0));
    let words = Words::new();
    let second = async {
        until("the first", || puppet.waiting() == 1).await;
        apis[1].store_heard(push(1), Arc::clone(&words) as _).await
    };
    let letting = async {
        until("a word", || !words.all().is_empty()).await;
        assert_eq!((door.stats().waiting, door.stats().paused), (1, 1));
        // One of an older build, behind it.
        let (mut raw, _) = Raw::greeted(&address).await;
        let ask = Ask::Push(push(2), Hears::Pushed);
        raw.say(&Message::Ask(RequestId(1), ask)).await.expect("open");
        until("the time for a word", || door.stats().paused == 2).await;
        puppet.gate.add_permits(3);
        let answer = soon("the end", raw.hear()).await.expect("open");
        assert!(matches!(answer, Message::Answer(_, Answer::Pushed(_))), "{answer:?}");
    };
    let all = async { tokio::join!(first, second, letting) };
    let (first, second, ()) = soon("the pushes", all).await;
    assert!(is_stored(&first) && is_stored(&second));
    assert!(words.all().iter().all(|why| *why == Wait::Room), "{:?}", words.all());
    assert_eq!((door.stats().waiting, door.stats().broken_rules), (0, 0));
}

struct Others(TcpWorkers);

impl Peers for Others {
    fn peer(&self, id: ProcessId) -> Result<Arc<dyn ShuffleApi>> {
        self.0.connect(id)
    }
}

/// A worker with room, its door, and a full one behind another door as its peer.
async fn beside_a_full_peer(peer_wait: Duration) -> (Bed, Ward, Door) {
    let full = above_a_disk_that_hangs(1).await;
    let there = open(Arc::clone(&full.worker) as _, local()).await;
    let options = Options { peer_wait, ..Options::new(ByteCount(LIMIT)) };
    let worker = ShuffleWorker::new(options, Env::seeded(1)).expect("no folder to fail");
    worker.set_peers(Arc::new(Others(workers_at(
        &there.address().to_string(),
        TcpOptions::default(),
    ))));
    (Bed::around(Over::Tcp, worker).await, full, there)
}

#[tokio::test]
async fn what_a_peer_says_of_its_copy_is_passed_on() {
    let (bed, full, _there) = beside_a_full_peer(LONG).await;
    let words = Words::new();
    let both = Push { peer: Some(me()), ..large() };
    let push = bed.api.store_heard(both, Arc::clone(&words) as _);
    let healing = async {
        until("a word", || !words.all().is_empty()).await;
        assert_eq!(bed.worker.stats().waiting, 0, "here it does not wait");
        assert_eq!(full.worker.stats().waiting, 1);
        full.moods[0].stall(false);
    };
    let (answer, ()) = soon("the push", async { tokio::join!(push, healing) }).await;
    let Ok(Pushed::Stored(ack)) = &answer else { panic!("{answer:?}") };
    assert_eq!(ack.durability, Durability::Twice);
    assert!(words.all().iter().all(|why| *why == Wait::Peer), "{:?}", words.all());
    let words = Words::new();
    let small = Push { peer: Some(me()), ..Push::plain(of_query(1, 2, 10)) };
    assert!(is_stored(&bed.api.store_heard(small, Arc::clone(&words) as _).await));
    assert_eq!(words.all(), []);
}

#[tokio::test]
async fn a_peer_that_waits_for_too_long_is_left_as_any_other() {
    let (bed, full, _there) = beside_a_full_peer(Duration::from_millis(500)).await;
    let words = Words::new();
    let both = Push { peer: Some(me()), ..large() };
    let answer = soon("the push", bed.api.store_heard(both, Arc::clone(&words) as _)).await;
    assert_eq!(answer.expect("an answer"), Pushed::Refused(Refusal::Peer, Vec::new()));
    assert_eq!(words.all(), [Wait::Peer]);
    full.moods[0].stall(false);
}

/// A worker that goes on to speak of a push that it has answered.
#[derive(Default)]
struct Chatty(Mutex<Vec<Arc<dyn Hear>>>);

#[async_trait]
impl ShuffleApi for Chatty {
    async fn push(&self, _: Vec<Block>) -> Result<()> {
        Ok(())
    }

    async fn store_heard(&self, _: Push, hear: Arc<dyn Hear>) -> Result<Pushed> {
        hear.waits(Wait::Memory);
        self.0.lock().push(hear);
        Ok(Pushed::Stored(Ack::PLAIN))
    }

    async fn seal(&self, _: ShuffleId) -> Result<()> {
        self.0.lock().iter().for_each(|hear| hear.waits(Wait::Peer));
        Ok(())
    }

    async fn read(&self, _: ReadRequest) -> Result<BlockStream> {
        Err(Error::lost("nothing is here"))
    }

    async fn discard(&self, _: ShuffleId, _: MapAttempt) -> Result<()> {
        Ok(())
    }

    async fn delete_query(&self, _: QueryId) -> Result<()> {
        Ok(())
    }

    async fn shuffles(&self) -> Result<Vec<ShuffleId>> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn words_about_a_push_that_was_answered_do_not_leave_the_door() {
    let door = open(Arc::new(Chatty::default()) as _, local()).await;
    let workers = workers_at(&door.address().to_string(), TcpOptions::default());
    let api = workers.connect(me()).expect("known");
    let words = Words::new();
    for batch in 0..3 {
        let one = Push::plain(vec![block(1, attempt(0, 0), batch, 10)]);
        assert!(is_stored(&soon("a push", api.store_heard(one, Arc::clone(&words) as _)).await));
        soon("a seal", api.seal(shuffle(1))).await.expect("the connection stands");
    }
    assert_eq!(words.all(), [Wait::Memory; 3]);
    assert_eq!(door.stats().accepted, 1, "the client found nothing wrong");
}

#[tokio::test(start_paused = true)]
async fn a_push_that_waits_to_its_end_says_so_every_few_seconds() {
    let odd = Odd::default();
    odd.0.stalled.store(true, std::sync::atomic::Ordering::SeqCst);
    let options = Options { objects: Some(odd.options()), ..Options::new(ByteCount(LIMIT)) };
    let worker = ShuffleWorker::new(options, Env::seeded(1)).expect("no folder to fail");
    worker.push(of_query(1, 0, 90_000)).await.expect("fits");
    let words = Words::new();
    let ended = worker.store_heard(large(), Arc::clone(&words) as _).await;
    assert_eq!(error(ended).kind(), Kind::Exhausted);
    assert_eq!(words.all(), [Wait::Memory; 10], "after 100 ms, then every 3 s for 30 s");
    let stats = worker.stats();
    assert_eq!((stats.paused, stats.waiting, stats.answers.no_memory), (1, 0, 1));
    odd.heal();
}
