//! What an executor sends and receives: frames, markers, what is asked for, what is promised.

use dunlin_streaming::home::{Frame, Marker};
use dunlin_streaming::id::{Mb, SlotId};
use dunlin_streaming::slot::Kind;

use super::super::rows::sum_of;
use super::super::setup::Mutation;
use super::super::wire::Message;
use super::super::world::World;
use super::{Executor, Owned};

/// A home that has not moved for so long asks, in microseconds.
const ASK_US: u64 = 6_000;
/// Mbs that are asked for at once.
const ASK_MBS: u64 = 16;

impl Executor {
    /// Sends an mb to the homes of all receivers, where they are now.
    pub(super) fn push(&self, owned: &Owned, mb: Mb, world: &mut World) {
        for to in world.setup.clone().job.downstream(owned.slot) {
            let epoch = self.calendar.epoch_of(mb);
            let record = self.view.record(to);
            if let Some(holding) = record.zip(epoch).and_then(|(r, epoch)| r.covering(epoch)) {
                send_mb(owned, mb, to, holding.owner, world);
            }
        }
    }

    pub(super) fn receive(&mut self, message: Message, world: &mut World) {
        match message {
            Message::Frame(to, frame) => {
                for owned in self.owned.values_mut().filter(|owned| owned.slot == to) {
                    if let Some(home) = &mut owned.home {
                        home.frame(frame.clone());
                    }
                }
            }
            Message::Marker(to, marker) => self.receive_marker(to, &marker, world),
            Message::Ask { mb, from, to, at } => {
                for owned in self.owned.values_mut().filter(|owned| owned.slot == from) {
                    if owned.ring.contains_key(&mb) {
                        send_mb(owned, mb, to, at, world);
                    } else if owned.kind == Kind::Source {
                        owned.poked = owned.poked.max(mb);
                    }
                }
            }
            Message::Poke { mb, slot } => {
                for owned in self.owned.values_mut().filter(|owned| owned.slot == slot) {
                    owned.poked = owned.poked.max(mb);
                }
            }
            Message::PinsAsk { source, term, home, home_term, at } => {
                let owned = self.owned.get_mut(&(home, home_term));
                let Some(asked) = owned.and_then(|owned| owned.home.as_mut()) else { return };
                let cuts = if world.setup.breaks(Mutation::NoPromise) {
                    Some(asked.merged_of(source))
                } else {
                    asked.promise(source, term)
                };
                if let Some(cuts) = cuts {
                    world.note(|| {
                        format!(
                            "{} tells for {home}.{home_term} of {source}.{term} {cuts:?}",
                            self.id
                        )
                    });
                    world.send(at, Message::PinsAnswer { source, term, home, home_term, cuts });
                }
            }
            Message::PinsAnswer { source, term, home, home_term, cuts } => {
                let cuts = if world.setup.breaks(Mutation::NoPins) { Vec::new() } else { cuts };
                let owned = self.owned.get_mut(&(source, term));
                let Some(gather) = owned.and_then(|owned| owned.gather.as_mut()) else { return };
                if let Err(error) = gather.answer(home, home_term, cuts) {
                    world.complain(format!("T5: {error}"));
                }
            }
        }
    }

    fn receive_marker(&mut self, to: SlotId, marker: &Marker, world: &mut World) {
        for owned in self.owned.values_mut().filter(|owned| owned.slot == to) {
            let Some(home) = &mut owned.home else { continue };
            let mut marker = marker.clone();
            for (source, of) in &mut marker.cuts {
                let latest = self.view.record(*source).map_or(of.term, |r| r.latest().term);
                if world.setup.breaks(Mutation::TermsOfCutsIgnored) {
                    of.term = latest.max(of.term);
                }
            }
            home.marker(marker);
        }
    }

    /// Asks for what homes lack, and pokes sources that lag.
    pub(super) fn ask(&mut self, world: &mut World) {
        let mut messages = Vec::new();
        for owned in self.owned.values_mut() {
            let now = world.now_us;
            let Some(home) = &owned.home else { continue };
            if now < owned.asked_us.max(owned.moved_us) + ASK_US {
                continue;
            }
            owned.asked_us = now;
            let asks = home.ask(ASK_MBS).into_iter().map(|ask| (ask, false));
            let pokes = home.pokes().into_iter().map(|poke| (poke, true));
            for (wish, poke) in asks.chain(pokes) {
                let Some(epoch) = self.calendar.epoch_of(wish.mb) else { continue };
                let Some(record) = self.view.record(wish.from) else { continue };
                let Some(holding) = record.covering(epoch) else { continue };
                let message = if poke {
                    Message::Poke { mb: wish.mb, slot: wish.from }
                } else {
                    let (from, to) = (wish.from, owned.slot);
                    Message::Ask { mb: wish.mb, from, to, at: self.id }
                };
                messages.push((holding.owner, message));
            }
        }
        if world.setup.breaks(Mutation::NoAsk) {
            return;
        }
        for (to, message) in messages {
            world.tally.asked += 1;
            world.send(to, message);
        }
    }

    pub(super) fn ask_for_pins(&self, owned: &mut Owned, world: &mut World) {
        let Some(gather) = &owned.gather else { return };
        if world.now_us < owned.asked_us + ASK_US {
            return;
        }
        owned.asked_us = world.now_us;
        for (home, home_term) in gather.ask() {
            let Some(record) = self.view.record(home) else { continue };
            let (source, term, at) = (owned.slot, owned.life.term(), self.id);
            let message = Message::PinsAsk { source, term, home, home_term, at };
            world.send(record.latest().owner, message);
        }
    }
}

/// Sends everything of an mb for one receiver.
fn send_mb(owned: &Owned, mb: Mb, to: SlotId, at: dunlin_base::ProcessId, world: &mut World) {
    let Some((output, cuts)) = owned.ring.get(&mb) else { return };
    let bodies = output.to.get(&to).map_or(&[][..], Vec::as_slice);
    let term = owned.life.term();
    let mut marker = Marker {
        from: owned.slot,
        term,
        mb,
        frames: bodies.len() as u32,
        rows: 0,
        checksum: 0,
        watermark: output.watermark,
        idle: output.idle,
        cuts: cuts.clone(),
    };
    for (sequence, body) in (0..).zip(bodies) {
        let (rows, checksum) = (body.len() as u64, sum_of(body));
        marker.rows += rows;
        marker.checksum = marker.checksum.wrapping_add(checksum);
        let body = body.clone();
        let frame = Frame { from: owned.slot, term, mb, sequence, rows, checksum, body };
        world.send(at, Message::Frame(to, frame));
    }
    world.send(at, Message::Marker(to, marker));
}
