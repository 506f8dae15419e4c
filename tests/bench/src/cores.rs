use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Which core serves and which one makes the load.
///
/// One each, however many there are: LIMITS.md was measured so, and two generators on ten cores compare with nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cores {
    server: usize,
    load: usize,
}

impl Cores {
    /// Takes the first two cores that this process may use.
    pub(crate) fn of_this_machine() -> Result<Self> {
        let allowed = sched_getaffinity(None).context("which cores there are")?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let server = cores.next().context("there is no core")?;
        let load = cores.next().unwrap_or(server);
        Ok(Self { server, load })
    }

    /// Moves this thread, and the threads and processes that it starts from now on, to the serving core.
    pub(crate) fn pin_server(self) -> Result<()> {
        pin(self.server)
    }

    /// Moves this thread to the core of the load.
    pub(crate) fn pin_load(self) -> Result<()> {
        pin(self.load)
    }

    /// Whether load and server have a core each.
    pub(crate) fn apart(self) -> bool {
        self.server != self.load
    }

    pub(crate) fn describe(self) -> String {
        let Self { server, load } = self;
        if self.apart() {
            format!("what is measured runs on core {server}, the load on core {load}")
        } else {
            format!(
                "there is only core {server}: the load takes its time from what it measures, on both sides"
            )
        }
    }
}

fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("moving to core {core}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_core_is_said() {
        let (server, load) = (3, 3);
        assert!(Cores { server, load }.describe().contains("only core 3"));
        assert!(Cores { server, load: 4 }.describe().contains("on core 4"));
    }
}
