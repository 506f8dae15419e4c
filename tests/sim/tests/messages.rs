//! One test for each row of the message table: its messages tripled, delayed and reordered come to the same state.
//!
//! ```text
//!   story ──┬── as it is ──────────────────────────► state ─┐
//!           ├── messages of the row three times ───► state ─┤
//!           ├── ... later ─────────────────────────► state ─┼─ all the same, and what was asked for
//!           ├── ... in any order ──────────────────► state ─┤
//!           └── ... twice at one instant ──────────► state ─┘  and the second one changes nothing in the node
//! ```
//! A story is some seconds of a cluster of five under all kinds of calls, in which the row's messages occur. The state is what does
//! not depend on time: see [`State`](stage::State). All invariants are looked at in all runs.

#[path = "messages/again.rs"]
mod again;
#[path = "messages/script.rs"]
mod script;
#[path = "messages/stage.rs"]
mod stage;

use std::time::Duration;

use entia_protocol::cluster::NodeId;
use entia_sim::faults::{FaultKind, Restart, Who, Wish};
use entia_sim::row::{Row, Twist};

use script::{Calls, Script};
use stage::{Ending, Story};

/// Nothing but calls.
const CALM: Story = Story {
    happens: &[],
    when: None,
    lag_ms: 5,
    calls: Calls::All,
};

/// Shards move to where they were not, and one back.
const MOVES: Story = Story {
    happens: &[
        (1_000, FaultKind::Wish(Wish::Move(0, NodeId(3)))),
        (1_500, FaultKind::Wish(Wish::Move(1, NodeId(4)))),
        (1_800, FaultKind::Wish(Wish::Move(2, NodeId(5)))),
        (2_500, FaultKind::Wish(Wish::Move(3, NodeId(1)))),
        (3_200, FaultKind::Wish(Wish::Move(0, NodeId(1)))),
    ],
    ..CALM
};

/// The node that shards move to dies while they do.
const TARGET_DIES: Story = Story {
    when: Some(("BeginHandoff", gone(4, 500, Restart::Process))),
    happens: &[(1_500, FaultKind::Wish(Wish::Move(1, NodeId(4))))],
    calls: Calls::Durable,
    ..CALM
};

/// The node that shards move away from dies while they do, and nobody proves it.
const SOURCE_DIES: Story = Story {
    when: Some(("InstallQuery", gone(4, 3_000, Restart::Machine))),
    happens: &[(1_500, FaultKind::Wish(Wish::Move(3, NodeId(1))))],
    calls: Calls::Durable,
    ..CALM
};

/// Two nodes join: the cluster has observers then.
const JOINS: Story = Story {
    happens: &[
        (1_000, FaultKind::Wish(Wish::Add)),
        (2_000, FaultKind::Wish(Wish::Add)),
    ],
    ..CALM
};

/// A node comes back with another disk, and is refused.
const DISK_LOST: Story = Story {
    happens: &[(1_000, gone(5, 700, Restart::EmptyDisk))],
    calls: Calls::Durable,
    ..CALM
};

/// A node leaves.
const LEAVES: Story = Story {
    happens: &[(1_500, FaultKind::Wish(Wish::Leave(NodeId(5))))],
    ..CALM
};

/// More workers, then fewer.
const SCALES: Story = Story {
    happens: &[
        (1_000, FaultKind::Wish(Wish::Scale(9))),
        (4_000, FaultKind::Wish(Wish::Scale(4))),
    ],
    ..CALM
};

/// The kinds get other code.
const REDEPLOYS: Story = Story {
    happens: &[
        (1_000, FaultKind::Wish(Wish::Redeploy(2))),
        (2_000, FaultKind::Wish(Wish::Add)),
    ],
    ..CALM
};

/// A node dies, and nobody proves it.
const DIES: Story = Story {
    happens: &[(1_500, gone(5, 3_000, Restart::Machine))],
    calls: Calls::Durable,
    ..CALM
};

/// A node is stopped for longer than its lease.
const SLEEPS: Story = Story {
    happens: &[(
        1_500,
        FaultKind::Pause {
            who: Who::Node(NodeId(5)),
            lasts: ms(3_000),
        },
    )],
    calls: Calls::Durable,
    ..CALM
};

/// A node does not hear the others for longer than its lease, nor they it.
const CUT_OFF: Story = Story {
    happens: &[(
        1_500,
        FaultKind::Isolate {
            who: Who::Node(NodeId(5)),
            lasts: ms(3_000),
        },
    )],
    calls: Calls::Durable,
    ..CALM
};

