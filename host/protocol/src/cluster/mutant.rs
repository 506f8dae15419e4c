/// A safety rule that is left out, to show that the simulator notices. `None` outside of it, and no configuration can set one.
///
/// One for each rule that PROTOCOL.md's section 9 names, and for those that were found since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// A new coordinator does not wait for leases that its predecessor may have granted.
    NoTakeoverWait,
    /// A lease runs from the receipt of the grant instead of the sending of its renewal.
    LeaseFromReceipt,
    /// A grant is given without a barrier: by a coordinator that may be one no more.
    StaleGrant,
    /// A source dispatches after it acknowledged the handoff.
    RunAfterAck,
    /// A region takes a `Start` for an ownership, whatever its epoch.
    StartIgnoresEpoch,
    /// A dead node's shards are assigned before its lease has run out.
    ReassignBeforeExpiry,
    /// No check of the lease at dispatch and release.
    NoDispatchCheck,
    /// A `Start` at or below the applied index is obeyed.
    StaleStart,
    /// An incarnation whose Down is proposed is still granted.
    GrantDownRace,
    /// A handoff that fails gives the shard back under its old epoch.
    SameEpochOnRevert,
    /// A handoff that is ordered again is not acknowledged again.
    NoReAck,
    /// Leases are not shortened and lengthened by what clocks may drift.
    NoDriftMargin,
    /// Grants go on to a region that confirms none.
    UnconfirmedGrants,
    /// Keys of a turn's effects come from a counter in memory.
    CounterKeys,
    /// Answers leave before their record is committed.
    ReplyBeforeCommit,
    /// A ledger that is taken over is read and not sealed.
    NoSeal,
    /// A state that is taken over is used before it is on two machines again.
    UseBeforeAdoption,
    /// Calls go to a shard's new home while the old one still has some of them.
    NoLaneDrain,
    /// The sources of a shard are forgotten before every state was adopted.
    ForgetSources,
    /// A partial transfer is installed.
    PartialInstall,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::NoTakeoverWait,
        Self::LeaseFromReceipt,
        Self::StaleGrant,
        Self::RunAfterAck,
        Self::StartIgnoresEpoch,
        Self::ReassignBeforeExpiry,
        Self::NoDispatchCheck,
        Self::StaleStart,
        Self::GrantDownRace,
        Self::SameEpochOnRevert,
        Self::NoReAck,
        Self::NoDriftMargin,
        Self::UnconfirmedGrants,
        Self::CounterKeys,
        Self::ReplyBeforeCommit,
        Self::NoSeal,
        Self::UseBeforeAdoption,
        Self::NoLaneDrain,
        Self::ForgetSources,
        Self::PartialInstall,
    ];
}
