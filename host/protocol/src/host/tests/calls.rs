//! Calls: order, once, the lease, the journal.

use super::*;
use crate::Unavailability;

#[test]
fn an_entity_takes_one_turn_at_a_time_in_the_order_of_its_calls() {
    let mut story = Story::new();
    for seq in 1..=3 {
        story.call("note/a", seq);
    }
    assert_eq!(story.ran(), ["1"]);
    for _ in 1..=3 {
        story.end(story.turn(), Some("x"));
    }
    assert_eq!(story.ran(), ["1", "2", "3"]);
    assert_eq!(story.replies(), pairs(&[(1, "x"), (2, "x"), (3, "x")]));
    assert_eq!(story.activated.len(), 1);
}

#[test]
fn two_entities_take_turns_beside_each_other() {
    let mut story = Story::new();
    story.call("note/a", 1);
    story.call("note/b", 2);
    assert_eq!(story.ran(), ["1", "2"]);
}

#[test]
fn calls_of_a_lane_that_come_out_of_order_or_twice_run_in_order_and_once() {
    let mut story = Story::new();
    for seq in [3, 2, 3, 1, 1, 2] {
        story.call("note/a", seq);
    }
    for _ in 1..=3 {
        story.end(story.turn(), Some("x"));
    }
    assert_eq!(story.ran(), ["1", "2", "3"]);
    assert_eq!(story.replies().len(), 3);
}

#[test]
fn a_reply_that_was_lost_is_given_again_until_the_origin_has_it() {
    let mut story = Story::new();
    story.call("note/a", 1);
    story.end(story.turn(), Some("x"));
    story.call("note/a", 1);
    assert_eq!(story.ran(), ["1"]);
    assert_eq!(story.replies(), pairs(&[(1, "x"), (1, "x")]));

    let mut second = story.numbered("note/a", 2);
    second.lowest = 2;
    story.message(2, Message::Call(second));
    story.forget();
    story.call("note/a", 1);
    assert_eq!(story.sent, [], "nobody asks for it any more");
}

#[test]
fn a_gap_below_what_the_origin_waits_for_is_none() {
    let mut story = Story::new();
    let mut call = story.numbered("note/a", 5);
    call.lowest = 5;
    story.message(2, Message::Call(call));
    assert_eq!(story.ran(), ["5"]);
}

#[test]
fn a_durable_answer_waits_for_its_commit_and_so_does_a_query_behind_it() {
    let mut story = Story::new();
    story.call("account/a", 1);
    story.end(story.turn(), Some("one"));
    story.call("account/a", 2);
    story.end(story.turn(), None);
    assert_eq!(story.ran(), ["1", "2"]);
    assert_eq!(story.replies(), []);
    story.commit();
    assert_eq!(story.replies(), pairs(&[(1, "one"), (2, "read")]));
}

#[test]
fn a_later_record_that_is_committed_first_lets_nothing_overtake() {
    let mut story = Story::new();
    for seq in 1..=2 {
        story.call("account/a", seq);
        story.end(story.turn(), Some("x"));
    }
    let (second, ..) = story.appends.pop().unwrap();
    story.input(|host, cx| host.handle_committed(cx, second));
    assert_eq!(story.replies(), []);
    story.commit();
    assert_eq!(story.replies(), pairs(&[(1, "x"), (2, "x")]));
}

#[test]
fn records_have_ascending_versions_and_the_epoch_of_the_shard() {
    let mut story = Story::new();
    for seq in 1..=2 {
        story.call("account/a", seq);
        story.end(story.turn(), Some("x"));
    }
    let ages: Vec<_> = story.appends.iter().map(|(.., r)| r.age()).collect();
    let epoch = story.epoch(story.shard("account"));
    assert_eq!(ages, [(epoch, 1), (epoch, 2)]);
}

#[test]
fn a_lease_that_expires_during_a_turn_holds_its_output_and_a_renewal_lets_it_go() {
    let mut story = Story::new();
    story.call("note/a", 1);
    story.call("note/a", 2);
    story.lose_lease();
    story.end(story.turn(), Some("x"));
    story.pass(100);
    assert_eq!(story.replies(), []);
    assert_eq!(story.ran(), ["1"], "nothing starts without a lease");
    story.renew_lease();
    assert_eq!(story.replies(), pairs(&[(1, "x")]));
    assert_eq!(story.ran(), ["1", "2"]);
}

#[test]
fn a_reply_is_not_even_repeated_without_a_lease() {
    let mut story = Story::new();
    story.call("note/a", 1);
    story.end(story.turn(), Some("x"));
    story.forget();
    story.lose_lease();
    story.call("note/a", 1);
    assert_eq!(story.sent, []);
}

#[test]
fn a_call_under_an_epoch_that_is_not_applied_yet_waits_for_it() {
    let mut story = Story::new();
    let shard = story.shard("note");
    let home = story.home(1);
    let mut call = story.numbered("note/a", 1);
    call.epoch = Epoch(story.control.applied.0 + 2);
    story.message(2, Message::Call(call));
    assert_eq!((story.ran().len(), story.host.lengths().early), (0, 1));
    story.apply(Command::Coordinate);
    assert_eq!(story.host.lengths().early, 1);
    let shards = vec![Assignment {
        shard,
        after: Epoch(0),
        home,
    }];
    story.apply(Command::Assign { shards });
    assert_eq!(story.moved(), [1], "the assignment was void");
    assert_eq!(story.host.lengths().early, 0);
}

