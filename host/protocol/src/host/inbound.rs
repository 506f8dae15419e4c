//! Calls on their way in: each runs once, and the calls of one origin run in their order.
//!
//! ```text
//!   Call{epoch, seq} ──► epoch not applied here yet ──► early: looked at when it is
//!                    ──► not of a lane that is here ──► Moved: it did not run
//!                    ──► seq known ──► running: nothing; answered: the same Reply; else Moved
//!                    ──► seq ahead ──► held
//!                    ──► next ──► mailbox, and Running in the lane
//! ```
//!
//! A lane is the calls of one origin under one epoch. Its replies are remembered until the origin has them: also beyond the epoch, and
//! for a while after the shard has moved away, since the last replies may have been lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::activation::{Mail, Place};
use super::schedule::Timer;
use super::shard::Phase;
use super::{Answer, Host};
use crate::CallError;
use crate::cluster::{
    Bounds, Call, Context, Epoch, Instant, Message, Mutant, Peer, Reply, ShardId,
};
use crate::control::ControlState;

/// To whom the answer of a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReplyTo {
    pub(super) origin: Peer,
    pub(super) shard: ShardId,
    pub(super) epoch: Epoch,
    pub(super) seq: u64,
}

/// The lanes of a shard, by origin and epoch.
#[derive(Debug, Default)]
pub(super) struct Lanes(BTreeMap<(Peer, Epoch), Lane>);

/// Calls of one origin to one shard under one epoch.
#[derive(Debug)]
struct Lane {
    /// The next number.
    next: u64,
    /// The lowest that the origin still waits for.
    lowest: u64,
    /// Came before one that they follow.
    held: BTreeMap<u64, (Call, Instant)>,
    /// What was let in: no answer yet, or the answer.
    replies: BTreeMap<u64, Option<Answer>>,
}

/// What is remembered besides the lanes of the shards that are here.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// Calls under epochs that are not applied here yet.
    early: BTreeMap<Epoch, Vec<(Peer, Call, Instant)>>,
    early_calls: usize,
    /// Of shards that have moved away: what their last calls were answered, and until when that is kept.
    departed: BTreeMap<ShardId, (Instant, Lanes)>,
}

/// What a lane says to a call.
enum Verdict {
    /// It is the next one, or there is nothing to be said.
    Silent,
    /// It has an answer.
    Again(Answer),
    /// It did not run here, and will not.
    Moved,
}

impl Lane {
    fn new() -> Self {
        Self {
            next: 1,
            lowest: 1,
            held: BTreeMap::new(),
            replies: BTreeMap::new(),
        }
    }

    /// The origin waits for nothing below this one: gaps there are no gaps any more.
    fn rise(&mut self, lowest: u64) {
        if lowest > self.lowest {
            self.lowest = lowest;
            self.next = self.next.max(lowest);
            self.replies = self.replies.split_off(&lowest);
            self.held = self.held.split_off(&lowest);
        }
    }

    /// What is to be said of a number that has been here.
    fn again(&self, seq: u64) -> Verdict {
        match self.replies.get(&seq) {
            Some(Some(answer)) => Verdict::Again(answer.clone()),
            Some(None) => Verdict::Silent,
            None if seq < self.lowest => Verdict::Silent,
            None => Verdict::Moved,
        }
    }

    /// Takes a call in, unless it is too far ahead or too many are not answered.
    fn hold(&mut self, call: &Call, deadline: Instant, bounds: &Bounds) {
        let ahead = call.seq - self.next;
        let near = ahead < bounds.in_flight_max as u64;
        if near && self.held.len() < bounds.in_flight_max {
            self.held.insert(call.seq, (call.clone(), deadline));
        }
    }

    /// The call that is to be looked at next.
    fn pop(&mut self, bounds: &Bounds) -> Option<(Call, Instant)> {
        if self.replies.len() >= bounds.replies_max {
            return None;
        }
        let call = self.held.remove(&self.next)?;
        self.next = self.next.saturating_add(1);
        Some(call)
    }
}

impl Lanes {
    /// Forgets origins whose life is over.
    pub(super) fn retain(&mut self, control: &ControlState) {
        self.0
            .retain(|(origin, _), _| control.live(*origin).is_some());
    }

