//! A cluster around one coordinator: regions that answer as they should, unless a test tells them not to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{
    Boot, ClusterId, Context, Epoch, HandoffId, Home, Identity, Incarnation, Index, Instant,
    LedgerId, Message, NodeId, Now, Renew, Settings, ShardId, Term, TransferId, WorkerHealth,
    WorkerOrder, WorkerReport,
};
use crate::control::{Command, ControlState, Entry, Ownership, Replica};
use crate::coordinator::{Action, Coordinator, Request, RequestError};
use crate::{Digest, Durability, KindName};

pub(super) struct Town {
    pub(super) now: Instant,
    pub(super) control: ControlState,
    pub(super) log: Vec<Entry>,
    pub(super) coordinator: Coordinator,
    pub(super) regions: BTreeMap<NodeId, Region>,
    /// All that the coordinator sent, with its receiver.
    pub(super) sent: Vec<(NodeId, Message)>,
    /// Proposals that wait while the log is stuck.
    pub(super) stuck: Option<VecDeque<(Term, Command)>>,
    /// The first entry for which this holds is applied, and the coordinator is gone before it sees it.
    pub(super) dies_at: Option<fn(&Command) -> bool>,
    settings: Settings,
    /// The node that coordinates, and its Raft term.
    me: NodeId,
    term: u64,
    mail: VecDeque<(Home, Message)>,
    renewed: Instant,
}

/// A region, as far as a coordinator sees it.
pub(super) struct Region {
    pub(super) alive: bool,
    /// Messages that do not reach it, or that it does not answer.
    pub(super) ignores: BTreeSet<&'static str>,
    /// What its workers say of themselves when asked.
    pub(super) worker_health: WorkerHealth,
    /// Whole shards that were shipped to it.
    pub(super) shipped: BTreeSet<(TransferId, ShardId)>,
    boot: Arc<Boot>,
    home: Home,
    seq: u64,
    confirmed: u64,
    reports: u64,
}

pub(super) const STEP: Duration = Duration::from_millis(5);

impl Town {
    /// So many nodes that are up and have ledgers, and node 1 coordinates.
    pub(super) fn new(nodes: u64) -> Self {
        let mut town = Self {
            now: Instant(1_000_000_000),
            control: ControlState::new(ClusterId(7)),
            log: Vec::new(),
            coordinator: Coordinator::new(),
            regions: BTreeMap::new(),
            sent: Vec::new(),
            stuck: None,
            dies_at: None,
            settings: Settings::lan(),
            me: NodeId(1),
            term: 0,
            mail: VecDeque::new(),
            renewed: Instant(0),
        };
        for number in 1..=nodes {
            town.found(NodeId(number));
        }
        town.elect(1);
        town.run_ms(500);
        town
    }

    /// A node that is up, without asking a coordinator.
    fn found(&mut self, node: NodeId) {
        self.boot(node);
        let boot = Arc::clone(&self.regions[&node].boot);
        let disk = boot.disk;
        let term = Term::default();
        self.commit(term, Command::Join { boot, after: None });
        let home = self.home(node.0);
        self.commit(term, Command::Up { member: home });
        let open = Command::OpenLedger {
            home,
            after: None,
            replicas: vec![Replica { node, disk }],
        };
        self.commit(term, open);
    }

    /// A process that is no member yet starts.
    fn boot(&mut self, node: NodeId) {
        let process = self
            .regions
            .get(&node)
            .map_or(1, |old| old.boot.process + 1);
        let boot = Boot {
            cluster: ClusterId(7),
            node,
            process,
            machine: node.0,
            directory: node.0,
            disk: node.0 * 100,
            address: crate::cluster::NodeAddress::default(),
            zone: format!("z{}", node.0 % 3),
            version: 1,
            protocol: crate::cluster::ProtocolRange { min: 1, max: 1 },
        };
        let region = Region {
            alive: true,
            ignores: BTreeSet::new(),
            worker_health: WorkerHealth::Running,
            shipped: BTreeSet::new(),
            boot: Arc::new(boot),
            home: Home {
                node,
                incarnation: Incarnation(0),
            },
            seq: 0,
            confirmed: 0,
            reports: 0,
        };
        self.regions.insert(node, region);
    }

    /// A process starts, also again, and asks to be a member.
    pub(super) fn start(&mut self, node: u64) {
        self.boot(NodeId(node));
    }

    pub(super) fn kill(&mut self, node: u64) {
        self.region(node).alive = false;
    }

    /// The coordinator's loop stands still: renewals wait at its door.
    pub(super) fn pause_ms(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
    }

