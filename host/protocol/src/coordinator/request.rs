//! What people ask of a cluster, and the commands that it becomes.
//!
//! A request is answered when it is proposed, and done when the control state shows it. A proposal that is lost is made again; each
//! does nothing where it finds its work done.

use std::collections::{BTreeMap, VecDeque};

use super::orders::Orders;
use super::{Action, handoffs::Handoffs};
use crate::cluster::{Context, Home, Instant, NodeId, ShardId, Term};
use crate::control::{Command, ControlState, Entry, Member, Ownership, Role, Space, Status};
use crate::{Digest, Durability, KindName};

/// What people can ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Deploy a kind, or another component of it.
    Deploy {
        /// Its name.
        name: KindName,
        /// Its code.
        component: Digest,
        /// What survives; fixed by the first deployment.
        durability: Durability,
        /// How many shards; fixed by the first deployment.
        shards: u32,
    },
    /// Make a daemon set, or give it another number of workers or another component.
    Scale {
        /// Its name.
        name: KindName,
        /// Its code.
        component: Digest,
        /// What survives; fixed when it is made.
        durability: Durability,
        /// How many workers.
        workers: u32,
    },
    /// Forget a kind or a daemon set, with all its states.
    Drop {
        /// Its name.
        name: KindName,
    },
    /// Move everything away from a node, which then leaves.
    Drain {
        /// Which.
        node: NodeId,
    },
    /// Keep a node that was leaving.
    Undrain {
        /// Which.
        node: NodeId,
    },
    /// Forget a node: at once if it is down, else when everything has moved away from it.
    Remove {
        /// Which.
        node: NodeId,
    },
    /// Move shards to a node.
    Move {
        /// Which.
        shards: Vec<ShardId>,
        /// To whom.
        to: NodeId,
    },
}

/// Why a request cannot be followed. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Another node coordinates, or nobody does at the moment.
    #[error("{node} coordinated last, and this node does not: ask there")]
    NotCoordinator {
        /// The last coordinator that is known here.
        node: NodeId,
    },
    /// No kind or daemon set has that name.
    #[error("there is no kind or daemon set `{name}`")]
    UnknownName {
        /// The name.
        name: KindName,
    },
    /// Kinds are deployed, daemon sets scaled, and durability and the number of a kind's shards are fixed.
    #[error("`{name}` exists with another role, durability or number of shards: drop it first")]
    Fixed {
        /// The name.
        name: KindName,
    },
    /// Too few or too many shards or workers.
    #[error("{count} shards or workers; {} to {} are possible", Space::SHARDS.start(), Space::SHARDS.end())]
    Count {
        /// What was asked for.
        count: u32,
    },
    /// The last change of the number of workers is still going on.
    #[error("the workers of `{name}` beyond its number are still being stopped: ask again soon")]
    Shrinking {
        /// The name.
        name: KindName,
    },
    /// No member has that id, or none in a state for which this makes sense.
    #[error("{node} is {found}, and has to be {wanted}")]
    Member {
        /// Which.
        node: NodeId,
        /// What it is.
        found: &'static str,
        /// What it would have to be.
        wanted: &'static str,
    },
    /// None of the shards can move there now: not owned, on their way already, not adopted, or too many at a time.
    #[error("none of these shards can move to {to} now")]
    Immovable {
        /// To whom.
        to: NodeId,
    },
    /// Too many requests wait for the control log.
    #[error("{waiting} requests wait for the control log: ask again soon")]
    Busy {
        /// How many.
        waiting: usize,
    },
}

/// Requests whose commands are not in the log yet.
#[derive(Debug)]
pub(super) struct Requests {
    /// With the instant to propose again.
    waiting: VecDeque<(Instant, Command)>,
    orders: Orders,
}

/// How many may wait.
const WAITING_MAX: usize = 64;

impl Requests {
    pub(super) fn new(term: Term) -> Self {
        Self {
            waiting: VecDeque::new(),
            orders: Orders::new(term),
        }
    }

    pub(super) fn handle_request(
        &mut self,
        cx: &Context<'_>,
        request: &Request,
    ) -> Result<(), RequestError> {
        let Some(command) = command(cx.control, request)? else {
            return Ok(());
        };
        if self.waiting.iter().any(|(_, each)| *each == command) {
            return Ok(());
        }
        let waiting = self.waiting.len();
        if waiting >= WAITING_MAX {
            return Err(RequestError::Busy { waiting });
        }
        self.propose(cx, command);
        Ok(())
    }

    pub(super) fn handle_applied(&mut self, entry: &Entry) {
        self.waiting
            .retain(|(_, command)| *command != entry.command);
    }

