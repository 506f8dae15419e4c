//! One router, told by hand what the network and the control log say. What it does is compared as text:
//! `n2 e10/3 c` is the call `c` sent to node 2 with number 3 in the lane of epoch 10; `c: ok` is its answer, and
//! `c: deadline_exceeded?` an error after which it may have run.

use std::time::Duration;

use crate::cluster::{Incarnation, Index, Message, NodeId, Term};
use crate::control::Command;

use super::Action;
use rig::{Rig, SHARD, envelope, home, member};

mod random;
pub(crate) mod rig;

const NOTHING: [&str; 0] = [];

#[test]
fn calls_go_to_the_home_in_order_and_each_has_its_answer() {
    let mut rig = Rig::served();
    rig.call("a");
    rig.call("b");
    assert_eq!(rig.out(), ["n2 e11/1 a", "n2 e11/2 b"]);
    rig.reply(home(2, 2), 11, 2);
    rig.reply(home(2, 2), 11, 1);
    assert_eq!(rig.out(), ["b: ok", "a: ok"]);
    assert_eq!(rig.router.pending(), 0);
}

#[test]
fn an_answer_counts_once_and_only_from_the_lanes_home() {
    let mut rig = Rig::served();
    rig.call("a");
    assert_eq!(rig.out(), ["n2 e11/1 a"]);
    rig.reply(home(3, 3), 11, 1);
    rig.reply(home(2, 9), 11, 1);
    rig.reply(home(2, 2), 10, 1);
    rig.reply(home(2, 2), 11, 2);
    rig.moved(home(3, 3), 11, 1, None);
    assert_eq!(rig.out(), NOTHING);
    rig.reply(home(2, 2), 11, 1);
    rig.reply(home(2, 2), 11, 1);
    rig.moved(home(2, 2), 11, 1, None);
    assert_eq!(rig.out(), ["a: ok"]);
}

#[test]
fn an_answer_to_an_earlier_life_of_this_node_is_not_one_to_this_life() {
    let mut rig = Rig::served();
    rig.call("a");
    rig.out();
    // Late, and for a call of a process that is gone: its lane had the same name.
    rig.reply_to(Incarnation(9), home(2, 2), 11, 1);
    assert_eq!(rig.out(), NOTHING);
    rig.reply(home(2, 2), 11, 1);
    assert_eq!(rig.out(), ["a: ok"]);
}

#[test]
fn calls_wait_for_an_owner_and_ask_the_coordinator_for_it() {
    let mut rig = Rig::new();
    rig.call("a");
    rig.call("b");
    assert_eq!(rig.out(), NOTHING);
    rig.pass(400);
    assert_eq!(rig.out(), ["n3 where?", "n3 where?"]);
    rig.assign(home(2, 2));
    assert_eq!(rig.out(), ["n2 e11/1 a", "n2 e11/2 b"]);
}

#[test]
fn what_moved_goes_to_the_new_home_in_front_of_what_came_later() {
    let mut rig = Rig::served();
    for label in ["a", "b", "c"] {
        rig.call(label);
    }
    rig.out();
    rig.begin(home(2, 2), home(3, 3));
    rig.moved(home(2, 2), 11, 3, None);
    rig.call("d");
    rig.moved(home(2, 2), 11, 2, None);
    assert_eq!(rig.out(), NOTHING);
    rig.reply(home(2, 2), 11, 1);
    assert_eq!(rig.out(), ["a: ok"]);
    rig.assign(home(3, 3));
    assert_eq!(rig.out(), ["n3 e13/1 b", "n3 e13/2 c", "n3 e13/3 d"]);
}

#[test]
fn the_old_home_takes_calls_until_it_says_otherwise() {
    let mut rig = Rig::served();
    rig.begin(home(2, 2), home(3, 3));
    rig.call("a");
    assert_eq!(rig.out(), ["n2 e11/1 a"]);
}

