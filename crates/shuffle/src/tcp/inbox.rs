//! The blocks of one read that have come and wait for their reader.

use std::collections::VecDeque;

use dunlin_base::Result;
use dunlin_proto::block::Block;
use dunlin_proto::wire::blocks_size;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::fault::Fault;
use super::window::Window;

/// Filled by the task of the connection, which never waits; emptied by the reader. Its size is
/// bounded by the window.
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    window: Window,
    opened: bool,
    blocks: VecDeque<Block>,
    ended: Option<Result<(), Fault>>,
}

/// What a reader finds.
pub(super) enum Found {
    /// The next blocks, at least one.
    Blocks(VecDeque<Block>),
    /// Nothing yet: see [`Inbox::changed`].
    Nothing,
    /// No more blocks, as it should be.
    End,
    /// No more blocks, for this reason.
    Failed(Fault),
}

impl Inbox {
    pub(super) fn new(window: u64) -> Self {
        let window = Window::new(window);
        let state = State { window, opened: false, blocks: VecDeque::new(), ended: None };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    pub(super) fn open(&self) {
        self.state.lock().opened = true;
        self.changed.notify_one();
    }

    /// `Invalid` if the worker sends more than was granted.
    pub(super) fn add(&self, blocks: Vec<Block>) -> Result<()> {
        let mut state = self.state.lock();
        state.window.receive(blocks_size(&blocks))?;
        state.blocks.extend(blocks);
        self.changed.notify_one();
        Ok(())
    }

    pub(super) fn want(&self, bytes: u64) {
        self.state.lock().window.want(bytes);
        self.changed.notify_one();
    }

    /// The first end counts.
    pub(super) fn end(&self, outcome: Result<(), Fault>) {
        self.state.lock().ended.get_or_insert(outcome);
        self.changed.notify_one();
    }

    /// Takes all blocks that are there. They stay part of the window until they are consumed.
    pub(super) fn take(&self) -> Found {
        let mut state = self.state.lock();
        if !state.blocks.is_empty() {
            return Found::Blocks(std::mem::take(&mut state.blocks));
        }
        match &state.ended {
            Some(Ok(())) => Found::End,
            Some(Err(fault)) => Found::Failed(fault.clone()),
            None => Found::Nothing,
        }
    }

    /// So many bytes of blocks that were taken are consumed. Says how much credit is to be granted.
    pub(super) fn consume(&self, bytes: u64) -> u64 {
        let mut state = self.state.lock();
        state.window.consume(bytes);
        if state.ended.is_none() { state.window.grant() } else { 0 }
    }

    /// Returns when the read has begun, or with the reason why it did not. For one waiter.
    pub(super) async fn opened(&self) -> Result<(), Fault> {
        loop {
            {
                let state = self.state.lock();
                match &state.ended {
                    Some(Err(fault)) if !state.opened => return Err(fault.clone()),
                    Some(_) => return Ok(()),
                    None if state.opened => return Ok(()),
                    None => {}
                }
            }
            self.changed.notified().await;
        }
    }

    /// Returns when something came since the last call returned. For one waiter.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}