    pub(super) fn handle_timeout(&mut self, cx: &Context<'_>) {
        while self
            .waiting
            .front()
            .is_some_and(|&(at, _)| at <= cx.now.instant)
        {
            if let Some((_, command)) = self.waiting.pop_front() {
                self.propose(cx, command);
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|&(at, _)| at)
    }

    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.orders.poll()
    }

    fn propose(&mut self, cx: &Context<'_>, command: Command) {
        self.orders.propose(command.clone());
        let again = cx.now.instant + cx.settings.timing.resend;
        self.waiting.push_back((again, command));
    }
}

/// The command that a request is. Two are none: a removal takes several, and moves go through their phases.
fn command(control: &ControlState, request: &Request) -> Result<Option<Command>, RequestError> {
    match request {
        Request::Deploy {
            name,
            component,
            durability,
            shards,
        } => {
            check_count(*shards)?;
            let fits = |space: &Space| {
                space.role == Role::Kind
                    && (space.durability, space.shards) == (*durability, *shards)
            };
            if control.space(name).is_some_and(|(_, space)| !fits(space)) {
                return Err(RequestError::Fixed { name: name.clone() });
            }
            Ok(Some(Command::DeployKind {
                name: name.clone(),
                component: *component,
                durability: *durability,
                shards: *shards,
            }))
        }
        Request::Scale {
            name,
            component,
            durability,
            workers,
        } => {
            check_count(*workers)?;
            let after = revision(control, name, *durability)?;
            Ok(Some(Command::Scale {
                name: name.clone(),
                component: *component,
                durability: *durability,
                workers: *workers,
                after,
            }))
        }
        Request::Drop { name } => match control.space(name) {
            Some((space, _)) => Ok(Some(Command::Drop { space })),
            None => Err(RequestError::UnknownName { name: name.clone() }),
        },
        Request::Drain { node } => {
            let wanted = (
                "joining or up",
                &[Status::Joining, Status::Up, Status::Leaving][..],
            );
            let member = member(control, *node, wanted)?.home();
            Ok(Some(Command::Leave { member }))
        }
        Request::Undrain { node } => {
            let wanted = ("leaving", &[Status::Leaving, Status::Up][..]);
            let member = member(control, *node, wanted)?.home();
            Ok(Some(Command::Up { member }))
        }
        Request::Remove { .. } | Request::Move { .. } => Ok(None),
    }
}

/// The revision that a change of this daemon set follows.
fn revision(
    control: &ControlState,
    name: &KindName,
    durability: Durability,
) -> Result<u64, RequestError> {
    let name = name.clone();
    let Some((_, space)) = control.space(&name) else {
        return Ok(0);
    };
    let Role::Daemons { revision, .. } = space.role else {
        return Err(RequestError::Fixed { name });
    };
    if space.durability != durability {
        return Err(RequestError::Fixed { name });
    }
    if super::daemons::shrinking(space) {
        return Err(RequestError::Shrinking { name });
    }
    Ok(revision)
}

fn check_count(count: u32) -> Result<(), RequestError> {
    if Space::SHARDS.contains(&count) {
        Ok(())
    } else {
        Err(RequestError::Count { count })
    }
}

/// Whether this is a member, or was one that is not forgotten.
pub(super) fn check_member(control: &ControlState, node: NodeId) -> Result<(), RequestError> {
    let all = [Status::Joining, Status::Up, Status::Leaving, Status::Down];
    member(control, node, ("a member", &all)).map(|_| ())
}

fn member<'a>(
    control: &'a ControlState,
    node: NodeId,
    (wanted, statuses): (&'static str, &[Status]),
) -> Result<&'a Member, RequestError> {
    let found = match control.members.get(&node) {
        Some(member) if statuses.contains(&member.status) => return Ok(member),
        Some(member) => match member.status {
            Status::Joining => "joining",
            Status::Up => "up",
            Status::Leaving => "leaving",
            Status::Down => "down",
        },
        None => "no member",
    };
    Err(RequestError::Member {
        node,
        found,
        wanted,
    })
}

/// Begins as many of these moves as there is room for.
pub(super) fn move_shards(
    cx: &Context<'_>,
    handoffs: &mut Handoffs,
    shards: &[ShardId],
    to: NodeId,
) -> Result<(), RequestError> {
    let target = member(cx.control, to, ("up", &[Status::Up]))?.home();
    let mut sources: BTreeMap<Home, Vec<ShardId>> = BTreeMap::new();
    for &shard in shards {
        let record = cx.control.shards.get(&shard);
        if let Some(Ownership::Owned { home }) = record.map(|record| record.ownership) {
            sources.entry(home).or_default().push(shard);
        }
    }
    // What is there already is as good as moved.
    let mut done = sources.remove(&target).is_some();
    for (from, shards) in sources {
        done |= handoffs.begin(cx, from, target, &shards) > 0;
    }
    if done {
        Ok(())
    } else {
        Err(RequestError::Immovable { to })
    }
}
