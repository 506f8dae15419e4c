//! What an operator wants, asked of the coordinator until it is so.

use entia_protocol::cluster::NodeId;
use entia_protocol::control::Status;
use entia_protocol::{Digest, KindName};

use super::{MILLISECOND, Pending, Watch, World};
use crate::faults::{Restart, Wish};
use crate::node::{Event, Request};
use crate::plan::SpacePlan;

/// How often the operator looks.
const LOOKS: u64 = 500 * MILLISECOND;

impl World {
    /// Something is wanted from now on.
    pub(super) fn wish(&mut self, wish: Wish) {
        match wish {
            Wish::Add => {
                self.add_node();
                return;
            }
            Wish::Drain(id) => {
                self.wishes.remove(&Wish::Undrain(id));
            }
            Wish::Undrain(id) => {
                self.wishes.remove(&Wish::Drain(id));
            }
            Wish::Scale(_) => self.wishes.retain(|wish| !matches!(wish, Wish::Scale(_))),
            Wish::Redeploy(_) => self
                .wishes
                .retain(|wish| !matches!(wish, Wish::Redeploy(_))),
            Wish::Leave(_) | Wish::Remove(_) | Wish::Move(..) => {}
        }
        let goes = matches!(wish, Wish::Drain(_) | Wish::Leave(_));
        if goes && self.staying() <= 3 {
            return;
        }
        self.wishes.insert(wish);
        self.ask(wish);
    }

    /// The nodes that nobody wants to go.
    fn staying(&self) -> usize {
        let goes = |id: NodeId| {
            self.wishes.contains(&Wish::Drain(id)) || self.wishes.contains(&Wish::Leave(id))
        };
        let nodes = self.nodes.iter();
        nodes
            .filter(|&(&id, there)| !there.gone && !goes(id))
            .count()
    }

    /// Asks again for what is not so, and forgets what is.
    pub(super) fn operate(&mut self) {
        self.queue.push(self.true_time + LOOKS, Pending::Operator);
        let wishes: Vec<_> = self.wishes.iter().copied().collect();
        for wish in wishes {
            if self.is_so(wish) {
                self.wishes.remove(&wish);
            } else {
                self.ask(wish);
            }
        }
    }

    /// A process ends for good, and the operator wants the node forgotten.
    pub(super) fn retire(&mut self, id: NodeId, after: u64) {
        self.wishes.insert(Wish::Remove(id));
        self.queue.push(self.true_time + after, Pending::Stop(id));
    }

    /// The process ends.
    pub(super) fn stop(&mut self, id: NodeId, watch: &mut dyn Watch) {
        self.kill(id, Restart::Never, watch);
    }

    fn ask(&mut self, wish: Wish) {
        if let Wish::Leave(id) = wish {
            self.later(id, MILLISECOND, Event::Leave);
            return;
        }
        let Some(leader) = self.log.leader.filter(|&id| self.awake(id)) else {
            return;
        };
        for request in self.requests(wish) {
            if let Request::Deploy { component, .. } | Request::Scale { component, .. } = &request {
                self.upload(*component);
            }
            self.later(leader, MILLISECOND, Event::Request(request));
        }
    }

    /// Two nodes get a component before it is deployed: the only copy must not be lost with a disk.
    fn upload(&mut self, digest: Digest) {
        let Some(bytes) = self.plan.component(digest) else {
            return;
        };
        let ids = self.nodes.keys().copied().filter(|&id| self.awake(id));
        let two: Vec<_> = ids.take(2).collect();
        for id in two {
            let there = self.nodes.get_mut(&id).expect("it was listed");
            if there
                .disk
                .components
                .insert(digest, bytes.clone())
                .is_none()
            {
                self.later(id, 0, Event::ComponentStored(digest));
            }
        }
    }

    fn requests(&self, wish: Wish) -> Vec<Request> {
        match wish {
            Wish::Add | Wish::Leave(_) => Vec::new(),
            Wish::Drain(node) => vec![Request::Drain { node }],
            Wish::Undrain(node) => vec![Request::Undrain { node }],
            Wish::Remove(node) => vec![Request::Remove { node }],
            Wish::Redeploy(version) => {
                let spaces = self.plan.spaces.iter();
                spaces.map(|space| deploy(space, version)).collect()
            }
            Wish::Scale(workers) => {
                let mut spaces = self.plan.spaces.iter().filter(|space| space.daemons);
                spaces
                    .next()
                    .map(|space| {
                        let shards = workers;
                        deploy(&SpacePlan { shards, ..*space }, 1)
                    })
                    .into_iter()
                    .collect()
            }
            Wish::Move(number, to) => {
                let shard = self.shard(SpacePlan::DURABLE, number);
                let shards: Vec<_> = shard.into_iter().collect();
                vec![Request::Move { shards, to }]
            }
        }
    }

    fn is_so(&self, wish: Wish) -> bool {
        let state = &self.log.state;
        let status = |id: NodeId| state.members.get(&id).map(|member| member.status);
        match wish {
            Wish::Add => true,
            Wish::Leave(id) => status(id).is_none() || self.nodes.get(&id).is_none_or(|it| it.gone),
            Wish::Drain(id) => status(id).is_none_or(|status| status == Status::Leaving),
            Wish::Undrain(id) => status(id).is_none_or(|status| status == Status::Up),
            Wish::Remove(id) => status(id).is_none(),
            Wish::Redeploy(version) => self.plan.spaces.iter().all(|space| {
                let digest = space.digest(version);
                let mut spaces = state.spaces.values();
                spaces.any(|it| it.name.as_str() == space.name && it.component == digest)
            }),
            Wish::Scale(workers) => {
                let mut spaces = state.spaces.values();
                spaces.any(|it| it.name.as_str() == SpacePlan::WORKER && it.shards == workers)
            }
            Wish::Move(..) => true,
        }
    }
}

fn deploy(space: &SpacePlan, version: u64) -> Request {
    let name = KindName::new(space.name).expect("plans name kinds well");
    let component = space.digest(version);
    let durability = space.durability;
    if space.daemons {
        Request::Scale {
            name,
            component,
            durability,
            workers: space.shards,
        }
    } else {
        Request::Deploy {
            name,
            component,
            durability,
            shards: space.shards,
        }
    }
}