    /// A supervisor saw a node's process exit.
    pub(super) fn exited(&mut self, node: u64) {
        let home = self.home(node);
        self.with(|coordinator, cx| coordinator.handle_exited(cx, home));
        self.settle();
    }

    pub(super) fn region(&mut self, node: u64) -> &mut Region {
        self.regions.get_mut(&NodeId(node)).unwrap()
    }

    /// Another node leads, or the same one in a later term. What the last one knew is gone.
    pub(super) fn elect(&mut self, node: u64) {
        self.term += 1;
        self.me = NodeId(node);
        self.coordinator = Coordinator::new();
        self.dies_at = None;
        let term = self.term;
        self.with(|coordinator, cx| coordinator.handle_role(cx, Some(term)));
    }

    /// The same node is told that it leads in a term in which it may have led before.
    pub(super) fn lead_again(&mut self, number: u64) {
        self.with(|coordinator, cx| coordinator.handle_role(cx, Some(number)));
    }

    pub(super) fn request(&mut self, request: Request) -> Result<(), RequestError> {
        let mut result = Ok(());
        self.with(|coordinator, cx| result = coordinator.handle_request(cx, &request));
        self.settle();
        result
    }

    pub(super) fn deploy(&mut self, name: &str, durability: Durability, shards: u32) {
        self.request(Request::Deploy {
            name: KindName::new(name).unwrap(),
            component: Digest::of(name.as_bytes()),
            durability,
            shards,
        })
        .unwrap();
    }

    pub(super) fn scale(&mut self, name: &str, workers: u32) -> Result<(), RequestError> {
        self.request(Request::Scale {
            name: KindName::new(name).unwrap(),
            component: Digest::of(name.as_bytes()),
            durability: Durability::Durable,
            workers,
        })
    }

    pub(super) fn send_to_shard(&mut self, shard: ShardId, to: u64) {
        let to = NodeId(to);
        let shards = vec![shard];
        self.request(Request::Move { shards, to }).unwrap();
    }

    /// A message to the coordinator that the region did not think of itself.
    pub(super) fn say(&mut self, from: Home, message: Message) {
        self.mail.push_back((from, message));
        self.settle();
    }

    pub(super) fn run_ms(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while self.now < end {
            self.now = self.now + STEP;
            self.renew();
            if self
                .coordinator
                .poll_timeout()
                .is_some_and(|at| at <= self.now)
            {
                self.with(|coordinator, cx| coordinator.handle_timeout(cx));
            }
            self.settle();
        }
    }

    /// Runs until this holds. Says after how many milliseconds.
    pub(super) fn until(&mut self, ms_max: u64, holds: impl Fn(&Self) -> bool) -> u64 {
        let begin = self.now;
        while !holds(self) {
            let ms = self.now.since(begin).as_millis();
            assert!(ms < u128::from(ms_max), "not in {ms_max} ms\n{self}");
            self.run_ms(5);
        }
        u64::try_from(self.now.since(begin).as_millis()).unwrap()
    }

    pub(super) fn home(&self, node: u64) -> Home {
        self.control.members[&NodeId(node)].home()
    }

    /// The only space's shard of that number.
    pub(super) fn shard(&self, number: u32) -> ShardId {
        let space = *self.control.spaces.keys().next().unwrap();
        ShardId { space, number }
    }

    pub(super) fn owner(&self, shard: ShardId) -> Option<u64> {
        match self.control.shards[&shard].ownership {
            Ownership::Owned { home } => Some(home.node.0),
            _ => None,
        }
    }

    pub(super) fn epoch(&self, shard: ShardId) -> Epoch {
        self.control.shards[&shard].epoch
    }

    pub(super) fn handoff(&self, shard: ShardId) -> Option<HandoffId> {
        match self.control.shards[&shard].ownership {
            Ownership::Handoff { handoff, .. } => Some(handoff),
            _ => None,
        }
    }

    /// A shard that this node owns.
    pub(super) fn some_shard_of(&self, node: u64) -> ShardId {
        self.control.owned_by(self.home(node)).next().unwrap()
    }

    /// Everything has a live owner, and nothing moves.
    pub(super) fn calm(&self) -> bool {
        let owned = |ownership| match ownership {
            Ownership::Owned { home } => self.control.live(home).is_some(),
            _ => false,
        };
        let mut shards = self.control.shards.values();
        shards.all(|shard| owned(shard.ownership)) && self.coordinator.handoffs().next().is_none()
    }

    /// How many shards each node owns.
    pub(super) fn loads(&self) -> Vec<usize> {
        let members = self.control.members.values();
        let count = |home| self.control.owned_by(home).count();
        members.map(|member| count(member.home())).collect()
    }

