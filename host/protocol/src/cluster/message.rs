use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Blob, ClusterId, Epoch, HandoffId, Home, Incarnation, Index, LedgerId, NodeId, ShardId,
    StoredRecord, Term, TransferId,
};
use crate::control::{ControlState, Entry};
use crate::{CallError, Digest, EntityId, Envelope, Payload};

mod frame;

pub use frame::{Frame, FrameError};

/// Everything that one node says to another. Also the wire type: see [`Frame`].
///
/// Who sent a message is never in it: the transport knows the authenticated peer and its incarnation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// A process wants to be a member.
    Join(Arc<Boot>),
    /// It cannot be, and why.
    JoinRefused {
        /// Of the [`Boot`] that asked.
        process: u64,
        /// Why.
        reason: JoinRefusal,
    },
    /// A region asks for its lease to run on.
    Renew(Renew),
    /// It does.
    Grant(Grant),
    /// The coordinator speaks for the first time.
    NewCoordinator {
        /// Its fencing number.
        term: Term,
        /// What is committed.
        index: Index,
    },
    /// The receiver is a member no more.
    Downed {
        /// The coordinator's fencing number.
        term: Term,
        /// Which of the receiver's lives.
        incarnation: Incarnation,
        /// What decided it.
        index: Index,
    },
    /// A member wants to go.
    Leave {
        /// Which.
        incarnation: Incarnation,
    },
    /// It owns nothing any more and may stop.
    LeaveDone {
        /// Which.
        incarnation: Incarnation,
    },
    /// Entries of the control log, in order and without a gap.
    MetaDelta(MetaDelta),
    /// The whole control state, for who is far behind.
    MetaState(Arc<ControlState>),
    /// Asks for what follows.
    MetaPull {
        /// What the asker has.
        applied: Index,
    },
    /// Where does this shard live?
    ShardHomeQuery {
        /// Which.
        shard: ShardId,
        /// What the asker has.
        applied: Index,
    },
    /// It lives there.
    ShardHome {
        /// Which.
        shard: ShardId,
        /// The committed state that says so.
        index: Index,
        /// Nobody, if it is not assigned.
        home: Option<(Home, Epoch)>,
    },
    /// The receiver owns these by the control log; it may not know yet.
    Start {
        /// The coordinator's fencing number.
        term: Term,
        /// What has to be applied to see it.
        index: Index,
        /// Which, under which epoch.
        shards: Vec<(ShardId, Epoch)>,
    },
    /// These are served.
    Started {
        /// Which, under which epoch.
        shards: Vec<(ShardId, Epoch)>,
    },
    /// These are not the receiver's: a stale `Start`.
    StartRefused {
        /// Which, under which epoch.
        shards: Vec<(ShardId, Epoch)>,
        /// What the region has applied.
        applied: Index,
    },
    /// Ship what you have of these, and go on serving them.
    Precopy(ShardMove),
    /// Enough of it is there: the rest will be little.
    Precopied {
        /// Which transfer.
        transfer: TransferId,
    },
    /// Stop serving these and ship the rest.
    BeginHandoff {
        /// Which handoff.
        handoff: HandoffId,
        /// What moves where.
        order: ShardMove,
    },
    /// The sender dispatches nothing of these any more.
    HandoffAcked {
        /// Which handoff.
        handoff: HandoffId,
        /// Of which shards.
        shards: Vec<ShardId>,
    },
    /// A part of a shard's states.
    Chunk(Arc<Chunk>),
    /// It is there.
    ChunkAcked {
        /// Which transfer.
        transfer: TransferId,
        /// Which shard.
        shard: ShardId,
        /// Which part.
        part: u64,
    },
    /// Say that you have it all, or promise that you will never install it.
    InstallQuery {
        /// The coordinator's fencing number.
        term: Term,
        /// Which handoff.
        handoff: HandoffId,
        /// Which shards.
        shards: Vec<ShardId>,
        /// The source is gone: nothing more will come.
        last: bool,
    },
    /// All of this shard is here, and on as many disks as its durability wants.
    Installed {
        /// Which handoff.
        handoff: HandoffId,
        /// Which shard.
        shard: ShardId,
        /// Of all its records: what was taken is what was restored.
        digest: Digest,
        /// The ledger that has it; nothing of a memory kind.
        ledger: Option<LedgerId>,
    },
    /// It is not, and will not be.
    NotInstalled {
        /// Which handoff.
        handoff: HandoffId,
        /// Which shard.
        shard: ShardId,
    },
    /// A handoff is complete by the control log: drop what moved.
    Release {
        /// The coordinator's fencing number.
        term: Term,
        /// What has to be applied to see it.
        index: Index,
        /// Which handoff.
        handoff: HandoffId,
        /// Which shards.
        shards: Vec<ShardId>,
    },
    /// A handoff is off by the control log: drop what was shipped, serve again under the new epoch.
    HandoffAborted {
        /// The coordinator's fencing number.
        term: Term,
        /// What has to be applied to see it; of a transfer whose handoff was never committed: 0.
        index: Index,
        /// Which transfer.
        transfer: TransferId,
        /// Which shards.
        shards: Vec<ShardId>,
    },
    /// An entity is in memory.
    EntityStarted {
        /// Its shard.
        shard: ShardId,
        /// The shard's epoch.
        epoch: Epoch,
        /// Counts what the region reports of this shard and epoch.
        seq: u64,
        /// How many of the shard are in memory now.
        live: u64,
    },
    /// An entity is not in memory any more.
    EntityStopped {
        /// Its shard.
        shard: ShardId,
        /// The shard's epoch.
        epoch: Epoch,
        /// Counts what the region reports of this shard and epoch.
        seq: u64,
        /// How many of the shard are in memory now.
        live: u64,
        /// Why.
        reason: StopReason,
    },
    /// This worker has to run (again): it was moved here, or scaled up, or is told to start anew.
    StartWorker(WorkerOrder),
    /// This worker is one too many.
    StopWorker(WorkerOrder),
    /// How a worker is.
    WorkerState(WorkerReport),
    /// Does `entity`, or whom it waits for, wait for the first of the chain?
    WaitProbe {
        /// Who asks: the entity that began to wait, and for which of its calls.
        origin: (EntityId, u64),
        /// The node that asks.
        home: Home,
        /// Who waits for whom, from the origin on; the last one is asked.
        chain: Vec<EntityId>,
        /// How often it was forwarded.
        hop: u32,
    },
    /// It does: a circle.
    WaitCircle {
        /// Who asked.
        origin: (EntityId, u64),
        /// The circle.
        chain: Vec<EntityId>,
    },
    /// Who has this component?
    ComponentQuery {
        /// Its digest.
        digest: Digest,
    },
    /// Here it is.
    Component {
        /// Its digest: the receiver checks it.
        digest: Digest,
        /// The component.
        bytes: Blob,
    },
    /// Keep this record.
    Append {
        /// In which ledger.
        ledger: LedgerId,
        /// Counts the ledger's records from 1.
        seq: u64,
        /// Of which shard.
        shard: ShardId,
        /// What.
        record: Arc<StoredRecord>,
    },
    /// It is on this disk.
    Appended {
        /// In which ledger.
        ledger: LedgerId,
        /// Which.
        seq: u64,
    },
    /// Nothing may be appended to this ledger any more.
    AppendRefused {
        /// Which ledger.
        ledger: LedgerId,
        /// Which record.
        seq: u64,
    },
    /// Take nothing more for this ledger, so that it can be read.
    Seal {
        /// Which.
        ledger: LedgerId,
    },
    /// Nothing more will be taken, also after a crash.
    Sealed {
        /// Which.
        ledger: LedgerId,
    },
    /// This node has no copy that counts: it lost its disk, or never was a replica.
    SealRefused {
        /// Which.
        ledger: LedgerId,
    },
    /// The latest record of an entity, or a page of a shard's, from a sealed ledger.
    FetchState {
        /// The asker's number of the question.
        query: u64,
        /// From which ledger.
        ledger: LedgerId,
        /// Of which shard.
        shard: ShardId,
        /// The lowest stamp of a record that counts.
        since: Epoch,
        /// What.
        page: Page,
    },
    /// Here they are.
    State {
        /// The number of the question.
        query: u64,
        /// From which ledger.
        ledger: LedgerId,
        /// The records, in the order of their entities.
        records: Vec<StoredRecord>,
        /// There are more behind the last one.
        more: bool,
    },
    /// Every state of this shard that the ledger had is in the sender's own.
    Adopted {
        /// The shard.
        shard: ShardId,
        /// The ownership that adopted.
        epoch: Epoch,
        /// The ledger that is not needed for it any more.
        source: LedgerId,
    },
    /// A call.
    Call(Call),
    /// Its answer.
    Reply(Reply),
    /// The call did not run: its shard is not served here any more, or not by this epoch.
    Moved {
        /// The life of the receiver that sent it: another one has lanes of its own, with the same numbers.
        origin: Incarnation,
        /// Which shard.
        shard: ShardId,
        /// The epoch under which the call was sent.
        epoch: Epoch,
        /// Its number under that epoch.
        seq: u64,
        /// The new home, if the sender knows one, by the entry with this index.
        to: Option<(Index, Home, Epoch)>,
    },
}

