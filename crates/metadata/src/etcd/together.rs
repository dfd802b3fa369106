//! Transactions that wait at the same time go to etcd together.
//!
//! What a transaction costs etcd is mostly that it is a call: a message through its one loop, an
//! entry of its log, a sync. Those of one process that nothing connects are put into one as nested
//! transactions, each of which is judged by itself. While less than [`FLIGHTS`] calls are under way
//! none waits for others; under load the calls carry more instead of becoming more.
//!
//! They happen at one revision, which nobody can tell from any order of them, because they neither
//! write nor compare what another one of them writes: etcd judges all conditions before it changes
//! anything, and refuses a call that writes a key twice. What binds a key to a lease goes alone, since
//! the revision at which a card came into being is a name for its owner.

use std::collections::VecDeque;
use std::time::Duration;

use dunlin_base::{Error, Kind, Result};
use etcd_client::KvClient;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use super::calls::{CALL_TIMEOUT, Calls};
use super::convert::Root;
use crate::store::{Compare, Op, TXN_LEN_MAX, TXN_OPS_MAX, Txn, TxnOutcome};

/// Calls under way at once.
const FLIGHTS: usize = 2;

/// Most transactions in a call. etcd counts them, too, against what each may hold.
const TOGETHER_MAX: usize = 16;

/// A transaction that waits.
pub(super) struct Job {
    txn: Txn,
    answer: oneshot::Sender<Result<TxnOutcome>>,
}

/// Longest wait for an answer, behind others included.
const WAIT_MAX: Duration = CALL_TIMEOUT.saturating_mul(2);

/// Where transactions are sent to.
#[derive(Clone)]
pub(super) struct Sender {
    jobs: mpsc::UnboundedSender<Job>,
    calls: Calls,
}

impl Sender {
    /// Sends one within its limits and waits for what becomes of it. Dropping the future leaves
    /// that open.
    pub(super) async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        let (answer, answered) = oneshot::channel();
        let gone = || Error::retry("the connection to etcd is closed");
        self.jobs.send(Job { txn, answer }).map_err(|_| gone())?;
        match self.calls.env().timeout(WAIT_MAX, answered).await {
            Some(answer) => answer.map_err(|_| gone())?,
            None => Err(self.calls.no_answer("txn", WAIT_MAX)),
        }
    }
}

/// Starts to take transactions, until all senders are gone.
pub(super) fn start(calls: Calls, root: Root, kv: KvClient) -> Sender {
    let (sender, jobs) = mpsc::unbounded_channel();
    let env = calls.env().clone();
    env.spawn("metadata-txns", run(Line { calls: calls.clone(), root, kv }, jobs));
    Sender { jobs: sender, calls }
}

struct Line {
    calls: Calls,
    root: Root,
    kv: KvClient,
}

async fn run(line: Line, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let mut waiting = VecDeque::new();
    let mut flights = FuturesUnordered::new();
    let mut open = true;
    loop {
        while flights.len() < FLIGHTS && !waiting.is_empty() {
            flights.push(line.send(gather(&mut waiting)));
        }
        tokio::select! {
            biased;
            job = jobs.recv(), if open => match job {
                Some(job) => {
                    waiting.push_back(job);
                    while let Ok(job) = jobs.try_recv() {
                        waiting.push_back(job);
                    }
                }
                None => open = false,
            },
            Some(()) = flights.next(), if !flights.is_empty() => {}
            else => return,
        }
    }
}

impl Line {
    /// Sends what was gathered, and answers.
    async fn send(&self, mut jobs: Vec<Job>) {
        if jobs.len() > 1 {
            let txns = jobs.iter().map(|job| job.txn.clone()).collect();
            let txn = self.root.together(txns);
            let called = self.calls.call("txn", self.kv.clone().txn(txn)).await;
            match called.and_then(|response| self.root.outcomes(&response, jobs.len())) {
                Ok(outcomes) => {
                    for (job, outcome) in jobs.into_iter().zip(outcomes) {
                        let _ = job.answer.send(Ok(outcome));
                    }
                    return;
                }
                Err(error) if error.kind() == Kind::Retry => {
                    for job in jobs {
                        let _ = job.answer.send(Err(error.clone()));
                    }
                    return;
                }
                // Refused, so nothing has happened: the error is that of one of them.
                Err(_) => {}
            }
        }
        for job in jobs.drain(..) {
            let txn = self.root.txn(job.txn);
            let called = self.calls.call("txn", self.kv.clone().txn(txn)).await;
            let _ = job.answer.send(called.and_then(|response| self.root.outcome(&response)));
        }
    }
}

/// Takes the first that waits, and those behind it that may go with it. Who does not wait any more
/// is left out.
fn gather(waiting: &mut VecDeque<Job>) -> Vec<Job> {
    waiting.retain(|job| !job.answer.is_closed());
    let mut taken = Vec::new();
    let mut touched = Vec::new();
    let mut bytes = 0;
    let mut behind = VecDeque::new();
    while let Some(job) = waiting.pop_front() {
        let touch = Touched::by(&job.txn);
        let fits = taken.is_empty()
            || (taken.len() < TOGETHER_MAX
                && !touch.alone
                && bytes + touch.bytes <= TXN_LEN_MAX
                && touched.iter().all(|other: &Touched| other.is_independent_of(&touch)));
        if !fits {
            behind.push_back(job);
            continue;
        }
        let alone = touch.alone;
        bytes += touch.bytes;
        touched.push(touch);
        taken.push(job);
        if alone {
            break;
        }
    }
    behind.append(waiting);
    *waiting = behind;
    taken
}

