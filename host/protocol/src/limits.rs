use serde::{Deserialize, Serialize};

/// What one entity of a kind may use. Part of the kind, set at deploy; the defaults suit most entities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Time that one export may run, in milliseconds: `activate`, `handle` and `snapshot` each. It is elapsed time, measured in
    /// ticks of 10 ms and rounded up; a guest that waits for nothing has the processor for about as long.
    pub cpu_ms_max: u64,
    /// Linear memory, in bytes.
    pub memory_bytes_max: u64,
    /// Elements of all tables together.
    pub table_elements_max: u64,
    /// A call's arguments, its result, or a rejection's data, in bytes each.
    pub payload_bytes_max: u64,
    /// An entity's stored state, in bytes.
    pub state_bytes_max: u64,
    /// Text of all log lines of one turn, in bytes; what is over it is counted, not kept.
    pub log_bytes_max: u64,
    /// Calls of the contract's own host functions in one run of an export. WASI calls are bounded by time alone.
    pub host_calls_max: u64,
    /// Calls that wait for one entity; one more is answered `overloaded`.
    pub mailbox_calls_max: u64,
}

impl Limits {
    /// The bounds within which an operator may set a kind's limits, as (name, value, lowest, highest).
    pub fn ranges(&self) -> [(&'static str, u64, u64, u64); 8] {
        const MIB: u64 = 1 << 20;
        [
            ("cpu_ms_max", self.cpu_ms_max, 10, 60_000),
            (
                "memory_bytes_max",
                self.memory_bytes_max,
                2 * MIB,
                1024 * MIB,
            ),
            (
                "table_elements_max",
                self.table_elements_max,
                100,
                1_000_000,
            ),
            ("payload_bytes_max", self.payload_bytes_max, 1024, 64 * MIB),
            ("state_bytes_max", self.state_bytes_max, 1024, 64 * MIB),
            ("log_bytes_max", self.log_bytes_max, 0, MIB),
            ("host_calls_max", self.host_calls_max, 100, 10_000_000),
            ("mailbox_calls_max", self.mailbox_calls_max, 1, 100_000),
        ]
    }

    /// Refuses values out of range, naming the limit.
    pub fn check(&self) -> Result<(), String> {
        for (name, value, lowest, highest) in self.ranges() {
            if value < lowest || value > highest {
                return Err(format!(
                    "{name} is {value}; it has to be from {lowest} to {highest}"
                ));
            }
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_ms_max: 100,
            memory_bytes_max: 64 << 20,
            table_elements_max: 20_000,
            payload_bytes_max: 1 << 20,
            state_bytes_max: 1 << 20,
            log_bytes_max: 64 << 10,
            host_calls_max: 100_000,
            mailbox_calls_max: 1_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_values_out_of_range_are_named() {
        assert_eq!(Limits::default().check(), Ok(()));
        let limits = Limits {
            cpu_ms_max: 0,
            ..Limits::default()
        };
        assert_eq!(
            limits.check().unwrap_err(),
            "cpu_ms_max is 0; it has to be from 10 to 60000"
        );
    }
}
