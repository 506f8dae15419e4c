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

use script::Script;
use stage::{Ending, Story};

/// Nothing but calls.
const CALM: Story = Story {
    happens: &[],
    when: None,
    deadly: false,
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
    deadly: true,
};

/// The node that shards move away from dies while they do, and nobody proves it.
const SOURCE_DIES: Story = Story {
    when: Some(("InstallQuery", gone(4, 3_000, Restart::Machine))),
    happens: &[(1_500, FaultKind::Wish(Wish::Move(3, NodeId(1))))],
    deadly: true,
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
    deadly: true,
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
    deadly: true,
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
    deadly: true,
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
    let expected = Script::new(!case.story.deadly).expected;
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
        ("join", Row::Join, JOINS),
        ("joinlost", Row::Join, DISK_LOST),
        ("lease", Row::Lease, CALM),
        ("home", Row::Home, DIES),
        ("start", Row::Start, ELECTS),
        ("start", Row::Start, DIES),
        ("meta", Row::Meta, JOINS),
        ("notice", Row::Notice, ELECTS),
        ("notice", Row::Notice, SLEEPS),
        ("handoff", Row::Handoff, MOVES),
        ("handoffjoin", Row::Handoff, JOINS),
        ("moved", Row::Moved, MOVES),
        ("transfer", Row::Transfer, MOVES),
        ("transfertd", Row::Transfer, TARGET_DIES),
        ("transfersd", Row::Transfer, SOURCE_DIES),
        ("release", Row::Release, MOVES),
        ("release", Row::Release, TARGET_DIES),
        ("entities", Row::Entities, CALM),
        ("entities", Row::Entities, MOVES),
        ("workers", Row::Workers, SCALES),
        ("waits", Row::Waits, CALM),
        ("components", Row::Components, REDEPLOYS),
        ("journal", Row::Journal, DIES),
        ("journal", Row::Journal, DISK_LOST),
        ("journal", Row::Journal, SLEEPS),
        ("leaving", Row::Leaving, LEAVES),
        ("calls", Row::Calls, MOVES),
        ("calls", Row::Calls, DIES),
        ("calls", Row::Calls, LEAVES),
    ] {
        if !name.contains(&only) { continue }
        println!("=== {name}");
        let begun = std::time::Instant::now();
        check(&Case { row, story, occurs: &[] });
        println!("took {:?}", begun.elapsed());
    }
}