#[test]
fn nothing_goes_to_the_new_home_while_the_old_one_has_a_call() {
    let mut rig = Rig::served();
    rig.call("a");
    rig.call("b");
    rig.out();
    rig.assign(home(3, 3));
    rig.call("c");
    rig.moved(home(2, 2), 11, 2, None);
    assert_eq!(rig.out(), NOTHING);
    rig.pass(200);
    assert_eq!(rig.out(), ["n2 e11/1 a"], "the old home still has to say");
    rig.moved(home(2, 2), 11, 1, None);
    assert_eq!(rig.out(), ["n3 e12/1 a", "n3 e12/2 b", "n3 e12/3 c"]);
    // Somebody waits no more for `a`, which is enough too.
    let mut rig = Rig::served();
    rig.submit("a", envelope("account/a", "a", &[]), 100);
    rig.out();
    rig.assign(home(3, 3));
    rig.call("b");
    rig.pass(100);
    assert_eq!(rig.out(), ["a: deadline_exceeded?", "n3 e12/1 b"]);
}

#[test]
fn calls_of_a_dead_home_are_sent_again_in_order() {
    let mut rig = Rig::served();
    for label in ["a", "b", "c"] {
        rig.call(label);
    }
    rig.out();
    rig.reply(home(2, 2), 11, 2);
    rig.down(home(2, 2));
    rig.reply(home(2, 2), 11, 1);
    rig.call("d");
    assert_eq!(rig.out(), ["b: ok"]);
    rig.assign(home(3, 3));
    assert_eq!(rig.out(), ["n3 e13/1 a", "n3 e13/2 c", "n3 e13/3 d"]);
}

#[test]
fn a_home_with_another_life_is_another_home() {
    let mut rig = Rig::served();
    rig.call("a");
    rig.out();
    rig.control.members.insert(NodeId(2), member(2, 20));
    rig.input(|router, cx| router.handle_state(cx));
    assert_eq!(rig.out(), NOTHING);
    rig.assign(home(2, 20));
    assert_eq!(rig.out(), ["n2 e12/1 a"]);
    rig.reply(home(2, 2), 12, 1);
    assert_eq!(rig.out(), NOTHING);
    rig.reply(home(2, 20), 12, 1);
    assert_eq!(rig.out(), ["a: ok"]);
}

#[test]
fn unanswered_calls_are_sent_again_with_growing_pauses_oldest_first() {
    let mut rig = Rig::served();
    rig.call("a");
    rig.pass(100);
    rig.call("b");
    rig.out();
    let begin = rig.now - Duration::from_millis(100);
    let mut times = Vec::new();
    for _ in 0..600 {
        rig.pass(10);
        for text in rig.out() {
            if text.ends_with('a') {
                times.push(rig.now.since(begin).as_millis());
            }
        }
    }
    assert_eq!(times, [200, 600, 1_400, 2_400, 3_400, 4_400, 5_400]);
    rig.reply(home(2, 2), 11, 1);
    rig.out();
    rig.pass(1_000);
    assert_eq!(rig.out(), ["n2 e11/2 b"]);
}

#[test]
fn each_message_says_what_nobody_asks_for_again() {
    let mut rig = Rig::served();
    for label in ["a", "b", "c"] {
        rig.call(label);
    }
    assert_eq!(rig.lowest(), [(1, 1), (2, 1), (3, 1)]);
    rig.reply(home(2, 2), 11, 2);
    rig.reply(home(2, 2), 11, 1);
    rig.call("d");
    assert_eq!(rig.lowest(), [(4, 3)]);
    rig.pass(200);
    assert_eq!(rig.lowest(), [(3, 3), (4, 3)]);
}

#[test]
fn a_deadline_tells_whether_the_call_was_ever_sent() {
    let mut rig = Rig::new();
    rig.submit("a", envelope("account/a", "a", &[]), 100);
    rig.submit("late", envelope("account/a", "late", &[]), 0);
    rig.pass(100);
    assert_eq!(
        rig.out(),
        ["late: deadline_exceeded", "a: deadline_exceeded"]
    );
    rig.assign(home(2, 2));
    rig.submit("b", envelope("account/a", "b", &[]), 100);
    rig.pass(100);
    assert_eq!(rig.out(), ["n2 e11/1 b", "b: deadline_exceeded?"]);
    rig.reply(home(2, 2), 11, 1);
    assert_eq!(rig.out(), NOTHING);
    // `Moved` proves nothing: another copy of the message may have come earlier.
    rig.submit("c", envelope("account/a", "c", &[]), 100);
    rig.moved(home(2, 2), 11, 2, None);
    rig.pass(100);
    assert_eq!(rig.out(), ["n2 e11/2 c", "c: deadline_exceeded?"]);
}