#[test]
fn a_call_to_a_shard_that_is_elsewhere_is_moved_there() {
    let mut story = Story::new();
    story.apply(Command::DeployKind {
        name: KindName::new("other").unwrap(),
        component: component(),
        durability: Durability::Memory,
        shards: 1,
    });
    let shard = story.shard("other");
    let epoch = story.assign(shard, 3);
    story.forget();
    story.call("other/a", 1);
    let to = Some((story.control.applied, story.home(3), epoch));
    let moved = Message::Moved {
        origin: story.home(2).incarnation,
        shard,
        epoch,
        seq: 1,
        to,
    };
    assert_eq!(story.sent, [(NodeId(2), moved)]);
}

#[test]
fn a_full_mailbox_and_a_full_memory_say_so() {
    let mut story = Story::new();
    story.settings.bounds.mailbox_max = 2;
    story.settings.bounds.activations_max = 1;
    for seq in 1..=4 {
        story.call("note/a", seq);
    }
    story.call("note/b", 5);
    assert_eq!(
        story.replies(),
        pairs(&[(4, "overloaded"), (5, "overloaded")])
    );
    assert_eq!(story.ran(), ["1"]);
}

#[test]
fn what_is_too_far_ahead_or_too_much_is_not_remembered() {
    let mut story = Story::new();
    story.settings.bounds.in_flight_max = 3;
    story.settings.bounds.replies_max = 2;
    for seq in [2, 3, 4, 5, u64::MAX] {
        story.call("note/a", seq);
    }
    story.call("note/a", 1);
    assert_eq!(story.ran(), ["1"], "the mailbox has 2; 3 has to come again");
    story.end(story.turn(), None);
    story.end(story.turn(), None);
    let mut third = story.numbered("note/a", 3);
    third.lowest = 3;
    story.message(2, Message::Call(third));
    assert_eq!(story.ran(), ["1", "2", "3"]);
}

#[test]
fn a_call_whose_deadline_passed_in_the_mailbox_does_not_run() {
    let mut story = Story::new();
    story.call("note/a", 1);
    let mut late = story.numbered("note/a", 2);
    late.left_ms = 5;
    story.message(2, Message::Call(late));
    story.pass(10);
    story.end(story.turn(), None);
    assert_eq!(story.ran(), ["1"]);
    assert_eq!(
        story.replies(),
        pairs(&[(1, "read"), (2, "deadline_exceeded")])
    );
}

#[test]
fn a_turns_call_leaves_after_what_the_turn_has_seen_is_committed() {
    let mut story = Story::new();
    story.call("account/a", 1);
    story.end(story.turn(), Some("one"));
    story.call("account/a", 2);
    let turn = story.turn();
    let call = Arc::new(envelope("note/b", 9));
    story.input(|host, cx| host.handle_turn_calls(cx, turn, 1, call));
    assert_eq!(story.routed.len(), 0);
    story.commit();
    assert_eq!(story.routed.len(), 1);

    let origin = story.routed[0].1.clone();
    let answer = Arc::new(Ok(Payload::default()));
    for _ in 0..2 {
        let (origin, answer) = (origin.clone(), Arc::clone(&answer));
        story.input(|host, cx| host.handle_answer(cx, origin, answer));
    }
    assert_eq!(story.resumed, [(turn, 1, answer)], "once");
}

#[test]
fn an_answer_that_comes_without_a_lease_is_given_when_there_is_one() {
    let mut story = Story::new();
    story.call("note/a", 1);
    let turn = story.turn();
    let call = Arc::new(envelope("note/b", 9));
    story.input(|host, cx| host.handle_turn_calls(cx, turn, 1, call));
    story.lose_lease();
    let origin = story.routed[0].1.clone();
    story.input(|host, cx| host.handle_answer(cx, origin, Arc::new(Ok(Payload::default()))));
    assert_eq!(story.resumed, []);
    story.renew_lease();
    assert_eq!(story.resumed.len(), 1);
}

#[test]
fn a_call_that_would_wait_for_itself_is_refused_at_once() {
    let mut story = Story::new();
    story.call("note/a", 1);
    let turn = story.turn();
    let mut call = envelope("note/a", 9);
    call.chain = vec![id("note/a")];
    story.input(|host, cx| host.handle_turn_calls(cx, turn, 1, Arc::new(call)));
    assert_eq!(text(&story.resumed[0].2), "deadlock");
}

#[test]
fn messages_leave_with_their_commit_and_their_answers_are_turns() {
    let mut story = Story::new();
    story.call("account/a", 1);
    let sends = vec![Arc::new(envelope("note/b", 7))];
    let outcome = Outcome {
        sends,
        ..outcome(Some("one"))
    };
    story.end_with(story.turn(), outcome);
    assert_eq!(story.routed.len(), 0);
    story.commit();
    let origin = story.routed[0].1.clone();
    story.input(|host, cx| host.handle_answer(cx, origin, Arc::new(Ok(Payload::default()))));
    assert_eq!(story.ran(), ["1", "delivered"]);
}