    /// Commands in the log of which this is true.
    pub(super) fn logged(&self, wanted: fn(&Command) -> bool) -> usize {
        self.log
            .iter()
            .filter(|entry| wanted(&entry.command))
            .count()
    }

    /// Messages of that name which were sent to a node.
    pub(super) fn sent_to(&self, node: u64, wanted: &str) -> usize {
        let to = NodeId(node);
        let sent = self.sent.iter();
        sent.filter(|(node, message)| *node == to && name(message) == wanted)
            .count()
    }

    /// Lets what is stuck go to the log.
    pub(super) fn unstick(&mut self) {
        for (term, command) in self.stuck.take().unwrap_or_default() {
            self.commit(term, command);
        }
        self.settle();
    }

    /// Appends an entry and applies it.
    pub(super) fn commit(&mut self, term: Term, command: Command) {
        let index = Index(self.control.applied.0 + 1);
        let entry = Entry {
            index,
            term,
            command,
        };
        self.control.apply(&entry).unwrap();
        self.control.check_invariants();
        self.log.push(entry.clone());
        if self.dies_at.is_some_and(|dies| dies(&entry.command)) {
            self.coordinator = Coordinator::new();
        }
        self.with(|coordinator, cx| coordinator.handle_applied(cx, &entry));
    }

    fn with(&mut self, input: impl FnOnce(&mut Coordinator, &Context<'_>)) {
        let me = self.control.members.get(&self.me);
        let cx = Context {
            now: Now {
                instant: self.now,
                utc_ms: 0,
            },
            control: &self.control,
            settings: &self.settings,
            me: Identity {
                node: self.me,
                incarnation: me.map_or(Incarnation(0), |member| member.incarnation),
            },
            lease_until: self.now + Duration::from_secs(1),
        };
        input(&mut self.coordinator, &cx);
        self.coordinator.check_invariants(&cx);
    }

    /// Messages and proposals until there are none.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 100_000, "a storm\n{self}");
            if let Some(action) = self.coordinator.poll_action() {
                match action {
                    Action::Send { to, message } => self.deliver(to, message),
                    Action::Barrier { id } => {
                        let index = Some(self.control.applied);
                        self.with(|coordinator, cx| coordinator.handle_barrier(cx, id, index));
                    }
                    Action::Propose(command) => {
                        let term = self.coordinator.term().unwrap();
                        match &mut self.stuck {
                            Some(stuck) => stuck.push_back((term, command)),
                            None => self.commit(term, command),
                        }
                    }
                }
            } else if let Some((from, message)) = self.mail.pop_front() {
                self.with(|coordinator, cx| coordinator.handle_message(cx, from, &message));
            } else {
                return;
            }
        }
    }

    fn renew(&mut self) {
        if self.now.since(self.renewed) < self.settings.timing.renew {
            return;
        }
        self.renewed = self.now;
        for (node, region) in &mut self.regions {
            if !region.alive || region.ignores.contains("Renew") {
                continue;
            }
            let member = self.control.members.get(node);
            let member = member.filter(|it| it.boot.process == region.boot.process);
            match member.filter(|it| self.control.live(it.home()).is_some()) {
                Some(member) if member.home() == region.home => {}
                Some(member) => {
                    region.home = member.home();
                    (region.seq, region.confirmed) = (0, 0);
                    region.shipped.clear();
                }
                None => {
                    let message = Message::Join(Arc::clone(&region.boot));
                    region.home.incarnation = Incarnation(0);
                    self.mail.push_back((region.home, message));
                    continue;
                }
            }
            region.seq += 1;
            let renew = Renew {
                incarnation: region.home.incarnation,
                seq: region.seq,
                confirmed: region.confirmed,
                applied: self.control.applied,
            };
            self.mail.push_back((region.home, Message::Renew(renew)));
            if region.ignores.contains("Adopted") {
                continue;
            }
            for shard in self.control.owned_by(region.home) {
                let record = &self.control.shards[&shard];
                let epoch = record.epoch;
                for source in record.sources.iter().map(|source| source.ledger) {
                    let adopted = Message::Adopted {
                        shard,
                        epoch,
                        source,
                    };
                    self.mail.push_back((region.home, adopted));
                }
            }
        }
    }

    fn deliver(&mut self, to: NodeId, message: Message) {
        let heard = self.regions.get(&to);
        let heard = heard.filter(|it| it.alive && !it.ignores.contains(name(&message)));
        if let Some(region) = heard {
            let home = region.home;
            self.answer(home, &message);
        }
        self.sent.push((to, message));
    }

    /// What a region does that is told so.
    fn answer(&mut self, home: Home, message: &Message) {
        match message {
            Message::Grant(grant) if grant.incarnation == home.incarnation => {
                let region = self.region(home.node.0);
                region.confirmed = region.confirmed.max(grant.seq);
            }
            Message::Start { shards, .. } => {
                let mine = |&&(shard, epoch): &&(ShardId, Epoch)| {
                    self.control.home_of(shard) == Some((home, epoch))
                };
                let shards = shards.iter().filter(mine).copied().collect();
                self.mail.push_back((home, Message::Started { shards }));
            }
            Message::Precopy(order) => {
                let transfer = order.transfer;
                self.mail.push_back((home, Message::Precopied { transfer }));
            }
            Message::BeginHandoff { handoff, order } => {
                let target = self.regions.get_mut(&order.to.node).unwrap();
                let shards: Vec<ShardId> = order.shards.iter().map(|&(id, _)| id).collect();
                if target.alive && target.home == order.to && !target.ignores.contains("Chunk") {
                    let shipped = shards.iter().map(|&shard| (order.transfer, shard));
                    target.shipped.extend(shipped);
                }
                let handoff = *handoff;
                self.mail
                    .push_back((home, Message::HandoffAcked { handoff, shards }));
            }
            Message::InstallQuery {
                handoff,
                shards,
                last,
                ..
            } => {
                for &shard in shards {
                    self.answer_query(home, *handoff, shard, *last);
                }
            }
            Message::StartWorker(order) => {
                let health = self.region(home.node.0).worker_health;
                self.report(home, order, health);
            }
            Message::StopWorker(order) => self.report(home, order, WorkerHealth::Stopped),
            _ => {}
        }
    }

    fn answer_query(&mut self, home: Home, handoff: HandoffId, shard: ShardId, last: bool) {
        let Some(Ownership::Handoff { transfer, to, .. }) =
            self.control.shards.get(&shard).map(|each| each.ownership)
        else {
            return;
        };
        let answer = if to == home
            && self.regions[&home.node]
                .shipped
                .contains(&(transfer, shard))
        {
            self.installed(home, handoff, shard)
        } else if last {
            Message::NotInstalled { handoff, shard }
        } else {
            return;
        };
        self.mail.push_back((home, answer));
    }

    pub(super) fn installed(&self, home: Home, handoff: HandoffId, shard: ShardId) -> Message {
        let ledger: Option<LedgerId> = self.control.live(home).and_then(|member| member.ledger);
        Message::Installed {
            handoff,
            shard,
            digest: Digest::of(b"states"),
            ledger,
        }
    }

    pub(super) fn report(&mut self, home: Home, order: &WorkerOrder, health: WorkerHealth) {
        let region = self.region(home.node.0);
        region.reports += 1;
        let report = WorkerReport {
            worker: order.worker,
            revision: order.revision,
            epoch: order.epoch,
            seq: region.reports,
            health,
        };
        self.mail.push_back((home, Message::WorkerState(report)));
    }
}

