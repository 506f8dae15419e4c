//! The same message twice at one instant, with nothing in between: the second one changes nothing in the node.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use entia_protocol::cluster::{Message, NodeId, Peer};
use entia_sim::observation::{Cause, Observation};
use entia_sim::row;
use entia_sim::world::World;

/// Looks at nodes after a message, and after the same message again.
#[derive(Debug, Default)]
pub(crate) struct Again {
    /// Nodes' words are long: they are compared only where messages are doubled.
    looks: bool,
    first: Option<First>,
    /// How many pairs were looked at, by message.
    pub(crate) compared: BTreeMap<&'static str, u64>,
    /// Where the two differ.
    pub(crate) differs: Vec<String>,
}

/// A message, and the node after it.
#[derive(Debug)]
struct First {
    node: NodeId,
    true_time: u64,
    from: Peer,
    message: Message,
    words: String,
}

/// Pairs of each message that are looked at: a node's words are long.
const PAIRS: u64 = 150;
/// Differences that are written down.
const DIFFERENCES: usize = 12;

impl Again {
    /// Has seen nothing.
    pub(crate) fn new(looks: bool) -> Self {
        Self {
            looks,
            ..Self::default()
        }
    }

    /// Looks at a step.
    pub(crate) fn look(&mut self, world: &World, seen: &Observation<'_>) {
        let first = self.first.take();
        if !self.looks {
            return;
        }
        let Cause::Message { from, message } = seen.cause else {
            return;
        };
        let name = row::name(message);
        let Some(node) = world.nodes[&seen.node].node.as_ref() else {
            return;
        };
        if let Some(first) = first
            && (first.node, first.true_time, first.from) == (seen.node, seen.true_time, from)
            && first.message == *message
        {
            *self.compared.entry(name).or_default() += 1;
            let words = format!("{node:?}");
            if words != first.words && self.differs.len() < DIFFERENCES {
                let difference = difference(&first.words, &words);
                self.differs.push(format!("{name} at {}: {difference}", seen.node));
            }
            return;
        }
        if self.compared.get(name).copied().unwrap_or(0) < PAIRS {
            self.first = Some(First {
                node: seen.node,
                true_time: seen.true_time,
                from,
                message: message.clone(),
                words: format!("{node:?}"),
            });
        }
    }
}

/// Where two texts part, with what is around it.
fn difference(first: &str, second: &str) -> String {
    let same = |(one, other): &(u8, u8)| one == other;
    let at = first.bytes().zip(second.bytes()).take_while(same).count();
    let mut words = String::new();
    for text in [first, second] {
        let from = floor(text, at.saturating_sub(160));
        let to = floor(text, at + 120);
        let _ = write!(words, "\n    …{}…", &text[from..to]);
    }
    words
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}