#[test]
fn an_instance_that_trapped_is_made_again_from_the_last_record() {
    let mut story = Story::new();
    for seq in 1..=3 {
        story.call("note/a", seq);
    }
    story.end(story.turn(), Some("one"));
    story.end_with(story.turn(), trapped());
    let (_, _, record) = story.activated.last().unwrap();
    assert_eq!(
        record.as_ref().map(|r| r.bytes.0.to_vec()),
        Some(b"one".to_vec())
    );
    story.end(story.turn(), None);
    assert_eq!(
        story.replies(),
        pairs(&[(1, "one"), (2, "trapped"), (3, "read")])
    );
}

#[test]
fn a_state_that_cannot_be_read_is_refused_and_asked_for_again_by_the_next_call() {
    let mut story = Story::new();
    story.slow = true;
    story.call("account/a", 1);
    let (id, ..) = story.finds.pop().unwrap();
    story.input(|host, cx| host.handle_found(cx, id, Err(Unavailability::StateUnavailable)));
    assert_eq!(story.replies(), pairs(&[(1, "unavailable")]));
    story.slow = false;
    story.call("account/a", 2);
    assert_eq!(story.ran(), ["2"]);
}

#[test]
fn a_sealed_ledger_stops_everything_durable_and_nothing_else() {
    let mut story = Story::new();
    story.call("account/a", 1);
    story.end(story.turn(), Some("one"));
    story.call("account/b", 2);
    story.call("note/a", 1);
    let ledger = story.control.members[&NodeId(1)].ledger.unwrap();
    story.input(|host, cx| host.handle_fenced(cx, ledger));
    story.commit();
    assert_eq!(story.replies(), []);
    assert_eq!(story.discarded.len(), 2);
    assert_eq!(story.host.serving(story.shard("account")), None);
    story.call("account/c", 3);
    assert_eq!(story.ran(), ["1", "2", "1"]);
    story.end(story.turn(), None);
    assert_eq!(story.replies(), pairs(&[(1, "read")]));
}

#[test]
fn a_life_that_is_over_takes_everything_with_it() {
    let mut story = Story::new();
    story.call("note/a", 1);
    story.end(story.turn(), Some("one"));
    story.call("note/a", 2);
    story.forget();
    let member = story.home(1);
    story.apply(Command::Down { member });
    assert_eq!(story.host.lengths(), Lengths::default());
    assert_eq!(story.discarded.len(), 1);
    assert_eq!(story.replies(), []);
}

#[test]
fn a_start_is_acknowledged_again_if_it_is_owned_and_refused_if_it_is_stale() {
    let mut story = Story::new();
    let shard = story.shard("note");
    let start = |index, epoch| Message::Start {
        term: TERM,
        index,
        shards: vec![(shard, epoch)],
    };
    let (applied, epoch) = (story.control.applied, story.epoch(shard));
    story.message(3, start(applied, epoch));
    let shards = vec![(shard, epoch)];
    assert_eq!(story.sent, [(NodeId(3), Message::Started { shards })]);
    story.forget();
    story.message(3, start(Index(applied.0 + 1), Epoch(applied.0 + 1)));
    assert_eq!(story.sent, [], "not applied here yet");
    story.message(3, start(applied, Epoch(1)));
    let refused = Message::StartRefused {
        shards: vec![(shard, Epoch(1))],
        applied,
    };
    assert_eq!(story.sent, [(NodeId(3), refused)]);
}

#[test]
fn a_shard_without_its_component_is_served_when_that_has_come() {
    let mut story = Story::new();
    let other = Digest::of(b"other");
    story.apply(Command::DeployKind {
        name: KindName::new("other").unwrap(),
        component: other,
        durability: Durability::Memory,
        shards: 1,
    });
    let shard = story.shard("other");
    story.assign(shard, 1);
    story.forget();
    story.call("other/a", 1);
    assert_eq!((story.ran().len(), story.sent.len()), (0, 0));
    story.input(|host, cx| host.handle_component(cx, other));
    assert_eq!(story.ran(), ["1"]);
    let started = |(_, message): &(_, _)| matches!(message, Message::Started { .. });
    assert!(story.sent.iter().any(started));
}

#[test]
fn an_entity_runs_with_new_code_from_its_next_turn_on() {
    let mut story = Story::new();
    story.call("note/a", 1);
    story.end(story.turn(), Some("one"));
    let other = Digest::of(b"other");
    story.apply(Command::DeployKind {
        name: KindName::new("note").unwrap(),
        component: other,
        durability: Durability::Memory,
        shards: 1,
    });
    story.call("note/a", 2);
    assert_eq!(story.activated.len(), 1, "it is not here yet");
    story.end(story.turn(), None);
    story.input(|host, cx| host.handle_component(cx, other));
    story.call("note/a", 3);
    assert_eq!((story.activated.len(), story.discarded.len()), (2, 1));
}
