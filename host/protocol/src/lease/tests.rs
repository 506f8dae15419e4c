//! A holder and a granter whose clocks run at rates of their own: in true time, the one is over before the other.

use crate::cluster::{Instant, Message, Mutant, NodeId};
use crate::lease::fixture::{Fixture, TERM, ms};
use crate::lease::{Action, Granter, Holder, granter};

/// A clock that counts `rate` parts per million of true time.
struct Clock {
    rate: u64,
    zero: u64,
}

impl Clock {
    fn at(&self, truth: u64) -> Instant {
        Instant(self.zero + truth * self.rate / 1_000_000)
    }

    /// The true time at which it shows this: not before it.
    fn truth(&self, shown: Instant) -> u64 {
        ((shown.0 - self.zero) * 1_000_000).div_ceil(self.rate)
    }
}

/// How long after the end of the region's lease the coordinator believes that it has ended, in true nanoseconds.
fn gap(region: u64, coordinator: u64, delay_ms: u64, mutant: Option<Mutant>) -> i64 {
    let region = Clock {
        rate: region,
        zero: 50_000_000_000,
    };
    let coordinator = Clock {
        rate: coordinator,
        zero: 2_000_000_000,
    };
    let mut fixture = Fixture::new(1);
    fixture.settings.mutant = mutant;
    let home = fixture.home(1);

    let mut holder = Holder::new(region.at(0));
    holder.reset(region.at(0));
    fixture.now = region.at(0);
    holder.handle_timeout(&fixture.cx());
    let Some(Action::Send { to, message }) = holder.poll_action() else {
        panic!("it renews");
    };
    assert_eq!(to, NodeId(1));

    // The coordinator was elected long ago.
    fixture.now = Instant(0);
    let mut granter = Granter::new(&fixture.cx(), TERM);
    let delay = ms(delay_ms).as_nanos() as u64;
    fixture.now = coordinator.at(delay);
    granter.handle_message(&fixture.cx(), home, &message);
    granter.handle_timeout(&fixture.cx());
    let Some(granter::Action::Barrier { id }) = granter.poll_action() else {
        panic!("it begins a barrier");
    };
    granter.handle_barrier(&fixture.cx(), id, Some(fixture.control.applied));
    let Some(granter::Action::Send { message, .. }) = granter.poll_action() else {
        panic!("it grants");
    };
    assert!(matches!(message, Message::Grant(_)));

    fixture.now = region.at(2 * delay);
    holder.handle_message(&fixture.cx(), home, &message);
    let held = region.truth(holder.until());
    let granted = coordinator.truth(granter.expires(home));
    granted as i64 - held as i64
}

#[test]
fn within_the_drift_a_lease_is_over_before_it_is_believed_to_be() {
    for delay_ms in [0, 1, 100, 600] {
        for region in [990_000, 1_000_000, 1_010_000] {
            for coordinator in [990_000, 1_000_000, 1_010_000] {
                let gap = gap(region, coordinator, delay_ms, None);
                let case = format!("{region} and {coordinator} ppm, {delay_ms} ms");
                assert!(gap > 0, "{case}: {gap} ns");
            }
        }
    }
}

#[test]
fn without_the_margin_a_slow_region_believes_in_its_lease_for_too_long() {
    let gap = gap(990_000, 1_010_000, 0, Some(Mutant::NoDriftMargin));
    assert!(gap < 0, "{gap} ns");
}
