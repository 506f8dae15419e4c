//! Tells owners what they own, until they say that they serve it.
//!
//! An owner learns it from the control log, too; a `Start` makes it look (and pull, if it is behind) and answer. So a lost entry, a
//! lost `Started` and a coordinator that has just taken over are one case: everything that is owned and not known to be started is
//! named again, ever more rarely.

use std::collections::BTreeMap;
use std::time::Duration;

use super::orders::Orders;
use super::schedule::Schedule;
use super::{Action, retiring};
use crate::cluster::{Context, Epoch, Home, Index, Instant, Message, Peer, ShardId, Term};
use crate::control::{Command, ControlState, Entry, Ownership};

/// The `Start`s that are not answered.
#[derive(Debug)]
pub(super) struct Starts {
    waiting: BTreeMap<Home, Waiting>,
    timers: Schedule<Home>,
    orders: Orders,
}

/// What one owner was told.
#[derive(Debug)]
struct Waiting {
    shards: BTreeMap<ShardId, Epoch>,
    pause: Duration,
}

/// How often the pause between two `Start`s of the same shards is doubled.
const DOUBLINGS: u32 = 4;

impl Starts {
    pub(super) fn new(term: Term) -> Self {
        Self {
            waiting: BTreeMap::new(),
            timers: Schedule::new(),
            orders: Orders::new(term),
        }
    }

    /// Nothing is known to be started.
    pub(super) fn handle_state(&mut self, cx: &Context<'_>) {
        let shards: Vec<ShardId> = cx.control.shards.keys().copied().collect();
        self.waiting.clear();
        self.timers = Schedule::new();
        self.start(cx, &shards);
    }

    pub(super) fn handle_applied(&mut self, cx: &Context<'_>, entry: &Entry) {
        match &entry.command {
            Command::Assign { shards } => {
                let shards: Vec<ShardId> = shards.iter().map(|each| each.shard).collect();
                self.start(cx, &shards);
            }
            Command::CompleteHandoff { shards, .. } => {
                let shards: Vec<ShardId> = shards.iter().map(|&(shard, _)| shard).collect();
                self.start(cx, &shards);
            }
            Command::AbortHandoff { shards, .. } => self.start(cx, shards),
            Command::Down { .. } | Command::Join { .. } => self.restart_reverted(cx, entry.index),
            _ => {}
        }
    }

    pub(super) fn handle_message(&mut self, from: Peer, message: &Message) {
        let Message::Started { shards } = message else {
            return;
        };
        let Some(waiting) = self.waiting.get_mut(&from) else {
            return;
        };
        for (shard, epoch) in shards {
            if waiting.shards.get(shard) == Some(epoch) {
                waiting.shards.remove(shard);
            }
        }
        if waiting.shards.is_empty() {
            self.waiting.remove(&from);
            self.timers.cancel(from);
        }
    }

    pub(super) fn handle_timeout(&mut self, cx: &Context<'_>) {
        while let Some(home) = self.timers.pop(cx.now.instant) {
            self.tell(cx, home);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.orders.poll()
    }

    /// How many shards are owned and not known to be served.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.values().map(|each| each.shards.len()).sum()
    }

    /// A target that died gives what it was to get back to the sources: by the entry of its end.
    fn restart_reverted(&mut self, cx: &Context<'_>, index: Index) {
        let reverted: Vec<ShardId> = cx
            .control
            .shards
            .iter()
            .filter(|(_, shard)| shard.epoch == Epoch(index.0))
            .map(|(&id, _)| id)
            .collect();
        self.start(cx, &reverted);
    }

    fn start(&mut self, cx: &Context<'_>, shards: &[ShardId]) {
        let mut told = Vec::new();
        for &shard in shards {
            let Some((home, epoch)) = owner(cx.control, shard) else {
                continue;
            };
            let waiting = self.waiting.entry(home).or_insert_with(|| Waiting {
                shards: BTreeMap::new(),
                pause: Duration::ZERO,
            });
            waiting.shards.insert(shard, epoch);
            waiting.pause = cx.settings.timing.resend;
            if told.last() != Some(&home) {
                told.push(home);
            }
        }
        told.sort_unstable();
        told.dedup();
        for home in told {
            self.tell(cx, home);
        }
    }

    /// Names everything that this owner has not started, less what it has lost since.
    fn tell(&mut self, cx: &Context<'_>, home: Home) {
        let Some(waiting) = self.waiting.get_mut(&home) else {
            return;
        };
        waiting
            .shards
            .retain(|&shard, epoch| owner(cx.control, shard) == Some((home, *epoch)));
        let Some(newest) = waiting.shards.values().max() else {
            self.waiting.remove(&home);
            self.timers.cancel(home);
            return;
        };
        let message = Message::Start {
            term: self.orders.term,
            index: Index(newest.0),
            shards: waiting.shards.iter().map(|(&id, &e)| (id, e)).collect(),
        };
        self.orders.send(home.node, message);
        self.timers.set(home, cx.now.instant + waiting.pause);
        let longest = cx.settings.timing.resend * (1 << DOUBLINGS);
        waiting.pause = (waiting.pause * 2).min(longest);
    }
}

/// Who has to serve this shard, under which epoch.
fn owner(control: &ControlState, shard: ShardId) -> Option<(Home, Epoch)> {
    let record = control.shards.get(&shard)?;
    match record.ownership {
        Ownership::Owned { home } if control.live(home).is_some() => {
            (!retiring(control, shard)).then_some((home, record.epoch))
        }
        _ => None,
    }
}
