use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};

use crate::doctor::Finding;
use crate::node_command;
use crate::node_options::Tuning;
use crate::output::ago;

/// The system's bounds against those that a node with this tuning has.
pub(crate) fn check(tuning: &Tuning) -> Vec<Finding> {
    let defaults = node_command::defaults();
    let connections_max = tuning.connections_max.unwrap_or(defaults.connections_max);
    let activations_max = tuning.activations_max.unwrap_or(defaults.activations_max);
    let mut findings = vec![open_files(
        getrlimit(Resource::Nofile).current,
        connections_max as u64,
    )];
    let maps = std::fs::read_to_string("/proc/sys/vm/max_map_count");
    // Only Linux has that bound.
    if let Some(maps_max) = maps.ok().and_then(|text| text.trim().parse().ok()) {
        findings.push(mappings(maps_max, activations_max as u64));
    }
    let program = std::env::current_exe().and_then(|program| program.metadata()?.modified());
    findings.push(clock(SystemTime::now(), program.unwrap_or(UNIX_EPOCH)));
    findings
}

/// None: there is no limit.
fn open_files(files_max: Option<u64>, connections_max: u64) -> Finding {
    let wanted = connections_max + FILES_BESIDES;
    match files_max {
        Some(files_max) if files_max < wanted => Finding::warn(
            "open files",
            format!(
                "{files_max} files may be open; a node's {connections_max} connections need {wanted}"
            ),
            format!(
                "`ulimit -n {wanted}` before the node starts, or a lower tuning.connections_max"
            ),
        ),
        Some(files_max) => Finding::ok("open files", format!("{files_max} may be open")),
        None => Finding::ok("open files", "no limit"),
    }
}

fn mappings(maps_max: u64, activations_max: u64) -> Finding {
    let room = maps_max.saturating_sub(MAPPINGS_BESIDES) / MAPPINGS_PER_ENTITY;
    let message = format!("vm.max_map_count {maps_max} has room for {room} live entities");
    if room >= activations_max {
        return Finding::ok(
            "mappings",
            format!("{message}; the node's bound is {activations_max}"),
        );
    }
    let wanted = activations_max * MAPPINGS_PER_ENTITY + MAPPINGS_BESIDES;
    Finding::warn(
        "mappings",
        format!("{message}, and the node's bound is {activations_max}"),
        format!("sysctl -w vm.max_map_count={wanted}, or a lower tuning.activations_max"),
    )
}

/// Deadlines and the memory of idempotency keys go by the clock.
fn clock(now: SystemTime, program: SystemTime) -> Finding {
    let ms = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    };
    if now + CLOCK_SLACK < program {
        let next = "set the clock, and let it be kept by NTP";
        return Finding::fail("clock", "it is earlier than this program was made", next);
    }
    Finding::ok(
        "clock",
        format!("plausible: this program was made {}", ago(ms(program))),
    )
}

/// The store's files, standard streams and the like.
const FILES_BESIDES: u64 = 1_000;
/// Measured: 65,530 mappings hold about 30,000 live entities.
const MAPPINGS_PER_ENTITY: u64 = 2;
/// The program itself, its threads' stacks and the store's files.
const MAPPINGS_BESIDES: u64 = 5_000;
/// A file's time may come from another machine's clock.
const CLOCK_SLACK: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn bounds_below_what_the_node_may_use_are_warnings_with_the_number_to_set() {
        let finding = open_files(Some(1_024), 10_000);
        assert_eq!(finding.status, Status::Warn);
        assert!(finding.next.unwrap().contains("ulimit -n 11000"));
        assert_eq!(open_files(Some(20_000), 10_000).status, Status::Ok);
        assert_eq!(open_files(None, 10_000).status, Status::Ok);

        assert_eq!(mappings(65_530, 10_000).status, Status::Ok);
        assert!(mappings(65_530, 10_000).message.contains("30265 live"));
        let finding = mappings(65_530, 100_000);
        assert_eq!(finding.status, Status::Warn);
        assert!(finding.next.unwrap().contains("=205000"));
        assert_eq!(mappings(205_000, 100_000).status, Status::Ok);
    }

    #[test]
    fn a_clock_before_the_program_fails() {
        let program = UNIX_EPOCH + CLOCK_SLACK * 1_000;
        assert_eq!(clock(program, program).status, Status::Ok);
        assert_eq!(clock(program - CLOCK_SLACK, program).status, Status::Ok);
        assert_eq!(clock(UNIX_EPOCH, program).status, Status::Fail);
    }
}