#[test]
fn an_expired_call_keeps_its_number_until_it_is_the_first() {
    let mut rig = Rig::served();
    rig.call("a");
    rig.submit("b", envelope("account/a", "b", &[]), 100);
    rig.call("c");
    rig.out();
    rig.pass(200);
    // The home cannot run `c` before it has heard of number 2.
    let again = ["n2 e11/1 a", "n2 e11/2 b", "n2 e11/3 c"];
    assert_eq!(rig.out(), [&["b: deadline_exceeded?"], &again[..]].concat());
    rig.reply(home(2, 2), 11, 1);
    assert_eq!(rig.out(), ["a: ok"]);
    rig.pass(400);
    assert_eq!(rig.lowest(), [(3, 3)]);
}

#[test]
fn a_call_too_many_is_refused_and_room_is_used_at_once() {
    let mut rig = Rig::served();
    rig.settings.bounds.in_flight_max = 2;
    rig.settings.bounds.waiting_max = 1;
    for label in ["a", "b", "c", "d"] {
        rig.call(label);
    }
    assert_eq!(rig.out(), ["n2 e11/1 a", "n2 e11/2 b", "d: overloaded"]);
    rig.reply(home(2, 2), 11, 1);
    assert_eq!(rig.out(), ["a: ok", "n2 e11/3 c"]);
}

#[test]
fn the_home_never_has_to_remember_more_answers_than_it_may() {
    let mut rig = Rig::served();
    rig.settings.bounds.replies_max = 3;
    for label in ["slow", "b", "c"] {
        rig.call(label);
    }
    rig.reply(home(2, 2), 11, 2);
    rig.reply(home(2, 2), 11, 3);
    rig.out();
    rig.call("d");
    assert_eq!(rig.out(), NOTHING);
    rig.reply(home(2, 2), 11, 1);
    assert_eq!(rig.out(), ["slow: ok", "n2 e11/4 d"]);
}

#[test]
fn a_newer_hint_is_followed_and_an_older_one_is_not() {
    let mut rig = Rig::served();
    rig.assign(home(3, 3));
    rig.hint(11, Some((home(2, 2), 11)));
    rig.hint(12, Some((home(2, 2), 12)));
    rig.call("a");
    assert_eq!(rig.out(), ["n3 e12/1 a"]);
    rig.hint(15, Some((home(2, 2), 15)));
    rig.hint(14, Some((home(3, 3), 14)));
    rig.reply(home(3, 3), 12, 1);
    rig.call("b");
    assert_eq!(rig.out(), ["a: ok", "n2 e15/1 b"]);
    // Entries up to the hint's are applied: they say the same.
    for _ in 13..15 {
        rig.apply(Command::Coordinate, |_, _| {});
    }
    rig.call("c");
    assert_eq!(rig.out(), ["n2 e15/2 c"]);
    rig.assign(home(2, 2));
    rig.call("d");
    assert_eq!(rig.out(), ["n2 e15/3 d"]);
    // A later hint that nobody owns it any more.
    rig.hint(20, None);
    rig.call("e");
    assert_eq!(rig.out(), NOTHING);
}

#[test]
fn moved_tells_the_new_home_before_the_control_log_does() {
    let mut rig = Rig::served();
    rig.call("a");
    rig.out();
    rig.moved(home(2, 2), 11, 1, Some((12, home(3, 3), 12)));
    assert_eq!(rig.out(), ["n3 e12/1 a"]);
    // A hint at a member that nobody knows here has to wait until the control log names it.
    rig.moved(home(3, 3), 12, 1, Some((14, home(4, 13), 14)));
    assert_eq!(rig.out(), NOTHING);
    rig.apply(Command::Coordinate, |control, _| {
        control.members.insert(NodeId(4), member(4, 13));
    });
    rig.pass(200);
    assert_eq!(rig.out(), ["n4 e14/1 a"]);
}