    /// The lane for calls under the epoch that the shard has. An origin opens it only when it has all answers of earlier ones.
    fn open(&mut self, origin: Peer, epoch: Epoch) -> &mut Lane {
        if !self.0.contains_key(&(origin, epoch)) {
            let older = (origin, Epoch(0))..(origin, epoch);
            let older: Vec<_> = self.0.range(older).map(|(&key, _)| key).collect();
            for key in older {
                self.0.remove(&key);
            }
        }
        self.0.entry((origin, epoch)).or_insert_with(Lane::new)
    }

    /// What is to be said of a call under an epoch that the shard has not any more.
    fn closed(&self, origin: Peer, epoch: Epoch, seq: u64) -> Verdict {
        let lane = self.0.get(&(origin, epoch));
        lane.map_or(Verdict::Moved, |lane| lane.again(seq))
    }
}

impl Inbound {
    pub(super) fn early(&self) -> usize {
        self.early_calls
    }

    /// Whether there is room for one more early call, if need be in the place of those that nobody waits for any more.
    fn room(&mut self, cx: &Context<'_>) -> bool {
        let max = cx.settings.bounds.waiting_max;
        if self.early_calls >= max {
            self.early.retain(|_, calls| {
                calls.retain(|(_, _, deadline)| *deadline > cx.now.instant);
                !calls.is_empty()
            });
            self.early_calls = self.early.values().map(Vec::len).sum();
        }
        self.early_calls < max
    }

    pub(super) fn retain(&mut self, control: &ControlState) {
        for (_, lanes) in self.departed.values_mut() {
            lanes.retain(control);
        }
    }

    pub(super) fn forget_departed(&mut self, shard: ShardId, now: Instant) {
        if self.departed.get(&shard).is_some_and(|(at, _)| *at <= now) {
            self.departed.remove(&shard);
        }
    }
}

impl Host {
    pub(super) fn take_call(&mut self, cx: &Context<'_>, from: Peer, call: &Call) {
        let deadline = cx.now.instant + std::time::Duration::from_millis(call.left_ms);
        self.judge_call(cx, from, call, deadline);
    }

    fn judge_call(&mut self, cx: &Context<'_>, from: Peer, call: &Call, deadline: Instant) {
        if cx.control.live(from).is_none() {
            return;
        }
        if call.epoch.0 > cx.control.applied.0 {
            if self.inbound.room(cx) {
                self.inbound.early_calls += 1;
                let early = self.inbound.early.entry(call.epoch).or_default();
                early.push((from, call.clone(), deadline));
            }
            return;
        }
        let Some(shard) = self.shards.get_mut(&call.shard) else {
            let departed = self.inbound.departed.get(&call.shard);
            let verdict = departed.map_or(Verdict::Moved, |(_, lanes)| {
                lanes.closed(from, call.epoch, call.seq)
            });
            return self.say(cx, reply_to(from, call), verdict);
        };
        if call.epoch != shard.epoch {
            let verdict = shard.lanes.closed(from, call.epoch, call.seq);
            return self.say(cx, reply_to(from, call), verdict);
        }
        let lane = shard.lanes.open(from, call.epoch);
        lane.rise(call.lowest);
        if call.seq < lane.next {
            let verdict = lane.again(call.seq);
            return self.say(cx, reply_to(from, call), verdict);
        }
        lane.hold(call, deadline, &cx.settings.bounds);
        self.let_in(cx, from, call.shard, call.epoch);
    }

    /// Lets in what is next in a lane.
    fn let_in(&mut self, cx: &Context<'_>, from: Peer, id: ShardId, epoch: Epoch) {
        loop {
            let Some(shard) = self.shards.get_mut(&id) else {
                return;
            };
            let Some(lane) = shard.lanes.0.get_mut(&(from, epoch)) else {
                return;
            };
            let Some((call, deadline)) = lane.pop(&cx.settings.bounds) else {
                return;
            };
            let runs = match shard.phase {
                Phase::Serving => true,
                Phase::Draining(_) => !call.envelope.chain.is_empty(),
                Phase::Acked(_) => cx.settings.lacks(Mutant::RunAfterAck),
                Phase::Fenced | Phase::Stopped => false,
            };
            let reply = reply_to(from, &call);
            if !runs || cx.control.shard_of(&call.envelope.entity) != Some(id) {
                self.say(cx, reply, Verdict::Moved);
                continue;
            }
            lane.replies.insert(call.seq, None);
            let place = Place {
                shard: id,
                entity: call.envelope.entity.clone(),
            };
            let mail = Mail::Call {
                reply,
                envelope: call.envelope,
                deadline,
            };
            if self.mail(cx, &place, mail).is_err() {
                let error = CallError::Overloaded {
                    queue: format!("the mailbox of {}", place.entity),
                    retry_after_ms: RETRY_MS,
                };
                self.answer(cx, &reply, Arc::new(Err(error)));
            }
        }
    }