impl std::fmt::Display for Town {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "at {:?}, term {:?}", self.now, self.coordinator.term())?;
        for member in self.control.members.values() {
            writeln!(f, "  {} {:?}", member.home(), member.status)?;
        }
        for (id, shard) in &self.control.shards {
            writeln!(
                f,
                "  {id} {} {:?} {:?}",
                shard.epoch, shard.ownership, shard.sources
            )?;
        }
        for each in self.coordinator.handoffs() {
            writeln!(f, "  {each:?}")?;
        }
        for entry in self.log.iter().rev().take(12) {
            writeln!(f, "  {} {} {:?}", entry.index, entry.term, entry.command)?;
        }
        for (to, message) in self.sent.iter().rev().take(12) {
            writeln!(f, "  to {to}: {message:?}")?;
        }
        Ok(())
    }
}

/// The variant's name.
fn name(message: &Message) -> &'static str {
    match message {
        Message::Grant(_) => "Grant",
        Message::NewCoordinator { .. } => "NewCoordinator",
        Message::Start { .. } => "Start",
        Message::Precopy(_) => "Precopy",
        Message::BeginHandoff { .. } => "BeginHandoff",
        Message::InstallQuery { .. } => "InstallQuery",
        Message::Release { .. } => "Release",
        Message::HandoffAborted { .. } => "HandoffAborted",
        Message::StartWorker(_) => "StartWorker",
        Message::StopWorker(_) => "StopWorker",
        Message::ShardHome { .. } => "ShardHome",
        _ => "another",
    }
}