#[test]
fn a_lane_that_was_left_is_never_opened_again() {
    let mut rig = Rig::served();
    rig.call("a");
    rig.out();
    rig.moved(home(2, 2), 11, 1, None);
    rig.call("b");
    rig.pass(1_000);
    assert!(rig.out().iter().all(|text| text == "n3 where?"));
    // The handoff was aborted: same home, another epoch.
    rig.assign(home(2, 2));
    assert_eq!(rig.out(), ["n2 e12/1 a", "n2 e12/2 b"]);
}

#[test]
fn calls_that_somebody_waits_for_go_to_a_home_that_drains() {
    let mut rig = Rig::served();
    let chained = |label| envelope("account/b", label, &["account/c"]);
    rig.call("a");
    rig.moved(home(2, 2), 11, 1, None);
    rig.out();
    rig.call("b");
    assert_eq!(rig.out(), NOTHING);
    rig.submit("c", chained("c"), 60_000);
    assert_eq!(rig.out(), ["n2 e11/2 c"]);
    // But not if it overtakes one of the same caller to the same entity.
    rig.submit("d", envelope("account/a", "d", &["account/c"]), 60_000);
    assert_eq!(rig.out(), NOTHING);
    rig.moved(home(2, 2), 11, 2, None);
    rig.submit("e", chained("e"), 60_000);
    assert_eq!(rig.out(), NOTHING);
    rig.assign(home(3, 3));
    let labels = ["a", "b", "c", "d", "e"].into_iter().zip(1..);
    let all: Vec<_> = labels
        .map(|(label, seq)| format!("n3 e12/{seq} {label}"))
        .collect();
    assert_eq!(rig.out(), all);
}

#[test]
fn with_another_incarnation_all_lanes_begin_anew() {
    let mut rig = Rig::served();
    rig.call("a");
    rig.call("b");
    rig.submit("c", envelope("account/a", "c", &[]), 100);
    rig.pass(100);
    rig.out();
    rig.control.members.insert(NodeId(1), member(1, 30));
    rig.me.incarnation = Incarnation(30);
    rig.input(|router, cx| router.handle_identity(cx));
    assert_eq!(rig.lowest(), [(4, 4), (5, 4)]);
    // Without one, nobody would take its calls.
    rig.me.incarnation = Incarnation(0);
    rig.input(|router, cx| router.handle_identity(cx));
    rig.call("d");
    assert_eq!(rig.out(), NOTHING);
}

#[test]
fn an_unknown_kind_is_refused_at_once() {
    let mut rig = Rig::served();
    rig.submit("a", envelope("acount/a", "a", &[]), 1_000);
    let Some(Action::Answer { answer, .. }) = rig.router.poll_action() else {
        panic!("no answer");
    };
    let error = answer.as_ref().as_ref().unwrap_err().to_string();
    assert_eq!(error, "no kind `acount` is deployed; there is account");
    // Who is not a member yet does not know.
    rig.me.incarnation = Incarnation(0);
    rig.submit("b", envelope("acount/a", "b", &[]), 1_000);
    assert_eq!(rig.out(), ["b: unavailable"]);
}

#[test]
fn calls_of_a_kind_that_is_dropped_end() {
    let mut rig = Rig::served();
    rig.settings.bounds.in_flight_max = 1;
    rig.call("a");
    rig.call("b");
    rig.out();
    let space = SHARD.space;
    rig.apply(Command::Drop { space }, |control, _| {
        control.spaces.clear();
        control.shards.remove(SHARD);
    });
    assert_eq!(rig.out(), ["a: interrupted?", "b: unknown_kind"]);
    assert_eq!(rig.router.poll_timeout(), None);
}

#[test]
fn messages_about_what_nobody_asked_change_nothing() {
    let mut rig = Rig::served();
    rig.reply(home(2, 2), 11, 1);
    rig.moved(
        home(2, 2),
        u64::MAX,
        u64::MAX,
        Some((u64::MAX, home(9, 9), u64::MAX)),
    );
    rig.hint(u64::MAX, Some((home(9, 9), u64::MAX)));
    rig.message(
        home(2, 2),
        Message::Downed {
            term: Term::default(),
            incarnation: Incarnation(1),
            index: Index(1),
        },
    );
    rig.call("a");
    assert_eq!(rig.out(), ["n2 e11/1 a"]);
}
