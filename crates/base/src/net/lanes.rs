//! What waits in an [`Outbox`](super::Outbox), and who writes: a state without I/O, behind the lock
//! of the outbox.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::{Pieces, Writer};
use crate::{Error, Result};

/// Small things are joined into one write up to this many.
const JOINED_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Lanes {
    /// The writer, unless somebody writes or nobody may yet.
    writer: Option<Writer>,
    /// The rest of what was begun past the loop: before all else.
    begun: Option<VecDeque<Bytes>>,
    pub(super) posts: VecDeque<Pieces>,
    pub(super) bulk: VecDeque<(Pieces, OwnedSemaphorePermit)>,
    pub(super) last: Option<Pieces>,
    /// Why a write past the loop failed.
    failed: Option<Error>,
    pub(super) closed: bool,
}

pub(super) enum Next {
    Some(VecDeque<Bytes>, Option<OwnedSemaphorePermit>),
    Last(Pieces),
}

impl Lanes {
    /// Nothing waits any more, and nobody writes.
    pub(super) fn closed() -> Self {
        Self { closed: true, ..Self::default() }
    }

    /// True while something may be added.
    pub(super) fn is_open(&self) -> bool {
        !self.closed && self.last.is_none()
    }

    /// The writer, to write something at once: only if nothing is before it. To be given back by
    /// [`Lanes::put_back`].
    pub(super) fn writer_at_once(&mut self) -> Option<Writer> {
        let nothing = self.begun.is_none() && self.posts.is_empty() && self.bulk.is_empty();
        if nothing && self.is_open() { self.writer.take() } else { None }
    }

    /// The writer, when nothing waits that is due: for a ping.
    pub(super) fn writer(&mut self) -> Option<Writer> {
        self.writer.take()
    }

    /// Writing has ended, with this left of it if it was not all. True if there is more to do.
    pub(super) fn put_back(
        &mut self,
        writer: Writer,
        outcome: Result<Option<VecDeque<Bytes>>>,
    ) -> bool {
        if self.closed {
            return true;
        }
        self.writer = Some(writer);
        match outcome {
            Ok(rest) => self.begun = rest,
            Err(error) => self.failed = Some(error),
        }
        let nothing = self.begun.is_none() && self.posts.is_empty() && self.bulk.is_empty();
        !nothing || self.last.is_some() || self.failed.is_some()
    }

    /// What to write next, and with what; nothing while another writes.
    pub(super) fn take(&mut self) -> Result<Option<(Writer, Next)>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.closed {
            return Err(Error::retry("the peer does not read what it asks for"));
        }
        let Some(writer) = self.writer.take() else { return Ok(None) };
        let Some(next) = self.next() else {
            self.writer = Some(writer);
            return Ok(None);
        };
        Ok(Some((writer, next)))
    }

    fn next(&mut self) -> Option<Next> {
        if let Some(rest) = self.begun.take() {
            return Some(Next::Some(rest, None));
        }
        if !self.posts.is_empty() {
            let count = self.posts.len().min(JOINED_MAX);
            return Some(Next::Some(self.posts.drain(..count).flatten().collect(), None));
        }
        if let Some(last) = &self.last {
            return Some(Next::Last(last.clone()));
        }
        let (pieces, permit) = self.bulk.pop_front()?;
        Some(Next::Some(pieces.into(), Some(permit)))
    }
}
