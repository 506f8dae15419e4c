use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{Call, Epoch, Home, Instant, Message, Settings, ShardId};

use super::{OutCall, millis};

/// The way to a shard's home under one ownership. There is never a second one to the same: the home knows calls by their
/// numbers.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) home: Home,
    pub(super) epoch: Epoch,
    /// The number of the next call.
    pub(super) next: u64,
    pub(super) gate: Gate,
}

/// What the home still takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Everything.
    Open,
    /// It drains the shard: only calls that somebody waits for, so that entities which wait for each other come to an end.
    Chains,
    /// Nothing, since it said so of a call that somebody waits for.
    Shut,
}

/// A call on a lane.
#[derive(Debug)]
pub(super) struct Flight {
    /// The router's number of the call.
    pub(super) number: u64,
    pub(super) home: Home,
    /// When it is sent again.
    pub(super) due: Instant,
    /// What is then added.
    pub(super) pause: Duration,
}

impl Lane {
    pub(super) fn new(home: Home, epoch: Epoch) -> Self {
        Self {
            home,
            epoch,
            next: 1,
            gate: Gate::Open,
        }
    }
}

impl Flight {
    pub(super) fn new(number: u64, home: Home, now: Instant, settings: &Settings) -> Self {
        let pause = settings.timing.resend;
        Self {
            number,
            home,
            due: now + pause,
            pause,
        }
    }

    /// It was sent once more. The pauses grow: most calls that take long are at their home and run.
    pub(super) fn repeated(&mut self, now: Instant) {
        let longest = self.pause.max(PAUSE_MAX);
        self.pause = (self.pause * 2).min(longest);
        self.due = now + self.pause;
    }
}

/// The message of a call. `lane` is the epoch, its number, and the lowest number that is still of interest.
pub(super) fn wire(
    call: &OutCall,
    shard: ShardId,
    lane: (Epoch, u64, u64),
    now: Instant,
) -> Message {
    let (epoch, seq, lowest) = lane;
    Message::Call(Call {
        shard,
        epoch,
        seq,
        lowest,
        left_ms: millis(call.deadline.since(now)),
        envelope: Arc::clone(&call.envelope),
    })
}

const PAUSE_MAX: Duration = Duration::from_secs(1);
