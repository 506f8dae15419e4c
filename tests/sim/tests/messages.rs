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

#[test]
fn look() {
    for (name, story) in [
        ("calm", CALM),
        ("moves", MOVES),
        ("target", TARGET_DIES),
        ("source", SOURCE_DIES),
        ("joins", JOINS),
        ("disk", DISK_LOST),
        ("leaves", LEAVES),
        ("scales", SCALES),
        ("redeploys", REDEPLOYS),
        ("dies", DIES),
        ("sleeps", SLEEPS),
        ("elects", ELECTS),
    ] {
        let begun = std::time::Instant::now();
        let ending = story.play(None);
        println!("=== {name} {:?} {:?}", ending.violation, begun.elapsed());
        println!("{:?}", ending.handled);
        let expected = Script::new(!story.deadly).expected;
        println!("lists {}", ending.state.lists == expected);
        let mut state = ending.state;
        state.lists.clear();
        println!("{state:?}");
    }
}
