//! A node as the coordinator remembers it, over its lives.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{Boot, Home, Instant};
use crate::control::{Command, Member, Status};

use super::readmission::Readmission;

/// A node that is a member, or has a process that wants to be.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// The member, by the control state.
    pub(super) life: Option<Life>,
    /// The process that wants to be the next one.
    pub(super) candidate: Option<Candidate>,
    /// When it may get shards after it was downed.
    pub(super) readmission: Readmission,
    /// What was proposed last for it, and when.
    pub(super) proposed: Option<(Command, Instant)>,
}

/// One life of the node.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) home: Home,
    pub(super) process: u64,
    pub(super) status: Status,
    /// When this coordinator saw the status.
    pub(super) since: Instant,
    /// Its process asked to go.
    pub(super) leaving: bool,
    /// Somebody asked that it be removed.
    pub(super) removing: bool,
    /// Its process is proven dead.
    pub(super) exited: bool,
    /// Its end was proposed: there is no way back.
    pub(super) doomed: bool,
}

/// A process that wants to be a member.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) boot: Arc<Boot>,
    /// When it asked last.
    pub(super) heard: Instant,
}

impl Seat {
    /// What to propose now, of what is wanted: the same thing not before `resend`.
    pub(super) fn propose(
        &mut self,
        now: Instant,
        resend: Duration,
        wanted: Option<Command>,
    ) -> Option<Command> {
        let repeated = self
            .proposed
            .as_ref()
            .is_some_and(|(last, at)| wanted.as_ref() == Some(last) && now < *at + resend);
        if repeated {
            return None;
        }
        self.proposed = wanted.clone().map(|command| (command, now));
        wanted
    }

    /// Forgets a process that asks no more.
    pub(super) fn give_up(&mut self, now: Instant, patience: Duration) {
        self.candidate
            .take_if(|candidate| candidate.heard + patience <= now);
    }
}

impl Life {
    pub(super) fn new(now: Instant, home: Home, member: &Member) -> Self {
        Self {
            home,
            process: member.boot.process,
            status: member.status,
            since: now,
            leaving: false,
            removing: false,
            exited: false,
            doomed: false,
        }
    }
}
