//! A shard moves, and somebody who takes part is lost: at each step of the handoff.
//!
//! S1 and S3 to S8 of PROTOCOL section 8. S2 is in `sharding_failover`.

use std::collections::{BTreeMap, BTreeSet};

use entia_protocol::cluster::Message;
use entia_protocol::control::Command;
use entia_sim::faults::{FaultKind, Who};
use entia_sim::story::{
    Story, Told, When, after, applied, aside, begins, completes, kill_for, ms, received, sent,
    started, within,
};

/// A busy cluster in which a durable shard moves at 3 s, between two nodes that do not coordinate.
fn moving(seed: u64) -> Story {
    Story::new(seed)
        .lasting(ms(9_000), ms(15_000))
        .when(started(ms(3_000 + 37 * seed)))
        .then_as(aside)
}

fn kill(who: Who) -> FaultKind {
    kill_for(who, ms(5_000))
}

fn acked(message: &Message) -> bool {
    matches!(message, Message::HandoffAcked { .. })
}

/// It was decided once how the handoff ended.
fn ended_once(told: &Told) {
    let endings = told.endings();
    let count = endings.iter().filter(|ending| ending.counts).count();
    // A target that died ends it by its own Down.
    assert!(count <= 1, "{endings:?}");
}

#[test]
fn s1_a_coordinator_killed_before_begin_is_sent_leaves_a_handoff_that_the_next_one_ends() {
    within("S1", ms(2_000), |seed| {
        let told = moving(seed)
            .when(applied(begins))
            .instead(kill(Who::Coordinator))
            .tell();
        ended_once(&told);
        told.settled(told.struck())
    });
}

#[test]
fn s3_a_coordinator_killed_after_the_acknowledgement_takes_no_second_snapshot_with_it() {
    within("S3", ms(2_000), |seed| {
        let told = moving(seed)
            .when(received(acked))
            .then(kill(Who::Coordinator))
            .tell();
        ended_once(&told);
        assert_eq!(told.endings().len(), 1);
        assert_one_snapshot(&told);
        told.settled(told.struck())
    });
}

/// All that was shipped of the shard belongs to one transfer, each part was made once, and none after the acknowledgement.
fn assert_one_snapshot(told: &Told) {
    let Command::BeginHandoff { shards, .. } = &told.handoff().entry.command else {
        unreachable!("it is one");
    };
    let acknowledged = told.sent(acked)[0].at;
    for &(shard, _) in shards {
        let mut transfers = BTreeSet::new();
        let mut parts = BTreeMap::new();
        for sent in told.sent(|message| matches!(message, Message::Chunk(_))) {
            let Message::Chunk(chunk) = &sent.message else {
                continue;
            };
            if chunk.shard == shard && sent.at <= told.struck() + 2_000_000_000 {
                transfers.insert(chunk.transfer);
                let first = *parts.entry(chunk.part).or_insert((chunk.digest, sent.at));
                assert_eq!(first.0, chunk.digest, "part {} is another", chunk.part);
                assert!(first.1 <= acknowledged, "part {} is new", chunk.part);
            }
        }
        assert_eq!(
            transfers.len(),
            1,
            "{shard} was shipped once: {transfers:?}"
        );
    }
}

/// A coordinator that stops then, and goes on three seconds later: nobody obeys it.
fn stops(when: When) -> u64 {
    let told = when
        .then(FaultKind::Pause {
            who: Who::Coordinator,
            lasts: ms(3_000),
        })
        .tell();
    let counting: Vec<_> = told.endings();
    assert_eq!(counting.iter().filter(|ending| ending.counts).count(), 1);
    let old = told.control_at(told.struck()).coordinator;
    let next = told.decided(|command| matches!(command, Command::Coordinate));
    let next = next.iter().find(|next| next.entry.term > old);
    let next = next.expect("another one took over");
    let grants = told.grants_of(told.victim(), next.at);
    let stale = grants.iter().filter(|granted| granted.grant.term == old);
    assert_eq!(stale.count(), 0, "its grants fail the barrier");
    let void = told.chronicle().decided.iter();
    let late = void.filter(|decided| decided.at > next.at && decided.entry.term == old);
    assert!(late.clone().all(|decided| !decided.counts));
    told.settled(told.struck().min(counting[0].at))
}

#[test]
fn s5_an_old_coordinator_that_wakes_up_in_the_middle_of_a_handoff_is_obeyed_by_nobody() {
    within("S5, begun", ms(2_000), |seed| {
        stops(moving(seed).when(applied(begins)))
    });
    within("S5, sent", ms(2_000), |seed| {
        let begin = |message: &Message| matches!(message, Message::BeginHandoff { .. });
        stops(moving(seed).when(sent(begin)))
    });
    within("S5, acknowledged", ms(2_000), |seed| {
        stops(moving(seed).when(received(acked)))
    });
    within("S5, complete", ms(2_000), |seed| {
        stops(moving(seed).when(applied(completes)))
    });
}

#[test]
fn s6_a_source_killed_before_the_target_has_everything_is_down_when_its_lease_has_run_out() {
    within("S6", ms(1_500), |seed| {
        let told = moving(seed)
            .when(applied(begins))
            .then(kill(Who::Source))
            .tell();
        ended_once(&told);
        let down = told.downs()[0];
        assert_eq!(down.1.node, told.victim());
        let lease = 1_000_000_000 - 110_000_000;
        assert!(down.0 - told.struck() >= lease, "not before its lease ends");
        told.outage(told.victim(), told.struck())
    });
}

#[test]
fn s7_a_source_killed_after_the_target_has_everything_is_not_waited_for() {
    within("S7", ms(1_000), |seed| {
        let told = moving(seed)
            .when(sent(|message| matches!(message, Message::Installed { .. })))
            .then(kill(Who::Source))
            .tell();
        let endings = told.endings();
        assert_eq!(endings.len(), 1);
        assert!(completes(&endings[0].entry.command));
        told.settled(told.struck())
    });
}

#[test]
fn s8_a_target_killed_before_it_has_everything_gives_the_shard_back_under_a_new_epoch() {
    within("S8, begun", ms(1_500), |seed| {
        let told = moving(seed)
            .when(applied(begins))
            .then(kill(Who::Target))
            .tell();
        ended_once(&told);
        told.settled(told.struck())
    });
}

#[test]
fn s8_a_target_killed_before_or_after_start_has_a_successor() {
    within("S8, complete", ms(1_500), |seed| {
        // The leader of the log has the entry first: nobody has been told to start.
        let told = moving(seed)
            .when(applied(completes))
            .then_as(|world, _| {
                let mut commands = world.log.entries.iter().rev().map(|entry| &entry.command);
                let target = commands.find_map(|command| match command {
                    Command::BeginHandoff { to, .. } => Some(to.node),
                    _ => None,
                });
                kill(Who::Node(target.expect("one began")))
            })
            .tell();
        told.outage(told.victim(), told.struck())
    });
    within("S8, started", ms(1_500), |seed| {
        let start = |message: &Message| matches!(message, Message::Start { .. });
        let told = moving(seed)
            .when(after(applied(completes), received(start)))
            .then_as(|_, seen| kill(Who::Node(seen.node)))
            .tell();
        told.outage(told.victim(), told.struck())
    });
}
