use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use entia_protocol::{
    CallError, Caller, CommandKey, DeadLetter, EntityId, Payload, SendRecord, TimerRecord, wake_ms,
};
use entia_storage::{EntityCommit, WakeChange};
use entia_wasm::Effects;

/// What an entity has to do by itself: its timers, and its messages that have to be delivered. Part of its state.
///
/// ```text
///   a turn ends ──► accepted ──commit on disk──► in flight ──answer──► gone, or a dead letter
///                                  ▲                 │
///                                  └──── waits ◄─────┘ no answer
/// ```
/// Messages to one target leave one after the other, those to others meanwhile. A message leaves only when the commit that
/// it came with is on disk. Times are in milliseconds since 1970.
#[derive(Default)]
pub(super) struct Agenda {
    timers: BTreeMap<String, TimerRecord>,
    /// The names of `timers` and the bytes of their payloads, for turns.
    payloads: Arc<BTreeMap<String, usize>>,
    /// By number; dead letters as well.
    sends: BTreeMap<u64, SendRecord>,
    /// The targets of messages on their way.
    routes: BTreeMap<EntityId, Route>,
    pending: usize,
    pending_bytes: usize,
    /// What the store does not have yet.
    changed_timers: BTreeSet<String>,
    changed_sends: BTreeSet<u64>,
    sends_on_disk: BTreeSet<u64>,
    wake_on_disk: Option<u64>,
    /// Another one after each change, for those who look; 0 for an agenda that never had anything.
    revision: u64,
}

/// The messages to one target.
struct Route {
    /// In the order in which they leave, each with the commit that has to be on disk before.
    queue: VecDeque<(u64, u64)>,
    /// Tries of the first one so far.
    attempts: u32,
    /// When the first one is tried next; none while it is in flight.
    try_at_ms: Option<u64>,
}

/// A message that leaves now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Departure {
    pub(super) send: SendRecord,
    /// 1 for the first.
    pub(super) attempt: u32,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// The target executed it.
    Done,
    /// It is tried again.
    Again,
    /// It is given up.
    Dead(Box<SendRecord>),
    /// There is no such message any more.
    Unknown,
}

/// What people see of an agenda.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AgendaSummary {
    pub(crate) timers: Vec<TimerRecord>,
    pub(crate) sends_pending: usize,
    pub(crate) dead: Vec<SendRecord>,
}

/// The first wait after a try that had no answer. Each further one is twice as long.
const FIRST_WAIT_MS: u64 = 100;
const LONGEST_WAIT_MS: u64 = 60_000;
/// What a dead letter keeps of the last answer's text, in bytes.
const DEAD_MESSAGE_BYTES_MAX: usize = 2_000;

impl Agenda {
    /// Takes up what is stored.
    pub(super) fn restore(timers: Vec<TimerRecord>, sends: Vec<SendRecord>) -> Self {
        let mut agenda = Self {
            wake_on_disk: wake_ms(&timers, &sends),
            ..Self::default()
        };
        for timer in timers {
            let bytes = timer.payload.0.len();
            Arc::make_mut(&mut agenda.payloads).insert(timer.name.clone(), bytes);
            agenda.timers.insert(timer.name.clone(), timer);
        }
        for send in sends {
            agenda.sends_on_disk.insert(send.number);
            agenda.put(send, 0);
        }
        if agenda.wake_on_disk.is_some() || !agenda.sends.is_empty() {
            agenda.touch();
        }
        agenda
    }

    /// The names of the timers, and the bytes of their payloads.
    pub(super) fn timers(&self) -> &Arc<BTreeMap<String, usize>> {
        &self.payloads
    }

    /// Messages on their way, and the bytes of their arguments.
    pub(super) fn pending(&self) -> (usize, usize) {
        (self.pending, self.pending_bytes)
    }

