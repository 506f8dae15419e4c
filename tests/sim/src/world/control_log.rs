//! The control log among nodes and links: who leads, what gets a quorum, who is handed what and when.

use std::sync::Arc;

use entia_protocol::cluster::{Index, NodeId, Term};
use entia_protocol::control::Command;

use super::{MILLISECOND, Pending, World};
use crate::log::Replica;
use crate::node::Event;
use crate::plan::nanos;
use crate::seeded;

/// How often the log looks around.
const TICK: u64 = 25 * MILLISECOND;

impl World {
    /// The first leader, soon after the beginning.
    pub(super) fn begin_log(&mut self) {
        let voters: Vec<_> = self.voters().collect();
        for id in voters {
            let committed = self.log.committed();
            let replica = Replica {
                stored: committed,
                sent: committed,
                ..Replica::default()
            };
            self.log.replicas.insert(id, replica);
        }
        self.queue.push(2 * MILLISECOND, Pending::LogTick);
    }

    /// Who votes: before there is a member, the node that founds the cluster.
    pub(super) fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        let founder = self.log.state.voters.is_empty().then_some(NodeId(1));
        self.log.state.voters.iter().copied().chain(founder)
    }

    /// A leader, or who believes to be one, proposes.
    pub(super) fn propose(&mut self, id: NodeId, term: Term, command: Command) {
        let plan = self.log.current();
        let lost = seeded::chance(&mut self.log.rng, plan.loss_ppm);
        let leads = self.log.leader == Some(id) && self.log.term == term.number;
        // An old leader writes it into a log that nobody takes over.
        if lost || !leads {
            return;
        }
        if seeded::chance(&mut self.log.rng, plan.twice_ppm) {
            self.log.append(term, command.clone());
        }
        self.log.append(term, command);
        self.await_commit();
    }

    /// A quorum may have what is pending by then.
    fn await_commit(&mut self) {
        let Some(leader) = self.log.leader else {
            return;
        };
        let due = self.true_time + self.round_trip(leader, true);
        // Entries are appended one after the other: none overtakes.
        let due = due.max(self.log.commit_due);
        self.log.commit_due = due;
        let term = self.log.term;
        self.queue.push(due, Pending::Commit { term });
    }

    /// Commits what is pending, if the leader still leads.
    pub(super) fn try_commit(&mut self, term: u64) {
        let Some(leader) = self.log.leader else {
            return;
        };
        if self.log.term != term || !self.has_quorum(leader) {
            return;
        }
        while let Some(entry) = self.log.pending.front() {
            if let Command::Voters { to, .. } = &entry.command
                && !self.is_quorum_of(leader, to.iter().copied(), to.len())
            {
                return;
            }
            let Some(entry) = self.log.commit() else {
                return;
            };
            self.trace.line(self.true_time, || {
                format!("log {} {} {:?}", entry.index, entry.term, entry.command)
            });
            self.hand_out(leader);
        }
    }

    /// Hands each voter that the leader reaches what it has not.
    fn hand_out(&mut self, leader: NodeId) {
        let voters: Vec<_> = self.voters().collect();
        self.log.replicas.retain(|id, _| voters.contains(id));
        for id in voters {
            let reached = id == leader || (self.awake(id) && self.net.open(leader, id));
            if reached && self.awake(leader) {
                self.feed(id, leader);
            }
        }
    }

    /// Hands a voter what it has not: entry by entry, or the whole state.
    fn feed(&mut self, id: NodeId, leader: NodeId) {
        let committed = self.log.committed();
        let there = &self.nodes[&id];
        let applied = there
            .node
            .as_ref()
            .map_or(0, |node| node.control().applied.0);
        let life = there.life;
        let fresh = Replica {
            sent: applied,
            ..Replica::default()
        };
        let replica = *self.log.replicas.entry(id).or_insert(fresh);
        if replica.lost {
            return;
        }
        let plan = self.log.current();
        let behind = committed - replica.sent.min(committed);
        // The leader has it at once, and only applies it; the others hear of it.
        let (earliest, lag) = if id == leader {
            (self.true_time, nanos(plan.apply_lag) / 10)
        } else {
            (self.true_time + self.net.delay(), nanos(plan.apply_lag))
        };
        // Each entry has a lag of its own, and none overtakes another.
        let mut due = replica.due;
        if behind > 2 && seeded::chance(&mut self.log.rng, plan.jump_ppm) {
            due = due.max(earliest + seeded::within(&mut self.log.rng, 0, lag));
            let state = Arc::clone(&self.log.state);
            self.later(id, due - self.true_time, Event::State(state));
        } else {
            for index in replica.sent + 1..=committed {
                let lag = seeded::within(&mut self.log.rng, 0, lag);
                due = due.max(earliest + lag) + 1;
                let node = id;
                self.queue.push(due, Pending::Apply { node, life, index });
            }
        }
        let fed = Replica {
            stored: committed,
            sent: committed,
            due,
            lost: false,
        };
        self.log.replicas.insert(id, fed);
    }

    /// A leader, or who believes to be one, asks whether it is.
    pub(super) fn begin_barrier(&mut self, id: NodeId, barrier: u64) {
        let life = self.nodes[&id].life;
        let term = self.log.beliefs.get(&id).copied().unwrap_or(0);
        let half = self.round_trip(id, false) / 2;
        self.queue.push(
            self.true_time + half,
            Pending::Barrier {
                node: id,
                life,
                id: barrier,
                term,
            },
        );
    }

    /// The quorum has answered, or will not.
    pub(super) fn decide_barrier(&mut self, id: NodeId, life: u32, (barrier, term): (u64, u64)) {
        if !self.is_life(id, life) {
            return;
        }
        let leads = self.log.leader == Some(id) && self.log.term == term;
        let (after, index) = if leads && self.has_quorum(id) {
            let index = Index(self.log.committed());
            (self.net.delay(), Some(index))
        } else {
            (nanos(self.log.current().election_max), None)
        };
        self.later(id, after, Event::Barrier { id: barrier, index });
    }

    /// Looks whether somebody leads, who is behind, and who believes what is not so.
    pub(super) fn log_tick(&mut self) {
        let jitter = seeded::within(&mut self.log.rng, 0, TICK / 4);
        self.queue
            .push(self.true_time + TICK + jitter, Pending::LogTick);
        let led = self
            .log
            .leader
            .filter(|leader| self.log.beliefs.get(leader) == Some(&self.log.term))
            .filter(|&leader| self.has_quorum(leader));
        match led {
            Some(leader) => {
                self.log.lost_since = None;
                if !self.log.pending.is_empty() && self.log.commit_due < self.true_time {
                    self.await_commit();
                }
                if self.is_somebody_behind() {
                    self.hand_out(leader);
                }
                self.depose(leader);
            }
            None => self.wait_for_election(),
        }
    }

    /// Another voter is elected, if a quorum would; `None`: any but the leader.
    pub(super) fn elect_another(&mut self) {
        let leader = self.log.leader;
        let candidates: Vec<_> = self
            .candidates()
            .into_iter()
            .filter(|&id| Some(id) != leader)
            .collect();
        if !candidates.is_empty() {
            let elected = seeded::pick(&mut self.log.rng, &candidates);
            self.elect(elected);
        }
    }

    fn wait_for_election(&mut self) {
        let plan = self.log.current();
        let now = self.true_time;
        let Some(since) = self.log.lost_since else {
            self.log.lost_since = Some(now);
            // The first leader of all does not have to wait.
            self.log.patience = match self.log.leader {
                Some(_) => seeded::between(&mut self.log.rng, plan.election_min, plan.election_max),
                None => 0,
            };
            return;
        };
        if now - since < self.log.patience {
            return;
        }
        let candidates = self.candidates();
        if !candidates.is_empty() {
            let elected = seeded::pick(&mut self.log.rng, &candidates);
            self.elect(elected);
        }
    }

    /// Voters that have everything that is committed and that a quorum would elect.
    fn candidates(&self) -> Vec<NodeId> {
        let committed = self.log.committed();
        let complete = |id: &NodeId| {
            let replica = self.log.replicas.get(id);
            replica.is_some_and(|replica| !replica.lost && replica.stored == committed)
        };
        self.voters()
            .filter(complete)
            .filter(|&id| self.has_quorum(id))
            .collect()
    }

    fn elect(&mut self, id: NodeId) {
        self.log.elected(id);
        let term = self.log.term;
        self.trace
            .line(self.true_time, || format!("{id} is elected in term {term}"));
        self.trace.mix([self.true_time, id.0, 50, term]);
        let after = seeded::within(&mut self.log.rng, 1_000, 5 * MILLISECOND);
        self.later(id, after, Event::Leader(term));
        if !self.log.pending.is_empty() {
            self.await_commit();
        }
    }

    /// Who led before and hears of the new leader knows that it leads no more.
    fn depose(&mut self, leader: NodeId) {
        if self.log.beliefs.len() <= 1 {
            return;
        }
        let believers: Vec<_> = self.log.beliefs.keys().copied().collect();
        for id in believers {
            if id != leader && self.awake(id) && self.net.open(leader, id) {
                self.log.beliefs.remove(&id);
                let after = self.net.delay();
                self.later(id, after, Event::Follower);
            }
        }
    }

    fn is_somebody_behind(&self) -> bool {
        let committed = self.log.committed();
        self.voters().any(|id| {
            let replica = self.log.replicas.get(&id);
            replica.is_none_or(|replica| replica.sent < committed)
        })
    }

    /// Whether `centre` can lead: a leader that was voted out steps down.
    fn has_quorum(&self, centre: NodeId) -> bool {
        let count = self.log.state.voters.len().max(1);
        self.voters().any(|voter| voter == centre)
            && self.is_quorum_of(centre, self.voters(), count)
    }

    /// Whether `centre` is awake and hears more than half of these, itself among them.
    fn is_quorum_of(&self, centre: NodeId, of: impl Iterator<Item = NodeId>, count: usize) -> bool {
        let hears = |id: &NodeId| {
            let lost = self
                .log
                .replicas
                .get(id)
                .is_some_and(|replica| replica.lost);
            let linked = self.net.open(centre, *id) && self.net.open(*id, centre);
            !lost && self.awake(*id) && linked
        };
        self.awake(centre) && of.filter(hears).count() > count / 2
    }

    /// How long it takes until a quorum has answered; with what it has on its disks, if it is about an entry.
    fn round_trip(&mut self, centre: NodeId, synced: bool) -> u64 {
        let voters: Vec<_> = self.voters().collect();
        let quorum = voters.len() / 2 + 1;
        let mut times: Vec<_> = voters
            .into_iter()
            .map(|id| {
                let mut time = 50_000;
                if id != centre {
                    time += self.net.delay() + self.net.delay();
                }
                if synced && let Some(there) = self.nodes.get_mut(&id) {
                    time += there.disk.sync_time();
                }
                time
            })
            .collect();
        times.sort_unstable();
        times[quorum - 1]
    }
}