    /// Remembers the answer of a call, and sends it. Where the lease is not valid the origin's next question gets it.
    pub(super) fn answer(&mut self, cx: &Context<'_>, reply: &ReplyTo, answer: Answer) {
        let Some(shard) = self.shards.get_mut(&reply.shard) else {
            return;
        };
        let lane = shard.lanes.0.get_mut(&(reply.origin, reply.epoch));
        let known = lane.and_then(|lane| lane.replies.get_mut(&reply.seq));
        let Some(known @ None) = known else {
            return;
        };
        *known = Some(answer.clone());
        self.say(cx, *reply, Verdict::Again(answer));
    }

    /// The call did not run and will not: its origin sends it to the next home.
    pub(super) fn moved(&mut self, cx: &Context<'_>, reply: ReplyTo) {
        if let Some(shard) = self.shards.get_mut(&reply.shard)
            && let Some(lane) = shard.lanes.0.get_mut(&(reply.origin, reply.epoch))
        {
            lane.replies.remove(&reply.seq);
        }
        self.say(cx, reply, Verdict::Moved);
    }

    /// Nothing of this shard runs any more: what was held is for the next home.
    pub(super) fn move_held(&mut self, cx: &Context<'_>, id: ShardId) {
        let Some(shard) = self.shards.get_mut(&id) else {
            return;
        };
        let mut moved = Vec::new();
        for (&(origin, _), lane) in &mut shard.lanes.0 {
            for (_, (call, _)) in std::mem::take(&mut lane.held) {
                moved.push(reply_to(origin, &call));
            }
        }
        for reply in moved {
            self.say(cx, reply, Verdict::Moved);
        }
    }

    /// Calls that came before the entry that they were sent by.
    pub(super) fn take_early(&mut self, cx: &Context<'_>) {
        while let Some(entry) = self.inbound.early.first_entry() {
            if entry.key().0 > cx.control.applied.0 {
                break;
            }
            let calls = entry.remove();
            self.inbound.early_calls -= calls.len();
            for (from, call, deadline) in calls {
                self.judge_call(cx, from, &call, deadline);
            }
        }
    }

    /// A shard has moved: its last replies may have been lost.
    pub(super) fn remember_departed(&mut self, cx: &Context<'_>, id: ShardId, mut lanes: Lanes) {
        for lane in lanes.0.values_mut() {
            lane.held.clear();
            lane.replies.retain(|_, answer| answer.is_some());
        }
        lanes.0.retain(|_, lane| !lane.replies.is_empty());
        if !lanes.0.is_empty() {
            let at = cx.now.instant + cx.settings.timing.handoff;
            self.inbound.departed.insert(id, (at, lanes));
            self.schedule.timers.insert((at, Timer::Departed(id)));
        }
    }

    fn say(&mut self, cx: &Context<'_>, reply: ReplyTo, verdict: Verdict) {
        let ReplyTo {
            origin,
            shard,
            epoch,
            seq,
        } = reply;
        // Nobody waits any more.
        if cx.control.live(origin).is_none() {
            return;
        }
        match verdict {
            Verdict::Silent => {}
            Verdict::Again(answer) if cx.leased() => {
                let reply = Reply {
                    origin: origin.incarnation,
                    shard,
                    epoch,
                    seq,
                    answer,
                };
                self.send(origin.node, Message::Reply(reply));
            }
            Verdict::Again(_) => {}
            Verdict::Moved => {
                let home = cx.control.home_of(shard);
                let here = self.shards.get(&shard).map(|here| (self.me, here.epoch));
                let still = here.is_some_and(|(_, here)| here == epoch);
                let to = home.filter(|&home| !still || Some(home) != here);
                let to = to.map(|(home, epoch)| (cx.control.applied, home, epoch));
                let moved = Message::Moved {
                    origin: origin.incarnation,
                    shard,
                    epoch,
                    seq,
                    to,
                };
                self.send(origin.node, moved);
            }
        }
    }
}

fn reply_to(origin: Peer, call: &Call) -> ReplyTo {
    ReplyTo {
        origin,
        shard: call.shard,
        epoch: call.epoch,
        seq: call.seq,
    }
}

/// When a caller may try again, in milliseconds.
const RETRY_MS: u64 = 100;