    /// Takes over what a turn of `me` wants done. Messages leave after the commit numbered `after`.
    pub(super) fn apply(&mut self, me: &EntityId, effects: Effects, now_ms: u64, after: u64) {
        for (name, timer) in effects.timers {
            match timer {
                Some(timer) => self.set_timer(timer),
                None => self.remove_timer(&name),
            }
        }
        for outgoing in effects.sends {
            let send = SendRecord {
                number: 0,
                target: outgoing.target,
                method: outgoing.method,
                arguments: outgoing.arguments,
                caller: Caller::Entity(me.clone()),
                key: outgoing.key,
                accepted_ms: now_ms,
                dead: None,
            };
            self.accept(send, after);
        }
    }

    /// Takes a message over; the agenda numbers it.
    pub(super) fn accept(&mut self, send: SendRecord, after: u64) {
        let number = self
            .sends
            .last_key_value()
            .map_or(1, |(number, _)| number + 1);
        self.changed_sends.insert(number);
        self.touch();
        self.put(SendRecord { number, ..send }, after);
    }

    /// Takes note that a timer fired.
    pub(super) fn fired(&mut self, name: &str, key: &CommandKey, now_ms: u64) {
        let Some(timer) = self.timers.get(name).filter(|timer| timer.key == *key) else {
            return;
        };
        match timer.clone().fired(now_ms) {
            Some(next) => self.set_timer(next),
            None => self.remove_timer(name),
        }
    }

    /// The timer that has to fire now, if there is one: the one that is due longest.
    pub(super) fn due_timer(&self, now_ms: u64) -> Option<&TimerRecord> {
        let due = self.timers.values().filter(|timer| timer.due_ms <= now_ms);
        due.min_by_key(|timer| timer.due_ms)
    }

    /// Gives up the messages that are tried no more: those that the target may have executed and forgotten since.
    pub(super) fn expire(&mut self, now_ms: u64) -> Vec<SendRecord> {
        let mut expired = Vec::new();
        let old = |target: &&EntityId| self.first_expired(target, now_ms).is_some();
        let targets: Vec<_> = self.routes.keys().filter(old).cloned().collect();
        for target in targets {
            while let Some(number) = self.first_expired(&target, now_ms) {
                let why = "it was not delivered within 24 h".to_owned();
                expired.push(self.give_up(&target, number, now_ms, "expired", why));
            }
        }
        expired
    }

    /// The messages that leave now, given the last commit that is on disk.
    pub(super) fn depart(&mut self, now_ms: u64, settled: u64) -> Vec<Departure> {
        let mut departures = Vec::new();
        for route in self.routes.values_mut() {
            let Some(&(number, after)) = route.queue.front() else {
                continue;
            };
            let ready = route.try_at_ms.is_some_and(|at_ms| at_ms <= now_ms) && after <= settled;
            if let Some(send) = self.sends.get(&number).filter(|_| ready) {
                route.try_at_ms = None;
                route.attempts += 1;
                departures.push(Departure {
                    send: send.clone(),
                    attempt: route.attempts,
                });
            }
        }
        departures
    }

    /// Takes note of the answer to a message.
    pub(super) fn delivered(
        &mut self,
        number: u64,
        key: &CommandKey,
        outcome: Result<(), CallError>,
        now_ms: u64,
    ) -> Delivered {
        let Some(send) = self.sends.get(&number).filter(|send| send.key == *key) else {
            return Delivered::Unknown;
        };
        let in_flight = |route: &&mut Route| {
            let first = route.queue.front();
            first.is_some_and(|(first, _)| *first == number) && route.try_at_ms.is_none()
        };
        // A second answer to what left twice is not the answer to the one behind it.
        let Some(route) = self.routes.get_mut(&send.target).filter(in_flight) else {
            return Delivered::Unknown;
        };
        let error = match outcome {
            Ok(()) => {
                self.take_first(&send.target.clone(), now_ms);
                self.sends.remove(&number);
                return Delivered::Done;
            }
            Err(error) => error,
        };
        let final_answer = matches!(
            error,
            CallError::Rejected(_) | CallError::KeyReused { .. } | CallError::BadResult { .. }
        );
        let too_old = now_ms.saturating_sub(send.accepted_ms) >= SendRecord::AGE_MS_MAX;
        if !final_answer && !too_old {
            let asked_ms = match &error {
                CallError::Overloaded { retry_after_ms, .. }
                | CallError::Quarantined { retry_after_ms, .. } => *retry_after_ms,
                _ => 0,
            };
            let doubled = FIRST_WAIT_MS << route.attempts.saturating_sub(1).min(16);
            let wait_ms = doubled.max(asked_ms).min(LONGEST_WAIT_MS);
            route.try_at_ms = Some(now_ms.saturating_add(wait_ms));
            return Delivered::Again;
        }
        let target = send.target.clone();
        let dead = self.give_up(&target, number, now_ms, error.code(), error.to_string());
        Delivered::Dead(Box::new(dead))
    }

