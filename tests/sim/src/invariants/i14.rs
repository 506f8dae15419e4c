//! I14: every buffer, window and queue stays under its configured cap.
//!
//! The machines check their own buffers after each input. Here is what they say to each other.

use entia_protocol::cluster::Message;

use super::{Checked, View};

/// A message leaves.
pub(super) fn sent(view: &View<'_>, message: &Message) -> Checked {
    let bounds = &view.world.plan.settings.bounds;
    let (what, length, max) = match message {
        Message::MetaDelta(delta) => ("a delta", delta.entries.len(), bounds.delta_max),
        Message::State { records, .. } => ("a page", records.len(), bounds.page_max),
        Message::Chunk(chunk) => ("a chunk", chunk.records.len(), bounds.page_max),
        Message::WaitProbe { chain, .. } => ("a probe", chain.len(), bounds.chain_max + 1),
        _ => return Ok(()),
    };
    if length > max {
        return Err(view.violation(
            "I14",
            format!("sends {what} of {length}, and {max} are allowed"),
        ));
    }
    Ok(())
}