/// A process that wants to be a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// The cluster that the data directory belongs to.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// Higher with each start on one data directory: of two processes the higher one is the newer, and has its lock.
    pub process: u64,
    /// The machine's boot id.
    pub machine: u64,
    /// The inode of the data directory that this process has locked.
    pub directory: u64,
    /// Drawn when the data directory was made: another one is another disk.
    pub disk: u64,
    /// Where it is reached.
    pub address: NodeAddress,
    /// What fails together.
    pub zone: String,
    /// The version of the program.
    pub version: u32,
    /// What it can speak.
    pub protocol: ProtocolRange,
}

impl Boot {
    /// Whether this process can only run because that one does not any more: it has locked the same directory on the same machine.
    pub fn proves_death_of(&self, other: &Self) -> bool {
        let place = |boot: &Self| (boot.node, boot.machine, boot.directory, boot.disk);
        place(self) == place(other) && self.process != other.process
    }
}

/// Where a node is reached: `IP:PORT` each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeAddress {
    /// For calls and snapshots.
    pub data: String,
    /// For leases, orders and the control log.
    pub control: String,
}

/// The versions of the wire format that a program can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtocolRange {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

/// Why a process cannot be a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum JoinRefusal {
    /// The data directory is another cluster's.
    #[error(
        "this data directory belongs to cluster {theirs}, not to {ours}: start the node with an empty one"
    )]
    OtherCluster {
        /// The coordinator's.
        ours: ClusterId,
        /// The process's.
        theirs: ClusterId,
    },
    /// The program is too old or too new.
    #[error("the cluster speaks protocol {cluster}, this program {min} to {max}: run a version that does", min = .node.min, max = .node.max)]
    Protocol {
        /// What the cluster speaks.
        cluster: u32,
        /// What the program can.
        node: ProtocolRange,
    },
    /// The node's id is known with another disk.
    #[error(
        "{node} had another data directory: what it promised to keep is lost; remove it (`entia remove {node}`) and join as a new node"
    )]
    DiskLost {
        /// Which node.
        node: NodeId,
    },
    /// A newer process of the same node is a member.
    #[error("a newer process of {node} is a member")]
    Superseded {
        /// Which node.
        node: NodeId,
    },
}

