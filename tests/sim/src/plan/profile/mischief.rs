//! The faults of a run, drawn from its seed.

use std::time::Duration;

use entia_protocol::cluster::NodeId;

use super::{Profile, ms, weather};
use crate::faults::{At, Fault, FaultKind, Restart, Who, Wish};
use crate::plan::Plan;
use crate::seeded::{self, Rng};

/// A fault of one sort.
type Maker = fn(&Plan, &mut Rng) -> FaultKind;

/// The faults of a plan that has everything else.
pub(super) fn faults(plan: &Plan, rng: &mut Rng) -> Vec<Fault> {
    let makers = makers(plan.profile);
    if makers.is_empty() {
        return Vec::new();
    }
    let count = seeded::pick(rng, &[1, 2, 3, 5, 8, 12]);
    let mut faults: Vec<_> = (0..count)
        .map(|_| Fault {
            at: At::Time(seeded::within(rng, 200_000_000, plan.faults_until())),
            kind: seeded::pick(rng, makers)(plan, rng),
        })
        .collect();
    // Trouble comes in company: half of the runs have theirs within two seconds.
    if seeded::one_in(rng, 2) {
        let from = seeded::within(rng, 200_000_000, plan.faults_until() - 2_000_000_000);
        for fault in &mut faults {
            fault.at = At::Time(seeded::within(rng, from, from + 2_000_000_000));
        }
    }
    faults.sort_by_key(|fault| match fault.at {
        At::Time(time) | At::Step(time) => time,
    });
    faults
}

fn makers(profile: Profile) -> &'static [Maker] {
    match profile {
        Profile::Calm => &[],
        Profile::Default => &[
            crash, crash, pause, isolate, cut, split, weather_of, elect, clock, slow_disk, drain,
            undrain, move_shard, mute, deafen, wall_jump, scale, redeploy, crash_all,
        ],
        Profile::Network => &[
            echo, isolate, cut, split, flap, weather_of, mute, deafen, elect, move_shard, drain,
            undrain,
        ],
        Profile::Crash => &[
            echo, crash, crash, crash, crash_all, pause, stutter, elect, move_shard, drain, undrain,
        ],
        Profile::Clock => &[
            wild_clock, wild_clock, wall_jump, pause, pause, isolate, move_shard, crash,
        ],
        Profile::Disk => &[
            slow_disk, slow_disk, crash, crash_all, lose_disk, move_shard, elect,
        ],
        Profile::Scale => &[
            add, add, leave, drain, undrain, scale, scale, redeploy, move_shard, move_shard, crash,
            elect, isolate,
        ],
        Profile::Boot => &[crash, elect, weather_of, pause, isolate],
    }
}

fn node(plan: &Plan, rng: &mut Rng) -> NodeId {
    NodeId(seeded::within(rng, 1, plan.nodes))
}

/// Somebody: a node by its number, or the one with a part in what goes on.
fn who(plan: &Plan, rng: &mut Rng) -> Who {
    match seeded::within(rng, 0, 9) {
        0 | 1 => Who::Coordinator,
        2 => Who::Source,
        3 => Who::Target,
        4 => Who::Worker(0),
        5 => Who::Owner(u32::try_from(seeded::within(rng, 0, 3)).unwrap_or(0)),
        _ => Who::Node(node(plan, rng)),
    }
}

/// How long something lasts, around what matters: the lease.
fn lasts(plan: &Plan, rng: &mut Rng) -> Duration {
    let lease = plan.settings.timing.lease;
    let percent = seeded::pick(rng, &[5, 20, 50, 90, 100, 110, 150, 300, 1_000]);
    lease * percent / 100
}

fn crash(plan: &Plan, rng: &mut Rng) -> FaultKind {
    let restart = seeded::pick(
        rng,
        &[
            Restart::Process,
            Restart::Supervised,
            Restart::Machine,
            Restart::Never,
        ],
    );
    FaultKind::Crash {
        who: who(plan, rng),
        down: lasts(plan, rng),
        restart,
    }
}

fn crash_all(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::CrashAll {
        down: lasts(plan, rng),
        restart: seeded::pick(rng, &[Restart::Process, Restart::Machine]),
    }
}

fn lose_disk(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::Crash {
        who: who(plan, rng),
        down: lasts(plan, rng),
        restart: Restart::EmptyDisk,
    }
}

fn pause(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::Pause {
        who: who(plan, rng),
        lasts: lasts(plan, rng),
    }
}

fn stutter(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::Stutter {
        who: who(plan, rng),
        period: ms(seeded::pick(rng, &[10, 50, 200, 400])),
        lasts: ms(seeded::pick(rng, &[1_000, 5_000])),
    }
}

fn isolate(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::Isolate {
        who: who(plan, rng),
        lasts: lasts(plan, rng),
    }
}

fn cut(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::Cut {
        from: who(plan, rng),
        to: who(plan, rng),
        lasts: lasts(plan, rng),
    }
}

fn mute(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::Mute {
        who: who(plan, rng),
        lasts: lasts(plan, rng),
    }
}

fn deafen(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::Deafen {
        who: who(plan, rng),
        lasts: lasts(plan, rng),
    }
}

fn split(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::Split {
        side: seeded::within(rng, 1, (1 << plan.nodes) - 2),
        bridge: seeded::one_in(rng, 3).then(|| who(plan, rng)),
        lasts: lasts(plan, rng),
    }
}

fn flap(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::Flap {
        who: who(plan, rng),
        period: ms(seeded::pick(rng, &[50, 200, 600, 1_500])),
        lasts: ms(seeded::pick(rng, &[2_000, 10_000])),
    }
}

fn weather_of(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::Weather {
        network: weather(rng),
        lasts: lasts(plan, rng),
    }
}

fn echo(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::Echo {
        who: who(plan, rng),
        lasts: lasts(plan, rng),
    }
}

fn clock(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::ClockRate {
        who: who(plan, rng),
        ppm: seeded::pick(rng, &[-10_000, 10_000, 0]),
    }
}

fn wild_clock(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::ClockRate {
        who: who(plan, rng),
        ppm: seeded::pick(rng, &[-50_000, -10_000, 10_000, 50_000]),
    }
}

fn wall_jump(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::WallJump {
        who: who(plan, rng),
        ms: seeded::pick(rng, &[-86_400_000, -3_000, 3_000, 86_400_000]),
    }
}

fn slow_disk(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::SlowDisk {
        who: who(plan, rng),
        sync: ms(seeded::pick(rng, &[50, 400, 2_000])),
        lasts: ms(seeded::pick(rng, &[1_000, 5_000])),
    }
}

fn elect(_: &Plan, _: &mut Rng) -> FaultKind {
    FaultKind::Elect
}

fn add(_: &Plan, _: &mut Rng) -> FaultKind {
    FaultKind::Wish(Wish::Add)
}

fn leave(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::Wish(Wish::Leave(node(plan, rng)))
}

fn drain(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::Wish(Wish::Drain(node(plan, rng)))
}

fn undrain(plan: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::Wish(Wish::Undrain(node(plan, rng)))
}

fn move_shard(plan: &Plan, rng: &mut Rng) -> FaultKind {
    let shard = u32::try_from(seeded::within(rng, 0, 3)).unwrap_or(0);
    FaultKind::Wish(Wish::Move(shard, node(plan, rng)))
}

fn redeploy(_: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::Wish(Wish::Redeploy(seeded::within(rng, 2, Plan::VERSIONS)))
}

fn scale(_: &Plan, rng: &mut Rng) -> FaultKind {
    FaultKind::Wish(Wish::Scale(seeded::pick(rng, &[1, 3, 8, 16])))
}