    /// When the store's index says that the entity has something to do, once all changes are written.
    pub(super) fn index_ms(&self) -> Option<u64> {
        wake_ms(self.timers.values(), self.sends.values())
    }

    /// When there is something to do next; in the past if it could be done now.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let timers = self.timers.values().map(|timer| timer.due_ms);
        let routes = self.routes.values().filter_map(|route| route.try_at_ms);
        timers.chain(routes).min()
    }

    /// Whether an answer to a message is awaited.
    pub(super) fn in_flight(&self) -> bool {
        self.routes.values().any(|route| route.try_at_ms.is_none())
    }

    /// Whether there is anything that the store does not have.
    pub(super) fn has_changes(&self) -> bool {
        !self.changed_timers.is_empty() || !self.changed_sends.is_empty()
    }

    /// Puts into a commit what the store does not have.
    pub(super) fn take_changes(&mut self, commit: &mut EntityCommit) {
        if !self.has_changes() {
            return;
        }
        let timers = std::mem::take(&mut self.changed_timers).into_iter();
        commit.timers = timers
            .map(|name| {
                let timer = self.timers.get(&name).cloned();
                (name, timer)
            })
            .collect();
        let sends = std::mem::take(&mut self.changed_sends).into_iter();
        commit.sends = sends
            .map(|number| (number, self.sends.get(&number).cloned()))
            .collect();
        self.sends_on_disk = self.sends.keys().copied().collect();
        let after = self.index_ms();
        commit.wake = WakeChange {
            before: self.wake_on_disk,
            after,
        };
        self.wake_on_disk = after;
    }

    /// For kinds in memory: the messages that the store still has and that are done with. A crash must not send them again.
    pub(super) fn take_done(&mut self, commit: &mut EntityCommit) -> bool {
        let gone = |number: &&u64| !self.sends.contains_key(number);
        let done: Vec<u64> = self.sends_on_disk.iter().filter(gone).copied().collect();
        for number in &done {
            self.sends_on_disk.remove(number);
            self.changed_sends.remove(number);
        }
        commit.sends = done.into_iter().map(|number| (number, None)).collect();
        !commit.sends.is_empty()
    }

    /// The row that the store's index has of this entity.
    pub(super) fn wake_on_disk(&self) -> Option<u64> {
        self.wake_on_disk
    }

    /// Another number after each change.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// What people see; none if there is nothing.
    pub(super) fn summary(&self) -> Option<AgendaSummary> {
        if self.timers.is_empty() && self.sends.is_empty() {
            return None;
        }
        Some(AgendaSummary::new(
            self.timers.values(),
            self.sends.values(),
        ))
    }

    fn touch(&mut self) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        self.revision = NEXT.fetch_add(1, Ordering::Relaxed);
    }

    fn put(&mut self, send: SendRecord, after: u64) {
        if send.dead.is_none() {
            self.pending += 1;
            self.pending_bytes += send.arguments.0.len();
            let route = self.routes.entry(send.target.clone()).or_insert(Route {
                queue: VecDeque::new(),
                attempts: 0,
                try_at_ms: Some(send.accepted_ms),
            });
            route.queue.push_back((send.number, after));
        }
        self.sends.insert(send.number, send);
    }

    /// Removes the first message of a route: it is no longer on its way. The next one may leave at once.
    fn take_first(&mut self, target: &EntityId, now_ms: u64) {
        self.touch();
        let route = self.routes.get_mut(target).expect("the caller has seen it");
        let (number, _) = route.queue.pop_front().expect("one was in flight");
        self.changed_sends.insert(number);
        self.pending -= 1;
        self.pending_bytes -= self.sends[&number].arguments.0.len();
        route.attempts = 0;
        route.try_at_ms = Some(now_ms);
        if route.queue.is_empty() {
            self.routes.remove(target);
        }
    }

    /// The first message to a target, if it is not in flight and too old to leave.
    fn first_expired(&self, target: &EntityId, now_ms: u64) -> Option<u64> {
        let route = self.routes.get(target)?;
        route.try_at_ms?;
        let (number, _) = *route.queue.front()?;
        let age_ms = now_ms.saturating_sub(self.sends.get(&number)?.accepted_ms);
        // A delivery on its way takes a while.
        (age_ms + LONGEST_WAIT_MS >= SendRecord::AGE_MS_MAX).then_some(number)
    }

    /// Makes a dead letter of the first message to a target.
    fn give_up(
        &mut self,
        target: &EntityId,
        number: u64,
        now_ms: u64,
        code: &str,
        mut message: String,
    ) -> SendRecord {
        self.take_first(target, now_ms);
        message.truncate(message.floor_char_boundary(DEAD_MESSAGE_BYTES_MAX));
        let send = self.sends.get_mut(&number).expect("it was just found");
        send.dead = Some(DeadLetter {
            at_ms: now_ms,
            code: code.to_owned(),
            message,
        });
        let dead = send.clone();
        self.drop_oldest_dead();
        dead
    }

    fn drop_oldest_dead(&mut self) {
        let dead = self.sends.values().filter(|send| send.dead.is_some());
        let dead: Vec<_> = dead
            .map(|send| (send.number, send.arguments.0.len()))
            .collect();
        let mut letters = dead.len();
        let mut bytes: usize = dead.iter().map(|(_, bytes)| bytes).sum();
        for (number, letter_bytes) in dead {
            if letters <= SendRecord::DEAD_MAX && bytes <= SendRecord::DEAD_BYTES_MAX {
                return;
            }
            self.sends.remove(&number);
            self.changed_sends.insert(number);
            letters -= 1;
            bytes -= letter_bytes;
        }
    }

    fn set_timer(&mut self, timer: TimerRecord) {
        self.touch();
        self.changed_timers.insert(timer.name.clone());
        let bytes = timer.payload.0.len();
        if self.payloads.get(&timer.name) != Some(&bytes) {
            Arc::make_mut(&mut self.payloads).insert(timer.name.clone(), bytes);
        }
        self.timers.insert(timer.name.clone(), timer);
    }

    fn remove_timer(&mut self, name: &str) {
        if self.timers.remove(name).is_some() {
            self.touch();
            self.changed_timers.insert(name.to_owned());
            Arc::make_mut(&mut self.payloads).remove(name);
        }
    }
}

impl AgendaSummary {
    /// Without payloads and arguments, which may be long.
    pub(crate) fn new<'a>(
        timers: impl IntoIterator<Item = &'a TimerRecord>,
        sends: impl IntoIterator<Item = &'a SendRecord>,
    ) -> Self {
        let (dead, pending): (Vec<_>, Vec<_>) =
            sends.into_iter().partition(|send| send.dead.is_some());
        let timer = |timer: &TimerRecord| TimerRecord {
            name: timer.name.clone(),
            key: timer.key.clone(),
            payload: Payload::default(),
            ..*timer
        };
        let letter = |send: &SendRecord| SendRecord {
            target: send.target.clone(),
            method: send.method.clone(),
            arguments: Payload::default(),
            caller: send.caller.clone(),
            key: send.key.clone(),
            dead: send.dead.clone(),
            ..*send
        };
        Self {
            timers: timers.into_iter().map(timer).collect(),
            sends_pending: pending.len(),
            dead: dead.into_iter().map(letter).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
