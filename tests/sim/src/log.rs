//! The control log as an oracle: not Raft, but everything that Raft may do to who uses it.
//!
//! ```text
//!   Propose ──► pending (at the leader) ──quorum──► entries ──► each voter, with a lag of its own: Applied, or State
//!                  │ new leader: the first few survive, the rest is lost
//!   Barrier ──► half a round trip ──► leads, with a quorum? ──► half a round trip ──► Some(index) or None
//! ```
//! What it does with nodes and links is in `world::control_log`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use entia_protocol::cluster::{ClusterId, Index, Mutant, NodeId, Term};
use entia_protocol::control::{Command, ControlState, Entry};

use crate::plan::LogPlan;
use crate::seeded::{self, Rng};

/// The log, and who believes what of it.
#[derive(Debug)]
pub struct Log {
    /// What is committed: the entry with index 1 first.
    pub entries: Vec<Arc<Entry>>,
    /// What that makes.
    pub state: Arc<ControlState>,
    /// The last one that was elected.
    pub leader: Option<NodeId>,
    /// In which Raft term.
    pub term: u64,
    /// Who believes to lead, in which Raft term. A leader that was replaced may be among them for long.
    pub beliefs: BTreeMap<NodeId, u64>,
    /// What the leader has and a quorum has not.
    pub(crate) pending: VecDeque<Entry>,
    /// What each voter has.
    pub(crate) replicas: BTreeMap<NodeId, Replica>,
    /// Since when nobody leads.
    pub(crate) lost_since: Option<u64>,
    /// How long that may be.
    pub(crate) patience: u64,
    /// When the next commit of what is pending is due.
    pub(crate) commit_due: u64,
    /// The state at every 64th entry, from 0 on.
    checkpoints: Vec<Arc<ControlState>>,
    fair: LogPlan,
    weather: BTreeMap<u32, LogPlan>,
    mutant: Option<Mutant>,
    pub(crate) rng: Rng,
}

/// What a voter has.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Replica {
    /// The entries on its disk.
    pub(crate) stored: u64,
    /// The entries that it was handed, or will be.
    pub(crate) sent: u64,
    /// When it is handed the last one.
    pub(crate) due: u64,
    /// It lost its disk: it may not vote.
    pub(crate) lost: bool,
}

/// How many entries lie between two checkpoints.
const CHECKPOINT: usize = 64;

impl Log {
    /// An empty log.
    pub fn new(cluster: ClusterId, plan: LogPlan, mutant: Option<Mutant>, rng: Rng) -> Self {
        let state = Arc::new(ControlState::new(cluster));
        Self {
            entries: Vec::new(),
            state: Arc::clone(&state),
            leader: None,
            term: 0,
            beliefs: BTreeMap::new(),
            pending: VecDeque::new(),
            replicas: BTreeMap::new(),
            lost_since: None,
            patience: 0,
            commit_due: 0,
            checkpoints: vec![state],
            fair: plan,
            weather: BTreeMap::new(),
            mutant,
            rng,
        }
    }

    /// The index of the last entry that is committed.
    pub fn committed(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The state at an index that is committed.
    pub fn state_at(&self, index: u64) -> Arc<ControlState> {
        if index == self.committed() {
            return Arc::clone(&self.state);
        }
        let at = usize::try_from(index).expect("as many entries as fit into memory");
        let mut state = Arc::clone(&self.checkpoints[at / CHECKPOINT]);
        let from = at - at % CHECKPOINT;
        for entry in &self.entries[from..at] {
            Arc::make_mut(&mut state).apply_with(entry, self.mutant);
        }
        state
    }

    /// The entry after `term`'s leader has proposed `command`, as its own log has it.
    pub(crate) fn append(&mut self, term: Term, command: Command) {
        let index = Index(self.committed() + self.pending.len() as u64 + 1);
        self.pending.push_back(Entry {
            index,
            term,
            command,
        });
    }

    /// Commits the first entry that is pending.
    pub(crate) fn commit(&mut self) -> Option<Arc<Entry>> {
        let entry = Arc::new(self.pending.pop_front()?);
        Arc::make_mut(&mut self.state).apply_with(&entry, self.mutant);
        self.entries.push(Arc::clone(&entry));
        if self.entries.len().is_multiple_of(CHECKPOINT) {
            self.checkpoints.push(Arc::clone(&self.state));
        }
        Some(entry)
    }

    /// Another leader: what was pending survives in part.
    pub(crate) fn elected(&mut self, leader: NodeId) {
        let same = self.leader == Some(leader);
        if !same {
            let kept = seeded::within(&mut self.rng, 0, self.pending.len() as u64);
            self.pending
                .truncate(usize::try_from(kept).expect("no more than there are"));
        }
        self.term += 1;
        self.leader = Some(leader);
        self.beliefs.insert(leader, self.term);
        self.lost_since = None;
    }

    /// How the log behaves now.
    pub(crate) fn current(&self) -> LogPlan {
        self.weather
            .last_key_value()
            .map_or(self.fair, |(_, plan)| *plan)
    }

    /// Behaves otherwise from now on.
    pub(crate) fn begin_weather(&mut self, fault: u32, plan: LogPlan) {
        self.weather.insert(fault, plan);
    }

    /// No more.
    pub(crate) fn end_weather(&mut self, fault: u32) {
        self.weather.remove(&fault);
    }
}
