//! `entia-sim mutants`: a simulator that cannot fail proves nothing.

use std::sync::Arc;

use clap::Args;
use entia_protocol::cluster::Mutant;
use entia_sim::plan::{Plan, Profile};
use entia_sim::run::run;

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
pub(crate) fn run_each(options: &Options) -> bool {
    let threads = report::threads(options.threads);
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        if options.mutant.is_some_and(|only| only != mutant) {
            continue;
        }
        match notice(mutant, options, threads) {
            Some(noticed) => println!("{:<20} {noticed}", format!("{mutant:?}")),
            None => {
                let runs = options.seeds;
                println!("{:<20} NOT NOTICED in {runs} runs", format!("{mutant:?}"));
                missed.push(mutant);
            }
        }
    }
    if !missed.is_empty() {
        println!("not noticed: {missed:?}");
    }
    missed.is_empty()
}

/// The first run that breaks a rule without this one, and breaks none with it.
fn notice(mutant: Mutant, options: &Options, threads: usize) -> Option<String> {
    let mut first = 0;
    while first < options.seeds {
        let plan = |number: usize| plan(mutant, options.from + (first + number) as u64);
        let sum = report::run_all(options.seeds - first, threads, false, &plan);
        for (number, found) in &sum.broken {
            let mut whole = plan(*number);
            Arc::make_mut(&mut whole.settings).mutant = None;
            let profile = whole.profile;
            if let Some(violation) = &found.violation
                && run(whole).violation.is_none()
            {
                let (invariant, seed) = (violation.invariant, found.seed);
                let runs = first + number + 1;
                return Some(format!(
                    "noticed by {invariant:<6} seed {seed} {profile}, after {runs} runs"
                ));
            }
        }
        // What was found breaks a rule anyway.
        let (last, _) = sum.broken.last()?;
        first += last + 1;
    }
    None
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
