//! How a process that is no member becomes one, or learns why not.
//!
//! | it says | its predecessor | what happens |
//! |---|---|---|
//! | the process that is a member | itself | it is told that it is one |
//! | a newer process, same machine, directory and disk | any | its Join is proposed: that it has the directory's lock proves that the other is gone |
//! | a newer process, same disk, elsewhere | live | the other is granted nothing any more; when its leases have run out: Down, then Join |
//! | a newer process, or the same one, same disk | Down, or none | its Join is proposed |
//! | an older process, another disk, another cluster, another protocol | any | it is refused |

use std::sync::Arc;

use crate::cluster::{Boot, Context, JoinRefusal, Message, Peer};
use crate::control::Status;

use super::Roster;
use super::seat::Candidate;

/// How many nodes may be members, or wait to be.
const SEATS_MAX: usize = 10_000;
/// The longest zone or address of a process that wants to be a member.
const NAME_BYTES_MAX: usize = 256;

impl Roster {
    pub(super) fn handle_join(&mut self, cx: &Context<'_>, from: Peer, boot: &Arc<Boot>) {
        let node = boot.node;
        let long = [&boot.zone, &boot.address.data, &boot.address.control]
            .iter()
            .any(|name| name.len() > NAME_BYTES_MAX);
        if from.node != node || long {
            return;
        }
        // The first member becomes the only voter: it has to be who writes this log.
        if cx.control.members.is_empty() && node != cx.me.node {
            return;
        }
        if let Some(reason) = self.refusal(cx, boot) {
            let process = boot.process;
            return self.send(node, Message::JoinRefused { process, reason });
        }
        let member = cx.control.members.get(&node);
        if member.is_some_and(|m| m.boot.process == boot.process && m.status != Status::Down) {
            // It is one, and does not know: this makes it ask for the control state.
            let (term, index) = (self.term, cx.control.applied);
            return self.send(node, Message::NewCoordinator { term, index });
        }
        if !self.seats.contains_key(&node) && self.seats.len() >= SEATS_MAX {
            return;
        }
        // Its predecessor's leases end one way or the other.
        if let Some(member) = member {
            self.granter.stop(cx, member.home());
        }
        let seat = self.seats.entry(node).or_default();
        seat.candidate = Some(Candidate {
            boot: Arc::clone(boot),
            heard: cx.now.instant,
        });
        self.step(cx, node);
    }

    /// Why this process cannot be a member, whatever happens.
    fn refusal(&self, cx: &Context<'_>, boot: &Boot) -> Option<JoinRefusal> {
        let control = cx.control;
        let (ours, theirs) = (control.cluster, boot.cluster);
        if ours != theirs {
            return Some(JoinRefusal::OtherCluster { ours, theirs });
        }
        let (cluster, range) = (control.protocol, boot.protocol);
        if !(range.min..=range.max).contains(&cluster) {
            let node = range;
            return Some(JoinRefusal::Protocol { cluster, node });
        }
        let node = boot.node;
        let waiting = self
            .seats
            .get(&node)
            .and_then(|seat| seat.candidate.as_ref());
        let newest = waiting.map_or(0, |candidate| candidate.boot.process);
        let member = control.members.get(&node).map(|member| &member.boot);
        if newest.max(member.map_or(0, |known| known.process)) > boot.process {
            return Some(JoinRefusal::Superseded { node });
        }
        let lost = member.is_some_and(|known| known.disk != boot.disk);
        lost.then_some(JoinRefusal::DiskLost { node })
    }
}