/// What a region sends every `renew` to every voter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// The region's life.
    pub incarnation: Incarnation,
    /// Counts its renewals from 1.
    pub seq: u64,
    /// The highest that it has a grant for: the proof that grants arrive.
    pub confirmed: u64,
    /// What it has applied of the control log.
    pub applied: Index,
}

/// What the coordinator answers after its barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The coordinator's fencing number.
    pub term: Term,
    /// The renewal.
    pub seq: u64,
    /// The life that it was for.
    pub incarnation: Incarnation,
    /// What was committed at the barrier.
    pub index: Index,
}

/// Entries `after + 1 ..` of the control log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetaDelta {
    /// What the entries follow.
    pub after: Index,
    /// At most [`super::Bounds::delta_max`].
    pub entries: Vec<Arc<Entry>>,
}

/// Shards on their way from one home to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardMove {
    /// The coordinator's fencing number.
    pub term: Term,
    /// Names what is shipped.
    pub transfer: TransferId,
    /// What the target stamps the records with: what was committed when the coordinator planned this, and never the same for two
    /// transfers of one shard. So what an earlier transfer left behind is told apart.
    pub stamp: Epoch,
    /// To whom.
    pub to: Home,
    /// Which, with the epoch under which the source owns them.
    pub shards: Vec<(ShardId, Epoch)>,
}

