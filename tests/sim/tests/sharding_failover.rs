//! The shards of whoever is lost: killed, cut off, or killed while it takes over from another.
//!
//! S2, S9, S10, S11 and S23 of PROTOCOL section 8. S2, S9 and S11 are the three that another project's ticket asked for.

use std::collections::BTreeSet;

use entia_protocol::cluster::{Message, NodeId};
use entia_protocol::control::Command;
use entia_sim::faults::{Ailment, FaultKind, Patient, Who};
use entia_sim::node::Action;
use entia_sim::observation::{Cause, Observation};
use entia_sim::plan::nanos;
use entia_sim::story::{
    Story, Told, after, aside, bystander, isolate, kill, kill_for, ms, sent, started, within,
};
use entia_sim::world::World;

const LEASE: u64 = 1_000_000_000;

/// A busy cluster, in which something will happen at 3 s, in each seed at another moment.
fn busy(seed: u64) -> Story {
    Story::new(seed).lasting(ms(9_000), ms(15_000))
}

fn soon(seed: u64) -> std::time::Duration {
    ms(3_000 + 37 * seed)
}

#[test]
fn s2_a_coordinator_killed_after_begin_was_sent_is_replaced_and_one_complete_follows() {
    within("S2", ms(2_000), |seed| {
        let told = busy(seed)
            .when(started(soon(seed)))
            .then_as(aside)
            .when(sent(|message| {
                matches!(message, Message::BeginHandoff { .. })
            }))
            .then(kill_for(Who::Coordinator, ms(5_000)))
            .tell();
        let endings = told.endings();
        assert_eq!(endings.len(), 1, "one decision ends it: {endings:?}");
        assert!(matches!(
            endings[0].entry.command,
            Command::CompleteHandoff { .. }
        ));
        let orders = told.sent(|message| matches!(message, Message::BeginHandoff { .. }));
        let orders: BTreeSet<_> = orders.iter().map(|sent| sent.from.node).collect();
        assert!(orders.len() <= 2, "both coordinators order it: {orders:?}");
        told.settled(told.struck())
    });
}

#[test]
fn s9_a_region_killed_after_entity_started_and_before_the_first_dispatch_loses_no_command() {
    within("S9", ms(2_000), |seed| {
        let starts = |world: &World, seen: &Observation<'_>| {
            world.log.leader != Some(seen.node)
                && seen.actions.iter().any(|action| match action {
                    Action::Send { message, .. } => {
                        matches!(message, Message::EntityStarted { .. })
                    }
                    _ => false,
                })
        };
        let told = busy(seed)
            .with(|plan| plan.work.entities = 400)
            .when(after(started(ms(1_000 + 37 * seed)), starts))
            .then_at_once(|_, seen| kill_for(Who::Node(seen.node), ms(5_000)))
            .tell();
        // That the command took effect once is what the oracle of every run says.
        let wait = told.longest_wait(told.struck() - LEASE, told.struck() + LEASE);
        wait.max(told.outage(told.victim(), told.struck()))
    });
}

#[test]
fn s10_an_entity_that_traps_at_every_turn_costs_the_others_of_its_shard_nothing() {
    within("S10, others of the shard", ms(500), |seed| {
        let told = busy(seed)
            .with(|plan| plan.spaces[0].shards = 4)
            .at(
                soon(seed),
                FaultKind::Ailment {
                    patient: Patient::Entity(0),
                    how: Ailment::Traps,
                    who: None,
                    lasts: ms(4_000),
                },
            )
            .tell();
        assert!(told.downs().is_empty());
        assert!(told.given(NodeId(1), told.struck()).is_none());
        let until = told.struck() + nanos(ms(4_000));
        let refused = told.refusals(told.struck(), until);
        let trapped = refused
            .iter()
            .filter(|refusal| refusal.error.code() == "trapped");
        assert!(trapped.count() > 3, "its callers are told");
        let control = told.control();
        let waits = told.chronicle().waits.iter();
        let ill = waits.clone().find(|wait| wait.entity.key() == "0");
        let ill = &ill.expect("it was called before and after").entity;
        let others = waits
            .filter(|wait| wait.entity != *ill)
            .filter(|wait| control.shard_of(&wait.entity) == control.shard_of(ill))
            .filter(|wait| (told.struck()..until).contains(&wait.issued));
        let longest = others.map(|wait| wait.length()).max();
        longest.expect("the others are called, too")
    });
}

