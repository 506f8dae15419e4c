use std::fs;
use std::time::Duration;

/// What a process uses, over time.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Sample>);

#[derive(Debug, Clone, Copy)]
struct Sample {
    pid: u32,
    at: Duration,
    resident_bytes: u64,
    descriptors: usize,
}

/// From this length on a run shows whether something grows.
const LONG: Duration = Duration::from_secs(600);
/// What the node may keep in memory under this load, in bytes.
const RESIDENT_BYTES_MAX: u64 = 2 << 30;
/// Descriptors that the node may have: its files and the load's connections.
const DESCRIPTORS_MAX: usize = 1_000;

impl Samples {
    pub(crate) fn take(&mut self, pid: u32, at: Duration) {
        // The process may have just been killed.
        let (Some(resident_bytes), Some(descriptors)) = (resident_bytes(pid), descriptors(pid))
        else {
            return;
        };
        self.0.push(Sample {
            pid,
            at,
            resident_bytes,
            descriptors,
        });
    }

    /// # Panics
    /// If the process used too much, or over a long run more and more.
    pub(crate) fn check(&self, time: Duration) -> String {
        let most = |of: &dyn Fn(&Sample) -> u64, samples: &[Sample]| {
            samples.iter().map(of).max().unwrap_or_default()
        };
        let resident = |sample: &Sample| sample.resident_bytes;
        let descriptors = |sample: &Sample| sample.descriptors as u64;
        let (memory, files) = (most(&resident, &self.0), most(&descriptors, &self.0));
        let text = format!(
            "at most {} MiB resident and {files} descriptors",
            memory >> 20
        );
        assert!(memory <= RESIDENT_BYTES_MAX, "{text}");
        assert!(files <= DESCRIPTORS_MAX as u64, "{text}");
        if time >= LONG {
            // The middle third has every kind of load already; the last must not need more.
            let third = |n: u32| {
                let (from, to) = (time / 3 * n, time / 3 * (n + 1));
                let within = |sample: &&Sample| (from..to).contains(&sample.at);
                self.0.iter().filter(within).copied().collect::<Vec<_>>()
            };
            let (middle, last) = (third(1), third(2));
            for (what, of, slack) in [
                ("memory", &resident as &dyn Fn(&Sample) -> u64, 64 << 20),
                ("descriptors", &descriptors, 32),
            ] {
                let (before, after) = (most(of, &middle), most(of, &last));
                assert!(
                    after <= before + before / 5 + slack,
                    "{what} grew from {before} to {after}"
                );
            }
        }
        let pids: std::collections::BTreeSet<_> = self.0.iter().map(|sample| sample.pid).collect();
        format!("{text} in {} processes", pids.len())
    }
}

/// The resident memory of a process, in bytes.
fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

fn descriptors(pid: u32) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}