/// As [`MOVES`], and what moves takes its time: calls come too late.
const MOVES_SLOWLY: Story = Story {
    happens: &[
        (0, slowly(Row::Transfer, 250)),
        (1_000, FaultKind::Wish(Wish::Move(0, NodeId(3)))),
        (1_500, FaultKind::Wish(Wish::Move(1, NodeId(4)))),
        (1_800, FaultKind::Wish(Wish::Move(2, NodeId(5)))),
        (2_000, FaultKind::Wish(Wish::Add)),
    ],
    ..CALM
};

/// The node that shards move away from dies before it has shipped everything.
const SHIPPER_DIES: Story = Story {
    when: Some(("BeginHandoff", gone(4, 3_000, Restart::Machine))),
    ..SOURCE_DIES
};

/// A node dies where entries come late: for a while nobody seems to own its shards.
const DIES_UNHEARD: Story = Story {
    lag_ms: 400,
    ..DIES
};

/// A node has had a shard, and hears again that it is to serve it.
const STARTS_AGAIN: Story = Story {
    happens: &[
        (
            500,
            FaultKind::Echo {
                who: Who::Node(NodeId(3)),
                lasts: ms(4_000),
            },
        ),
        (1_000, FaultKind::Wish(Wish::Move(0, NodeId(3)))),
        (2_500, FaultKind::Wish(Wish::Move(0, NodeId(1)))),
    ],
    ..CALM
};

/// Calls take so long that entities wait for each other in a circle.
const CIRCLES: Story = Story {
    happens: &[(0, slowly(Row::Calls, 250))],
    calls: Calls::Circles,
    ..CALM
};

/// Other nodes lead.
const ELECTS: Story = Story {
    happens: &[(1_500, FaultKind::Elect), (3_000, FaultKind::Elect)],
    ..CALM
};

const fn gone(node: u64, down_ms: u64, restart: Restart) -> FaultKind {
    FaultKind::Crash {
        who: Who::Node(NodeId(node)),
        down: ms(down_ms),
        restart,
    }
}

const fn slowly(row: Row, by_ms: u64) -> FaultKind {
    FaultKind::Twist {
        row,
        twist: Twist::Delayed(ms(by_ms)),
        lasts: ms(8_000),
    }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What has to have been handled in the story as it is; the rest comes only where something is twisted.
struct Case {
    row: Row,
    story: Story,
    occurs: &'static [&'static str],
}

/// Half a lease, there and back, is less than any of these two together.
const fn twists(row: Row) -> [Twist; 4] {
    match row {
        // A lease of a second bears a round trip of half of it.
        Row::Lease => [
            Twist::Tripled(ms(2_000)),
            Twist::Delayed(ms(200)),
            Twist::Shuffled(ms(240)),
            Twist::Doubled,
        ],
        _ => [
            Twist::Tripled(ms(2_000)),
            Twist::Delayed(ms(300)),
            Twist::Shuffled(ms(600)),
            Twist::Doubled,
        ],
    }
}

fn check(case: &Case) {
    let expected = Script::new(case.story.calls).expected;
    let plain = case.story.play(None);
    println!("plain: {:?}", plain.handled);
    assert_eq!(plain.violation, None);
    assert_eq!(plain.state.lists, expected);
    for name in case.occurs {
        assert!(plain.handled.contains_key(name), "no {name} in {:?}", plain.handled);
    }
    for twist in twists(case.row) {
        let ending = case.story.play(Some((case.row, twist)));
        println!("{twist:?}: {:?}", ending.handled);
        let mut s = ending.state; let lists = s.lists == expected; s.lists.clear();
        let mut p = case.story.play(None).state; p.lists.clear();
        if ending.violation.is_some() || !lists || s != p {
            println!("!!! {twist:?} {:?} {lists} {s:?}", ending.violation);
        }
        if twist == Twist::Doubled {
            println!("compared: {:?}", ending.again.compared);
            for d in ending.again.differs { println!("DIFF {d}"); }
        }
    }
}

#[test]
fn look() {
    let only = std::env::var("ROW").unwrap_or_default();
    for (name, row, story) in [
        ("home", Row::Home, DIES_UNHEARD),
        ("moved", Row::Moved, MOVES_SLOWLY),
        ("transfersd", Row::Transfer, SHIPPER_DIES),
        ("start", Row::Start, STARTS_AGAIN),
        ("waits", Row::Waits, CIRCLES),
        ("journal", Row::Journal, CUT_OFF),
    ] {
        if !name.contains(&only) { continue }
        println!("=== {name}");
        let begun = std::time::Instant::now();
        check(&Case { row, story, occurs: &[] });
        println!("took {:?}", begun.elapsed());
    }
}