/// What a transaction writes and looks at.
#[derive(Debug, Default)]
struct Touched {
    written: Vec<Keys>,
    compared: Vec<Keys>,
    ops: usize,
    bytes: usize,
    /// It goes in a call of its own.
    alone: bool,
}

/// One key, or all that begin with a prefix.
#[derive(Clone, Debug)]
enum Keys {
    One(String),
    Below(String),
}

impl Keys {
    fn meet(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::One(a), Self::One(b)) => a == b,
            (Self::Below(prefix), Self::One(key)) | (Self::One(key), Self::Below(prefix)) => {
                key.starts_with(prefix.as_str())
            }
            (Self::Below(a), Self::Below(b)) => {
                a.starts_with(b.as_str()) || b.starts_with(a.as_str())
            }
        }
    }
}

impl Touched {
    fn by(txn: &Txn) -> Self {
        let mut this = Self { ops: txn.ops.len().max(txn.compares.len()), ..Self::default() };
        for compare in &txn.compares {
            this.bytes += compare.key().len();
            this.compared.push(match compare {
                Compare::Unwritten(prefix, _) => Keys::Below(prefix.clone()),
                other => Keys::One(other.key().clone()),
            });
        }
        for op in &txn.ops {
            this.alone |= matches!(op, Op::Put(_, _, Some(_)));
            let (keys, bytes) = match op {
                Op::Put(key, value, _) => (Keys::One(key.clone()), key.len() + value.len()),
                Op::Delete(key) => (Keys::One(key.clone()), key.len()),
                Op::DeletePrefix(prefix) => (Keys::Below(prefix.clone()), prefix.len()),
            };
            this.bytes += bytes;
            this.written.push(keys);
        }
        this.alone |= this.ops > TXN_OPS_MAX - TOGETHER_MAX;
        this
    }

    /// Neither writes what the other writes or compares.
    fn is_independent_of(&self, other: &Self) -> bool {
        let meet = |a: &[Keys], b: &[Keys]| a.iter().any(|a| b.iter().any(|b| a.meet(b)));
        !meet(&self.written, &other.written)
            && !meet(&self.written, &other.compared)
            && !meet(&self.compared, &other.written)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dunlin_base::{LeaseId, Revision};

    use super::*;

    fn put(key: &str) -> Op {
        Op::Put(key.into(), Bytes::from_static(b"value"), None)
    }

    fn txn(compares: Vec<Compare>, ops: Vec<Op>) -> Txn {
        Txn { compares, ops, ..Txn::default() }
    }

    /// The places of those that go first, of transactions that all wait.
    fn first(txns: &[Txn]) -> (Vec<usize>, usize) {
        let mut answered = Vec::new();
        let mut waiting = VecDeque::new();
        for txn in txns {
            let (answer, receiver) = oneshot::channel();
            answered.push(receiver);
            waiting.push_back(Job { txn: txn.clone(), answer });
        }
        let place = |job: &Job| txns.iter().position(|txn| *txn == job.txn).expect("one of them");
        let taken = gather(&mut waiting);
        (taken.iter().map(place).collect(), waiting.len())
    }

    #[test]
    fn what_nothing_connects_goes_together() {
        let absent = |key: &str| Compare::Absent(key.into());
        let card = Compare::Created("exec/1".into(), Revision(7));
        let txns = [
            txn(vec![absent("q/1"), card.clone()], vec![put("q/1"), put("live/1")]),
            txn(vec![absent("q/2"), card.clone()], vec![put("q/2")]),
            // Writes what the first writes; compares what the first writes; deletes over it.
            txn(vec![absent("q/3")], vec![put("live/1")]),
            txn(vec![absent("live/1")], vec![put("q/4")]),
            txn(vec![], vec![Op::DeletePrefix("live/".into())]),
            txn(vec![Compare::Unwritten("q/".into(), Revision(3))], vec![put("x")]),
            // Writes what the first compares.
            txn(vec![], vec![Op::Delete("exec/1".into())]),
            txn(vec![card], vec![put("q/5")]),
        ];
        assert_eq!(first(&txns), (vec![0, 1, 7], 5));
        assert_eq!(first(&txns[4..]), (vec![0, 1, 2], 1));
    }

    #[test]
    fn calls_keep_the_limits_of_etcd() {
        let many: Vec<Txn> = (0..40).map(|i| txn(vec![], vec![put(&format!("k/{i}"))])).collect();
        assert_eq!(first(&many).0.len(), TOGETHER_MAX);
        let wide = txn(vec![], (0..TXN_OPS_MAX).map(|i| put(&format!("w/{i}"))).collect());
        assert_eq!(first(&[wide.clone(), many[0].clone()]).0, [0]);
        assert_eq!(first(&[many[0].clone(), wide, many[1].clone()]).0, [0, 2]);
        let long = |key: &str| {
            let value = Bytes::from(vec![0; TXN_LEN_MAX / 2]);
            txn(vec![], vec![Op::Put(key.into(), value, None)])
        };
        assert_eq!(first(&[long("a"), long("b"), many[0].clone()]).0, [0, 2]);
        let card = txn(vec![], vec![Op::Put("exec/1".into(), Bytes::new(), Some(LeaseId(1)))]);
        assert_eq!(first(&[card.clone(), many[0].clone()]).0, [0]);
        assert_eq!(first(&[many[0].clone(), card, many[1].clone()]).0, [0, 2]);
    }

    #[test]
    fn who_does_not_wait_is_left_out() {
        let (answer, gone) = oneshot::channel();
        let mut waiting = VecDeque::from([Job { txn: Txn::default(), answer }]);
        drop(gone);
        assert!(gather(&mut waiting).is_empty() && waiting.is_empty());
    }
}
