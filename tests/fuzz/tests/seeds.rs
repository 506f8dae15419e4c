//! Every fuzz target over numbered inputs: the same in every run, so that what fails here fails again.
//!
//! `ENTIA_FUZZ_SEED` is the first number, `ENTIA_FUZZ_CASES` how many: one case is seen again, or millions are tried over
//! night. `components` needs the guests that `cargo xtask build-entities` builds; `cargo xtask test` does it first.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

/// Not a test of its own: the compiler of `components` is this program again, told to run this.
#[test]
fn compile_in_a_child_process() {
    entia_fuzz::compile_if_asked();
}

#[test]
fn conversion_gives_back_what_it_took() {
    run("conversion", entia_fuzz::conversion, 40_000, 200);
}

#[test]
fn records_open_as_they_were_sealed_or_are_refused() {
    run("records", entia_fuzz::records, 60_000, 400);
}

#[test]
fn recovery_has_all_that_was_acknowledged_or_names_the_damage() {
    run("recovery", entia_fuzz::recovery, 150, 64);
}

#[test]
fn components_are_refused_by_name_or_describe_themselves() {
    run("components", entia_fuzz::components, 60, 64);
}

/// Runs a target on numbered inputs of at most so many bytes.
fn run(name: &str, target: fn(&[u8]), cases: u64, bytes_max: usize) {
    let first = number("ENTIA_FUZZ_SEED").unwrap_or(0);
    let cases = number("ENTIA_FUZZ_CASES").unwrap_or(cases);
    let began = Instant::now();
    let out = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let running = File::create(out.join(format!("{name}-running"))).unwrap();
    for seed in first..first.saturating_add(cases) {
        let input = input(seed, bytes_max);
        // What aborts the process leaves its seed here.
        running
            .write_all_at(format!("{seed:>20}\n").as_bytes(), 0)
            .unwrap();
        if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| target(&input))) {
            let path = out.join(format!("{name}-{seed}"));
            std::fs::write(&path, &input).unwrap();
            eprintln!(
                "{name} fails with seed {seed}. Again: ENTIA_FUZZ_SEED={seed} ENTIA_FUZZ_CASES=1 cargo test --workspace \
                 --profile ci --test seeds -- --nocapture {name}\nThe input, for cargo-fuzz: {}",
                path.display()
            );
            panic::resume_unwind(panic);
        }
    }
    println!(
        "{name}: {cases} cases in {} ms",
        began.elapsed().as_millis()
    );
}

fn input(seed: u64, bytes_max: usize) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut input = vec![0; random.random_range(0..=bytes_max)];
    random.fill_bytes(&mut input);
    input
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}
