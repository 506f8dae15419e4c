//! The words that stories are told with.

use std::time::Duration;

use entia_protocol::cluster::{Message, NodeId};
use entia_protocol::control::Command;

use crate::faults::{FaultKind, Restart, Who, Wish};
use crate::node::Action;
use crate::observation::{Cause, Observation};
use crate::plan::{SpacePlan, nanos};
use crate::world::World;

/// The coordinator applies an entry with such a command.
pub fn applied(
    mut such: impl FnMut(&Command) -> bool + Send + 'static,
) -> impl FnMut(&World, &Observation<'_>) -> bool + Send + 'static {
    move |world, seen| match seen.cause {
        Cause::Applied(entry) => world.log.leader == Some(seen.node) && such(&entry.command),
        _ => false,
    }
}

/// The coordinator proposes such a command.
pub fn proposed(
    mut such: impl FnMut(&Command) -> bool + Send + 'static,
) -> impl FnMut(&World, &Observation<'_>) -> bool + Send + 'static {
    move |world, seen| {
        world.log.leader == Some(seen.node)
            && seen.actions.iter().any(|action| match action {
                Action::Propose { command, .. } => such(command),
                _ => false,
            })
    }
}

/// Somebody sends such a message.
pub fn sent(
    mut such: impl FnMut(&Message) -> bool + Send + 'static,
) -> impl FnMut(&World, &Observation<'_>) -> bool + Send + 'static {
    move |_, seen| {
        seen.actions.iter().any(|action| match action {
            Action::Send { message, .. } => such(message),
            _ => false,
        })
    }
}

/// Somebody receives such a message.
pub fn received(
    mut such: impl FnMut(&Message) -> bool + Send + 'static,
) -> impl FnMut(&World, &Observation<'_>) -> bool + Send + 'static {
    move |_, seen| match seen.cause {
        Cause::Message { message, .. } => such(message),
        _ => false,
    }
}

/// The second is looked for only when the first has been seen.
pub fn after(
    mut first: impl FnMut(&World, &Observation<'_>) -> bool + Send + 'static,
    mut second: impl FnMut(&World, &Observation<'_>) -> bool + Send + 'static,
) -> impl FnMut(&World, &Observation<'_>) -> bool + Send + 'static {
    let mut seen_first = false;
    move |world, seen| {
        if seen_first {
            return second(world, seen);
        }
        seen_first = first(world, seen);
        false
    }
}

/// It has run for so long.
pub fn started(time: Duration) -> impl FnMut(&World, &Observation<'_>) -> bool + Send + 'static {
    move |world, _| world.true_time >= nanos(time)
}

/// A handoff begins.
pub fn begins(command: &Command) -> bool {
    matches!(command, Command::BeginHandoff { .. })
}

/// A handoff is complete.
pub fn completes(command: &Command) -> bool {
    matches!(command, Command::CompleteHandoff { .. })
}

/// A life is ended.
pub fn downs(command: &Command) -> bool {
    matches!(command, Command::Down { .. })
}

/// A process is killed, and is back half a second later.
pub fn kill(who: Who) -> FaultKind {
    kill_for(who, Duration::from_millis(500))
}

/// A process is killed, and is back after so long.
pub fn kill_for(who: Who, down: Duration) -> FaultKind {
    let restart = Restart::Process;
    FaultKind::Crash { who, down, restart }
}

/// A node and the others do not hear each other for so long.
pub fn isolate(who: Who, lasts: Duration) -> FaultKind {
    FaultKind::Isolate { who, lasts }
}

/// A node that does not coordinate, and has no part in a handoff.
pub fn bystander(world: &World) -> NodeId {
    let parts = [Who::Coordinator, Who::Source, Who::Target];
    let parts = parts.map(|who| world.who(who));
    let mut nodes = world.nodes.keys().copied();
    nodes
        .find(|&id| world.awake(id) && !parts.contains(&Some(id)))
        .expect("a cluster has more nodes than a handoff")
}

/// A durable shard moves, from a node that does not coordinate to another one.
pub fn aside(world: &World, _: &Observation<'_>) -> FaultKind {
    let coordinates = |id: NodeId| world.log.leader == Some(id);
    let number = (0..16)
        .find(|&number| {
            let owner = world.who(Who::Owner(number));
            owner.is_some_and(|id| !coordinates(id) && world.awake(id))
        })
        .expect("somebody else owns something");
    let owner = world.who(Who::Owner(number));
    let mut nodes = world.nodes.keys().copied();
    let to = nodes
        .rfind(|&id| world.awake(id) && !coordinates(id) && Some(id) != owner)
        .expect("more than two nodes");
    debug_assert!(world.shard(SpacePlan::DURABLE, number).is_some());
    FaultKind::Wish(Wish::Move(number, to))
}

/// So many milliseconds.
pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A time in seconds, to be read.
pub fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// Tells a story with several seeds, and returns the longest of what it measured, in nanoseconds.
pub fn worst(name: &str, seeds: u64, mut story: impl FnMut(u64) -> u64) -> u64 {
    let figures: Vec<_> = (1..=seeds).map(&mut story).collect();
    let worst = figures.iter().copied().max().unwrap_or(0);
    let all: Vec<_> = figures.iter().map(|&figure| seconds(figure)).collect();
    println!("FIGURE {name}: worst {:.3} s of {all:.3?}", seconds(worst));
    worst
}

/// Tells a story with five seeds: what it measures stays within the bound.
pub fn within(name: &str, bound: Duration, story: impl FnMut(u64) -> u64) {
    let worst = worst(name, 5, story);
    assert!(
        worst <= nanos(bound),
        "{name}: {:.3} s, and the bound is {bound:?}",
        seconds(worst)
    );
}