/// What S11 says of a region that the coordinator does not hear, for four seconds: returns how long its shards were not served.
fn cut_off_and_back(told: &Told) -> u64 {
    let (region, struck) = (told.victim(), told.struck());
    let healed = struck + 4 * LEASE;
    let life = told.control_at(struck).members[&region].home();
    let last = told
        .turns(struck, u64::MAX)
        .filter(|turn| turn.home == life)
        .last();
    let last = last.map_or(0, |turn| turn.at - struck);
    assert!(last <= LEASE, "it ran {last} ns after it was cut off");
    let downs = told.downs();
    assert_eq!(downs.len(), 1, "only this one, and once: {downs:?}");
    assert_eq!(downs[0].1, life);
    let joined = told.joined(region, healed);
    println!("FIGURE S11: a member again after {joined} ns");
    assert!(joined <= LEASE, "a member again after {joined} ns");
    let given = told.given(region, healed).expect("it gets shards again");
    println!("FIGURE S11: shards again after {given} ns");
    assert!(
        given >= 5 * LEASE,
        "it waits before it gets shards: {given}"
    );
    assert!(given <= 9 * LEASE, "it does not wait for ever: {given}");
    told.outage(region, struck)
}

#[test]
fn s11_a_region_and_the_coordinator_that_do_not_hear_each_other() {
    within("S11, the two of them", ms(1_500), |seed| {
        let lasts = ms(4_000);
        let told = busy(seed)
            .lasting(ms(18_000), ms(15_000))
            .when(started(soon(seed)))
            .then_as(move |world, _| FaultKind::Cut {
                from: Who::Node(bystander(world)),
                to: Who::Coordinator,
                lasts,
            })
            .when(started(soon(seed)))
            .then_as(move |world, _| FaultKind::Cut {
                from: Who::Coordinator,
                to: Who::Node(bystander(world)),
                lasts,
            })
            .tell();
        cut_off_and_back(&told)
    });
}

#[test]
fn s11_a_region_that_nobody_hears_stops_and_is_a_member_again_within_a_second_of_the_heal() {
    within("S11, one and all others", ms(1_500), |seed| {
        let told = busy(seed)
            .lasting(ms(18_000), ms(15_000))
            .when(started(soon(seed)))
            .then_as(|world, _| isolate(Who::Node(bystander(world)), ms(4_000)))
            .tell();
        cut_off_and_back(&told)
    });
}

#[test]
fn s23_the_successor_restarts_at_once() {
    within("S23, restarted", ms(1_500), |seed| {
        let told = Story::new(seed)
            .lasting(ms(14_000), ms(15_000))
            .with(|plan| {
                plan.spaces[0].shards = 10;
                plan.work.entities = 300;
                plan.work.think = ms(20);
            })
            .tuned(|settings| settings.bounds.page_max = 2)
            .when(started(soon(seed)))
            .then_as(|world, _| kill_for(Who::Node(bystander(world)), ms(10_000)))
            .when(|_, seen| {
                matches!(
                    seen.cause,
                    Cause::Message {
                        message: Message::State { more: true, .. },
                        ..
                    }
                )
            })
            .then_as(|_, seen| kill(Who::Node(seen.node)))
            .tell();
        let second = told.strikes().nth(1).expect("the successor was killed");
        told.outage(second.node.expect("somebody"), second.at)
    });
}
