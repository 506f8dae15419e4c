/// How a store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// Open although acknowledged commits are lost, or although that cannot be known. Start with this once, not always:
    /// it resets the watermark to what is there.
    pub accept_loss: bool,
    /// The engine's cache of blocks read, in bytes.
    pub cache_bytes: u64,
    /// All journals together, in bytes, at least 64 MiB. Opening reads them, so this bounds the time of a start.
    pub journal_bytes_max: u64,
    /// Commits that wait for the committer; a further one blocks its caller.
    pub queue_commits_max: usize,
    /// The bytes of the commits that wait; a commit that would exceed them blocks its caller, unless none waits.
    pub queue_bytes_max: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            accept_loss: false,
            cache_bytes: 64 << 20,
            journal_bytes_max: 128 << 20,
            queue_commits_max: 4_096,
            queue_bytes_max: 64 << 20,
        }
    }
}
