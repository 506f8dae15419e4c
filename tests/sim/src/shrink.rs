//! The fewest faults that still break a rule.

use crate::plan::Plan;
use crate::run::{Report, run};

/// A plan with some of its faults, and what becomes of it.
#[derive(Debug)]
pub struct Shrunk {
    /// The plan with these faults only.
    pub plan: Plan,
    /// The numbers of the faults in the whole plan, from 0.
    pub kept: Vec<usize>,
    /// What becomes of it.
    pub report: Report,
}

/// Leaves out faults, halves first, then single ones, as long as some rule is broken. `report` is the whole plan's.
pub fn shrink(plan: &Plan, report: Report, runs_max: usize) -> Shrunk {
    let mut kept: Vec<usize> = (0..plan.faults.len()).collect();
    let mut report = report;
    let mut runs = 0;
    let mut size = kept.len().div_ceil(2);
    while size > 0 && runs < runs_max {
        let mut from = 0;
        let mut left_out = false;
        while from < kept.len() && runs < runs_max {
            let mut fewer = kept.clone();
            fewer.drain(from..(from + size).min(kept.len()));
            let found = run(with_faults(plan, &fewer));
            runs += 1;
            if found.violation.is_some() {
                kept = fewer;
                report = found;
                left_out = true;
            } else {
                from += size;
            }
        }
        // Once more with single ones, until none of them can be left out.
        if size > 1 || !left_out {
            size /= 2;
        }
    }
    Shrunk {
        plan: with_faults(plan, &kept),
        kept,
        report,
    }
}

/// The plan with these of its faults.
pub fn with_faults(plan: &Plan, kept: &[usize]) -> Plan {
    let faults = kept
        .iter()
        .filter_map(|&at| plan.faults.get(at).copied())
        .collect();
    Plan {
        faults,
        ..plan.clone()
    }
}
