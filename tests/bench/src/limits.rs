//! What LIMITS.md measured of the bare parts, in calls a second, and the rule by which a floor is voided.

/// A floor under this share of its limit says more of the machine than of ours.
const SHARE_MIN: f64 = 0.60;

/// A figure of LIMITS.md that a floor is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    per_second: f64,
    source: &'static str,
}

impl Limit {
    const fn new(per_second: f64, source: &'static str) -> Self {
        Self { per_second, source }
    }

    /// Why a floor that reached `per_second` does not count, if it does not.
    pub(crate) fn void(self, per_second: f64) -> Option<String> {
        let share = per_second / self.per_second;
        // Also where it is not a number.
        let counts = share >= SHARE_MIN;
        (!counts).then(|| {
            format!(
                "the floor reached {per_second:.0}/s, {:.0} % of the {:.0}/s of {}; {:.0} % are needed",
                share * 100.0,
                self.per_second,
                self.source,
                SHARE_MIN * 100.0
            )
        })
    }
}

/// Section A, a random call over 10,000 live instances: 4.4 us at most.
///
/// Section H has a run-queue of 1,000 cells with 256 asks in flight at 359 to 755 thousand a second, but of another guest: 20
/// KB without WASI, whose call takes one list and returns one. Ours here is the counter, 300 KB with the standard library and
/// serde; its call carries a context with strings, a method's name and MessagePack, and its stack, data and heap lie far apart.
/// A warm call of it takes 1.6 us instead of 0.35, and 1,000 of them fill caches and TLB as 10,000 of those do. Section H also
/// shows that the queue itself adds next to nothing to a direct call.
pub(crate) const LOCAL: Limit = Limit::new(1e9 / 4_400.0, "LIMITS.md A, a cold call");

/// The same, and section D: the snapshot of 1 KiB that follows it on the warm instance, 0.5 us.
pub(crate) const LOCAL_WITH_SNAPSHOT: Limit = Limit::new(
    1e9 / 4_900.0,
    "LIMITS.md A and D, a cold call and a snapshot",
);

/// Section E, plain TCP, framed, one request of 64 bytes in flight, by the number of connections.
///
/// LIMITS.md has no HTTP. This row pays what HTTP pays, a round of system calls each way for a request, and little else. The
/// framed rows with more in flight share system calls among requests, which HTTP on separate connections cannot. With one in
/// flight each side waits for the other, so a server that always has another request does twice as many at least.
pub(crate) fn http(connections: usize) -> Limit {
    const ONE: f64 = 21.8e3;
    match connections {
        0..64 => Limit::new(ONE, "LIMITS.md E, plain TCP, one in flight"),
        _ => Limit::new(2.0 * ONE, "LIMITS.md E, plain TCP, twice one in flight"),
    }
}

/// Section G, fjall 3 with SyncData, by its writers.
pub(crate) fn durable(writers: usize) -> Limit {
    let per_second = match writers {
        0..64 => 2.9e3,
        64..1024 => 94e3,
        _ => 217e3,
    };
    Limit::new(per_second, "LIMITS.md G, fjall SyncData")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_voided_under_60_percent_of_its_limit_with_the_reason() {
        let limit = Limit::new(100_000.0, "LIMITS.md X");
        assert_eq!(limit.void(60_000.0), None);
        assert_eq!(
            limit.void(59_000.0).unwrap(),
            "the floor reached 59000/s, 59 % of the 100000/s of LIMITS.md X; 60 % are needed"
        );
        assert!(limit.void(f64::NAN).is_some(), "nothing was measured");
    }

    #[test]
    fn http_floors_are_held_to_more_where_nobody_waits() {
        assert!(http(1).void(14_000.0).is_none());
        assert!(http(64).void(14_000.0).is_some());
    }

    #[test]
    fn durable_floors_are_held_against_their_own_number_of_writers() {
        assert!(durable(1).void(2_000.0).is_none());
        assert!(durable(64).void(2_000.0).is_some());
        assert!(durable(1024).void(94_000.0).is_some());
    }
}
