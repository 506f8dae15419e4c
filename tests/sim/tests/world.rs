//! What has to be true of the simulator itself.

use std::time::Duration;

use entia_protocol::cluster::NodeId;
use entia_sim::faults::{FaultKind, Who};
use entia_sim::plan::{Plan, Profile};
use entia_sim::run::run;
use entia_sim::shrink;
use entia_sim::story::{Story, kill};

#[test]
fn one_plan_is_one_run_to_the_last_event() {
    for profile in Profile::ALL {
        let first = run(profile.plan(7));
        let second = run(profile.plan(7));
        assert!(first.steps > 100, "{profile}: {first:?}");
        assert_eq!(first.trace_hash, second.trace_hash, "{profile}");
        assert_eq!(first.steps, second.steps, "{profile}");
        assert_eq!(first.violation, second.violation, "{profile}");
    }
}

#[test]
fn another_seed_is_another_run() {
    let first = run(Profile::Default.plan(1));
    let second = run(Profile::Default.plan(2));
    assert_ne!(first.trace_hash, second.trace_hash);
}

#[test]
fn reading_the_trace_changes_nothing() {
    let plan = Profile::Crash.plan(3);
    let silent = run(plan.clone());
    let told = entia_sim::run::Simulation::new(plan).traced_from(0).run();
    assert_eq!(silent.trace_hash, told.trace_hash);
    assert!(told.lines.len() > 100);
}

#[test]
fn a_fault_that_does_not_strike_changes_nothing_before_it() {
    let strikes = Duration::from_secs(14);
    let calm = Story::new(5).traced().run();
    let late = Story::new(5)
        .at(strikes, kill(Who::Node(NodeId(1))))
        .traced()
        .run();
    let struck = late.lines.iter().position(|line| line.contains("FAULT"));
    let struck = struck.expect("it strikes");
    assert!(struck > 1_000);
    assert_eq!(calm.lines[..struck], late.lines[..struck]);
    assert_ne!(calm.trace_hash, late.trace_hash);
}

#[test]
fn a_trigger_strikes_once_and_when_it_sees_what_it_waits_for() {
    let report = Story::new(6)
        .when(|world, _| world.true_time > 1_000_000_000)
        .then(FaultKind::Elect)
        .traced()
        .run();
    let elected = report
        .lines
        .iter()
        .filter(|line| line.contains("is elected in term"));
    assert_eq!(
        elected.count(),
        2,
        "the first leader and the one that was asked for"
    );
}

#[test]
fn plans_keep_what_shrinking_keeps() {
    let plan: Plan = Profile::Network.plan(11);
    let kept = shrink::with_faults(&plan, &[0]);
    assert_eq!(kept.faults.len(), plan.faults.len().min(1));
    assert_eq!(kept.faults.first(), plan.faults.first());
}
