//! What Linux says of this process. Elsewhere nothing is said.

/// Memory that is in RAM, in bytes.
pub(super) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Open files and sockets.
pub(super) fn open_descriptors() -> Option<u64> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    // Without the one that this look takes.
    Some(open.saturating_sub(1))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_says_how_much_memory_and_how_many_files() {
        assert!(resident_bytes().unwrap() > 100 << 10);
        assert!(open_descriptors().unwrap() >= 2);
    }
}