/// A part of the states of a shard. Idempotent by (transfer, shard, part).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Names what is shipped.
    pub transfer: TransferId,
    /// See [`ShardMove::stamp`].
    pub stamp: Epoch,
    /// Of which shard.
    pub shard: ShardId,
    /// Counts the parts of this shard from 0, through precopy and stop phase.
    pub part: u64,
    /// Of the records: a damaged one is not acknowledged.
    pub digest: Digest,
    /// The records; a later one of an entity takes the place of an earlier one.
    pub records: Vec<StoredRecord>,
    /// In the last part: the number of parts, and the digest of all records of the shard.
    pub end: Option<(u64, Digest)>,
}

/// What an order to a worker is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerOrder {
    /// The coordinator's fencing number.
    pub term: Term,
    /// The worker.
    pub worker: ShardId,
    /// Of the daemon set.
    pub revision: u64,
    /// The worker's ownership.
    pub epoch: Epoch,
    /// What has to be applied to see it.
    pub index: Index,
}

/// What a region reports of a worker, when it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// The worker.
    pub worker: ShardId,
    /// Of the daemon set.
    pub revision: u64,
    /// The worker's ownership.
    pub epoch: Epoch,
    /// Counts the reports of this ownership.
    pub seq: u64,
    /// How it is.
    pub health: WorkerHealth,
}

/// How a worker is, judged by the region that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerHealth {
    /// It runs, and its steps come in time.
    Running,
    /// Its step was stopped, or failed; it runs again after a pause.
    Restarting {
        /// Failures in a row.
        failures: u32,
    },
    /// It failed too often here: elsewhere, please.
    Failing {
        /// Failures in a row.
        failures: u32,
    },
    /// It was one too many, and runs no more.
    Stopped,
}

/// Why an entity is not in memory any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// Nobody called it, or others needed the room.
    Passivated,
    /// Its shard moved.
    HandedOff,
    /// It trapped, or its commit failed.
    Crashed,
    /// Somebody deleted it.
    Deleted,
}

/// What is asked of a sealed ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Page {
    /// One entity.
    Entity(EntityId),
    /// All, from behind this one.
    After(Option<EntityId>),
}

/// A call on its way to the home of its entity.
///
/// The calls of one origin to one shard under one epoch are a lane: numbered from 1 without a gap, run in that order, sent
/// again until they are answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The lane: of which shard.
    pub shard: ShardId,
    /// The lane: under which ownership.
    pub epoch: Epoch,
    /// Its number in the lane.
    pub seq: u64,
    /// The lowest number that the origin still waits for. Nobody asks for anything below it again, and the home does not wait
    /// for any below it to come: also not in a lane of which this is the first that it hears.
    pub lowest: u64,
    /// Milliseconds until nobody waits any more.
    pub left_ms: u64,
    /// The call.
    pub envelope: Arc<Envelope>,
}

/// The answer to the call with the same lane and number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The life of the receiver that sent it: another one has lanes of its own, with the same numbers.
    pub origin: Incarnation,
    /// The lane.
    pub shard: ShardId,
    /// The lane.
    pub epoch: Epoch,
    /// The call.
    pub seq: u64,
    /// The answer.
    pub answer: Arc<Result<Payload, CallError>>,
}
