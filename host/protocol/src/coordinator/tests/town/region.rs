//! What regions say of their own accord, and what they answer.

use std::sync::Arc;

use super::Town;
use crate::Digest;
use crate::cluster::{
    Epoch, HandoffId, Home, Incarnation, LedgerId, Message, NodeId, Renew, ShardId, WorkerHealth,
    WorkerOrder, WorkerReport,
};
use crate::control::Ownership;

impl Town {
    pub(super) fn renew(&mut self) {
        if self.now.since(self.renewed) < self.settings.timing.renew {
            return;
        }
        self.renewed = self.now;
        for (node, region) in &mut self.regions {
            if !region.alive || region.ignores.contains("Renew") {
                continue;
            }
            let member = self.control.members.get(node);
            let member = member.filter(|it| it.boot.process == region.boot.process);
            match member.filter(|it| self.control.live(it.home()).is_some()) {
                Some(member) if member.home() == region.home => {}
                Some(member) => {
                    region.home = member.home();
                    (region.seq, region.confirmed) = (0, 0);
                    region.shipped.clear();
                }
                None => {
                    let message = Message::Join(Arc::clone(&region.boot));
                    region.home.incarnation = Incarnation(0);
                    self.mail.push_back((region.home, message));
                    continue;
                }
            }
            region.seq += 1;
            let renew = Renew {
                incarnation: region.home.incarnation,
                seq: region.seq,
                confirmed: region.confirmed,
                applied: self.control.applied,
            };
            self.mail.push_back((region.home, Message::Renew(renew)));
            if region.ignores.contains("Adopted") {
                continue;
            }
            for shard in self.control.owned_by(region.home) {
                let record = &self.control.shards[&shard];
                let epoch = record.epoch;
                for source in record.sources.iter().map(|source| source.ledger) {
                    let adopted = Message::Adopted {
                        shard,
                        epoch,
                        source,
                    };
                    self.mail.push_back((region.home, adopted));
                }
            }
        }
    }

    pub(super) fn deliver(&mut self, to: NodeId, message: Message) {
        let heard = self.regions.get(&to);
        let heard = heard.filter(|it| it.alive && !it.ignores.contains(name(&message)));
        let lost = self.noise.as_mut().is_some_and(|noise| noise.below(8) == 0);
        if let Some(region) = heard.filter(|_| !lost) {
            let home = region.home;
            self.answer(home, &message);
        }
        self.sent.push((to, message));
    }

    /// What a region does that is told so.
    fn answer(&mut self, home: Home, message: &Message) {
        match message {
            Message::Grant(grant) if grant.incarnation == home.incarnation => {
                let region = self.region(home.node.0);
                region.confirmed = region.confirmed.max(grant.seq);
            }
            Message::Start { shards, .. } => {
                let mine = |&&(shard, epoch): &&(ShardId, Epoch)| {
                    self.control.home_of(shard) == Some((home, epoch))
                };
                let shards = shards.iter().filter(mine).copied().collect();
                self.mail.push_back((home, Message::Started { shards }));
            }
            Message::Precopy(order) => {
                let transfer = order.transfer;
                self.mail.push_back((home, Message::Precopied { transfer }));
            }
            Message::BeginHandoff { handoff, order } => {
                let target = self.regions.get_mut(&order.to.node).unwrap();
                let shards: Vec<ShardId> = order.shards.iter().map(|&(id, _)| id).collect();
                if target.alive && target.home == order.to && !target.ignores.contains("Chunk") {
                    let shipped = shards.iter().map(|&shard| (order.transfer, shard));
                    target.shipped.extend(shipped);
                }
                let handoff = *handoff;
                self.mail
                    .push_back((home, Message::HandoffAcked { handoff, shards }));
            }
            Message::InstallQuery {
                handoff,
                shards,
                last,
                ..
            } => {
                for &shard in shards {
                    self.answer_query(home, *handoff, shard, *last);
                }
            }
            Message::StartWorker(order) => {
                let health = self.region(home.node.0).worker_health;
                self.report(home, order, health);
            }
            Message::StopWorker(order) => self.report(home, order, WorkerHealth::Stopped),
            _ => {}
        }
    }

    fn answer_query(&mut self, home: Home, handoff: HandoffId, shard: ShardId, last: bool) {
        let Some(Ownership::Handoff { transfer, to, .. }) =
            self.control.shards.get(&shard).map(|each| each.ownership)
        else {
            return;
        };
        let answer = if to == home
            && self.regions[&home.node]
                .shipped
                .contains(&(transfer, shard))
        {
            self.installed(home, handoff, shard)
        } else if last {
            Message::NotInstalled { handoff, shard }
        } else {
            return;
        };
        self.mail.push_back((home, answer));
    }

    pub(in super::super) fn installed(
        &self,
        home: Home,
        handoff: HandoffId,
        shard: ShardId,
    ) -> Message {
        let ledger: Option<LedgerId> = self.control.live(home).and_then(|member| member.ledger);
        Message::Installed {
            handoff,
            shard,
            digest: Digest::of(b"states"),
            ledger,
        }
    }

    pub(in super::super) fn report(
        &mut self,
        home: Home,
        order: &WorkerOrder,
        health: WorkerHealth,
    ) {
        let region = self.region(home.node.0);
        region.reports += 1;
        let report = WorkerReport {
            worker: order.worker,
            revision: order.revision,
            epoch: order.epoch,
            seq: region.reports,
            health,
        };
        self.mail.push_back((home, Message::WorkerState(report)));
    }
}

/// The variant's name.
pub(super) fn name(message: &Message) -> &'static str {
    match message {
        Message::Grant(_) => "Grant",
        Message::NewCoordinator { .. } => "NewCoordinator",
        Message::Start { .. } => "Start",
        Message::Precopy(_) => "Precopy",
        Message::BeginHandoff { .. } => "BeginHandoff",
        Message::InstallQuery { .. } => "InstallQuery",
        Message::Release { .. } => "Release",
        Message::HandoffAborted { .. } => "HandoffAborted",
        Message::StartWorker(_) => "StartWorker",
        Message::StopWorker(_) => "StopWorker",
        Message::ShardHome { .. } => "ShardHome",
        _ => "another",
    }
}
