//! What is in memory, what leaves it, and what comes back by itself.

use super::*;
use crate::cluster::StopReason;

fn stopped(story: &Story) -> Vec<StopReason> {
    let stopped = story.sent.iter().filter_map(|(_, message)| match message {
        Message::EntityStopped { reason, .. } => Some(*reason),
        _ => None,
    });
    stopped.collect()
}

fn waking(at: u64) -> Outcome {
    let mut outcome = outcome(Some("timer"));
    outcome.record.as_mut().unwrap().wake_ms = Some(at);
    outcome
}

#[test]
fn an_idle_entity_is_passivated_and_its_state_comes_back_with_the_next_call() {
    let mut story = Story::new();
    story.call("note/a", 1);
    story.end(story.turn(), Some("one"));
    story.pass(60_000);
    assert_eq!(story.discarded, [id("note/a")]);
    assert_eq!(stopped(&story), [StopReason::Passivated]);
    assert_eq!(story.host.lengths().activations, 0);
    story.call("note/a", 2);
    let (.., record) = &story.activated[1];
    assert_eq!(record.as_ref().map(|record| record.version), Some(1));
}

#[test]
fn the_least_recently_used_makes_room_and_never_one_that_is_busy() {
    let mut story = Story::new();
    story.settings.bounds.activations_max = 2;
    story.call("note/a", 1);
    story.call("note/b", 2);
    story.end(story.turn(), Some("b"));
    story.call("note/c", 3);
    assert_eq!(story.discarded, [id("note/b")]);
    story.call("note/d", 4);
    assert_eq!(story.replies(), pairs(&[(2, "b"), (4, "overloaded")]));
}

#[test]
fn an_entity_is_not_passivated_before_its_record_is_committed() {
    let mut story = Story::new();
    story.call("account/a", 1);
    story.end(story.turn(), Some("one"));
    story.pass(70_000);
    assert_eq!(story.discarded, []);
    story.commit();
    story.pass(60_000);
    assert_eq!(story.discarded, [id("account/a")]);
}

#[test]
fn a_deleted_entity_leaves_memory_and_its_tombstone_stays() {
    let mut story = Story::new();
    story.call("note/a", 1);
    let mut outcome = outcome(Some(""));
    outcome.record.as_mut().unwrap().deleted = true;
    story.end_with(story.turn(), outcome);
    assert_eq!(stopped(&story), [StopReason::Deleted]);
    assert!(
        story.records[&(story.shard("note"), id("note/a"))]
            .record
            .deleted
    );
}

#[test]
fn a_passivated_entity_is_woken_when_it_wanted_to_be() {
    let mut story = Story::new();
    story.settings.timing.idle = Duration::from_millis(100);
    story.call("note/a", 1);
    let at = story.now.utc_ms + 500;
    story.end_with(story.turn(), waking(at));
    story.pass(400);
    assert_eq!(story.host.lengths().activations, 0);
    story.pass(99);
    assert_eq!(story.ran(), ["1"]);
    story.pass(1);
    assert_eq!(story.ran(), ["1", "wake"]);
}

#[test]
fn an_entity_that_cannot_do_what_it_woke_for_is_not_woken_without_pause() {
    let mut story = Story::new();
    story.call("note/a", 1);
    let due = story.now.utc_ms;
    story.end_with(story.turn(), waking(due));
    for _ in 0..3 {
        story.end(story.turn(), None);
        story.pass(199);
    }
    assert_eq!(story.ran(), ["1", "wake"], "it ended and was not due again");
    story.pass(1_000);
    assert_eq!(story.ran(), ["1", "wake", "wake"]);
}

#[test]
fn nobody_is_woken_without_a_lease_and_the_host_does_not_ask_for_it_in_a_loop() {
    let mut story = Story::new();
    let shard = story.shard("note");
    let at = story.now.utc_ms + 10;
    story.input(|host, cx| host.handle_swept(cx, shard, vec![(id("note/a"), at)]));
    story.lose_lease();
    story.pass(1_000);
    assert_eq!(story.ran().len(), 0);
    story.renew_lease();
    assert_eq!(story.ran(), ["wake"]);
}

#[test]
fn only_so_many_entities_are_loaded_at_a_time() {
    let mut story = Story::new();
    story.slow = true;
    story.settings.bounds.loading_max = 2;
    for seq in 1..=5 {
        story.call(&format!("note/{seq}"), seq);
    }
    assert_eq!(story.finds.len(), 2);
    let (id, ..) = story.finds[0];
    story.input(|host, cx| host.handle_found::<()>(cx, id, Ok(None)));
    assert_eq!((story.finds.len(), story.ran().len()), (3, 1));
}

#[test]
fn entities_in_memory_are_counted_for_the_coordinator() {
    let mut story = Story::new();
    story.call("note/a", 1);
    story.call("note/b", 2);
    let live = story.sent.iter().filter_map(|(to, message)| match message {
        Message::EntityStarted { seq, live, .. } => Some((*to, *seq, *live)),
        _ => None,
    });
    let live: Vec<_> = live.collect();
    assert_eq!(live, [(NodeId(3), 1, 1), (NodeId(3), 2, 2)]);
}

#[test]
fn a_wake_that_is_due_while_the_shard_drains_comes_when_it_serves_again() {
    let mut story = Story::new();
    let shard = story.shard("note");
    let at = story.now.utc_ms + 10;
    story.input(|host, cx| host.handle_swept(cx, shard, vec![(id("note/a"), at)]));
    let handoff = story.begin_handoff(shard);
    story.pass(100);
    assert_eq!(story.ran().len(), 0);
    story.abort(handoff, shard);
    assert_eq!(story.ran(), ["wake"]);
}
