//! `entia-sim sim`.

use clap::Args;
use entia_sim::plan::{Plan, Profile};
use entia_sim::shrink;

use crate::{Changes, profile, report};

/// The most runs that shrinking takes.
const SHRINK_RUNS: usize = 150;

/// Which seeds.
#[derive(Args)]
pub(crate) struct Options {
    /// The first.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many.
    #[arg(long, default_value_t = 400)]
    seeds: usize,
    /// What kind of trouble; all kinds in turns if it is not said.
    #[arg(long, value_parser = profile)]
    profile: Option<Profile>,
    /// On so many threads; as many as there are processors if it is not said.
    #[arg(long)]
    threads: Option<usize>,
    /// Go on after a violation, and list them all.
    #[arg(long)]
    goes_on: bool,
    #[command(flatten)]
    changes: Changes,
}

/// Whether no rule was broken.
pub(crate) fn run(options: &Options) -> bool {
    let plan = |number: usize| options.plan(number);
    let threads = report::threads(options.threads);
    let mut sum = report::run_all(options.seeds, threads, options.goes_on, &plan);
    sum.print();
    for (number, found) in &sum.broken {
        if let Some(violation) = &found.violation {
            let (seed, profile) = (found.seed, plan(*number).profile);
            println!("seed {seed} {profile}: {violation}");
        }
    }
    if sum.broken.is_empty() {
        return true;
    }
    let (number, first) = sum.broken.swap_remove(0);
    let whole = plan(number);
    let shrunk = shrink::shrink(&whole, first, SHRINK_RUNS);
    let replay = format!(
        "cargo xtask replay --seed {} --profile {} --keep {}{}",
        whole.seed,
        whole.profile,
        report::kept(&shrunk.kept),
        options.changes.words()
    );
    report::print_shrunk(&shrunk, &replay);
    false
}

impl Options {
    fn plan(&self, number: usize) -> Plan {
        let seed = self.from + number as u64;
        let turn = Profile::ALL[number % Profile::ALL.len()];
        let mut plan = self.profile.unwrap_or(turn).plan(seed);
        self.changes.apply(&mut plan);
        plan
    }
}
