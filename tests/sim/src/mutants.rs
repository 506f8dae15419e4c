//! `entia-sim mutants`: a simulator that cannot fail proves nothing.

use std::sync::Arc;

use clap::Args;
use entia_protocol::cluster::Mutant;
use entia_sim::plan::{Plan, Profile};
use entia_sim::run::run as run_one;

use crate::{mutant, report};

/// Which rules, and how long to look.
#[derive(Args)]
pub(crate) struct Options {
    /// Only this one.
    #[arg(long, value_parser = mutant)]
    mutant: Option<Mutant>,
    /// The most seeds for each.
    #[arg(long, default_value_t = 1_000)]
    seeds: usize,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// On so many threads.
    #[arg(long)]
    threads: Option<usize>,
}

/// Whether each rule's absence was noticed.
pub(crate) fn run(options: &Options) -> bool {
    let threads = report::threads(options.threads);
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        if options.mutant.is_some_and(|only| only != mutant) {
            continue;
        }
        let plan = |number: usize| plan(mutant, options.from + number as u64);
        let sum = report::run_all(options.seeds, threads, true, &plan);
        // A seed that fails with all rules says nothing about this one.
        let noticed = sum.broken.iter().find(|(number, _)| {
            let mut whole = plan(*number);
            Arc::make_mut(&mut whole.settings).mutant = None;
            run_one(whole).violation.is_none()
        });
        match noticed {
            Some((number, found)) => {
                let violation = found.violation.as_ref();
                let invariant = violation.map_or("?", |violation| violation.invariant);
                let profile = plan(*number).profile;
                println!(
                    "{:<20} noticed by {invariant:<6} seed {} {profile}, after {} runs",
                    format!("{mutant:?}"),
                    found.seed,
                    sum.runs
                );
            }
            None => {
                println!(
                    "{:<20} NOT NOTICED in {} runs",
                    format!("{mutant:?}"),
                    sum.runs
                );
                missed.push(mutant);
            }
        }
    }
    if !missed.is_empty() {
        println!("not noticed: {missed:?}");
    }
    missed.is_empty()
}

/// The profiles in which a rule's absence shows, in turns.
fn plan(mutant: Mutant, seed: u64) -> Plan {
    let profiles: &[Profile] = match mutant {
        Mutant::NoDriftMargin => &[Profile::Default, Profile::Network],
        Mutant::NoSeal | Mutant::UseBeforeAdoption | Mutant::ForgetSources => {
            &[Profile::Crash, Profile::Disk, Profile::Network]
        }
        Mutant::PartialInstall | Mutant::NoLaneDrain | Mutant::RunAfterAck => {
            &[Profile::Scale, Profile::Network, Profile::Default]
        }
        _ => &[
            Profile::Network,
            Profile::Default,
            Profile::Crash,
            Profile::Scale,
        ],
    };
    let turn = usize::try_from(seed).unwrap_or(0) % profiles.len();
    let mut plan = profiles[turn].plan(seed);
    Arc::make_mut(&mut plan.settings).mutant = Some(mutant);
    plan
}
