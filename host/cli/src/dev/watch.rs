//! The sources of a project, and when they change.
//!
//! Directories are watched and not files: many editors write a new file and rename it. Of a package its own directory is
//! watched, and everything below those of its subdirectories that can have sources: a recursive watch of all of it would
//! follow cargo through `target`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use notify::event::ModifyKind;
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::failure::Failure;

pub(crate) struct Watch {
    watcher: RecommendedWatcher,
    project: PathBuf,
    /// What is watched already, and whether with all below it.
    watched: BTreeMap<PathBuf, RecursiveMode>,
    noted: Arc<Noted>,
}

/// What the watcher's thread has seen since it was last asked.
struct Noted {
    sources: Mutex<Sources>,
    wake: Notify,
}

#[derive(Default)]
struct Sources {
    /// The packages' directories.
    packages: BTreeSet<PathBuf>,
    /// Not a source, wherever it is.
    data_dir: Option<PathBuf>,
    changed: BTreeSet<PathBuf>,
}

impl Watch {
    pub(crate) fn new(project: &Path, data_dir: Option<&Path>) -> anyhow::Result<Self> {
        let project = fs::canonicalize(project)
            .with_context(|| format!("cannot watch {}", project.display()))?;
        let sources = Sources {
            data_dir: data_dir.and_then(|dir| fs::canonicalize(dir).ok()),
            ..Sources::default()
        };
        let noted = Arc::new(Noted {
            sources: Mutex::new(sources),
            wake: Notify::new(),
        });
        let notes = Arc::clone(&noted);
        let watcher = notify::recommended_watcher(move |event| notes.note(event));
        let mut watch = Self {
            watcher: watcher.map_err(not_watched)?,
            project: project.clone(),
            watched: BTreeMap::new(),
            noted,
        };
        watch.also(&BTreeSet::from([project]))?;
        Ok(watch)
    }

    /// Watches these packages, too.
    pub(crate) fn also(&mut self, packages: &BTreeSet<PathBuf>) -> anyhow::Result<()> {
        let canonical = packages.iter().filter_map(|dir| fs::canonicalize(dir).ok());
        self.noted.lock().packages.extend(canonical);
        self.follow()
    }

    /// Waits until a source has changed and then nothing more for a moment: editors and version control write many files.
    ///
    /// Returns the first of what changed, named from the project.
    pub(crate) async fn changed(&mut self) -> anyhow::Result<Vec<String>> {
        self.noted.wake.notified().await;
        let latest = Instant::now() + QUIET_MAX;
        while Instant::now() < latest {
            let quiet = latest.min(Instant::now() + QUIET);
            if timeout_at(quiet, self.noted.wake.notified()).await.is_err() {
                break;
            }
        }
        let changed = std::mem::take(&mut self.noted.lock().changed);
        self.follow()?;
        // Many editors write into a file beside, which is gone by now. If all are gone, that is the change.
        let (there, gone): (Vec<_>, Vec<_>) = changed.iter().partition(|path| path.exists());
        let told = if there.is_empty() { gone } else { there };
        let named = told.into_iter().map(|path| {
            let path = path.strip_prefix(&self.project).unwrap_or(path);
            path.display().to_string()
        });
        Ok(named.collect())
    }

    /// Watches the directories that have come since.
    fn follow(&mut self) -> anyhow::Result<()> {
        let mut wanted = BTreeMap::new();
        let sources = self.noted.lock();
        for package in &sources.packages {
            wanted.insert(package.clone(), RecursiveMode::NonRecursive);
            let entries = fs::read_dir(package).into_iter().flatten();
            let dirs = entries.flatten().map(|entry| entry.path());
            for dir in dirs.filter(|path| path.is_dir() && sources.has(path)) {
                wanted.insert(dir, RecursiveMode::Recursive);
            }
        }
        drop(sources);
        // One that is gone is forgotten, so that it is watched anew should it come back.
        self.watched.retain(|dir, _| wanted.contains_key(dir));
        for (dir, mode) in wanted {
            if self.watched.get(&dir) != Some(&mode) {
                match self.watcher.watch(&dir, mode) {
                    // It was there a moment ago. Its end is a change of its own.
                    Err(error) if matches!(error.kind, ErrorKind::PathNotFound) => continue,
                    watching => watching.map_err(not_watched)?,
                }
                self.watched.insert(dir, mode);
            }
        }
        Ok(())
    }
}

impl Noted {
    fn note(&self, event: notify::Result<Event>) {
        let mut sources = self.lock();
        let changed = match event {
            Ok(event) if event.need_rescan() => true,
            Ok(event) if is_change(event.kind) => {
                let paths = event.paths.into_iter().filter(|path| sources.has(path));
                let paths: Vec<_> = paths.take(PATHS_MAX).collect();
                let room = PATHS_MAX.saturating_sub(sources.changed.len());
                let any = !paths.is_empty();
                sources.changed.extend(paths.into_iter().take(room));
                any
            }
            Ok(_) => false,
            // What was missed is not known; cargo finds out.
            Err(_) => true,
        };
        drop(sources);
        if changed {
            self.wake.notify_one();
        }
    }

    /// Nothing panics while it has the lock.
    fn lock(&self) -> std::sync::MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sources {
    /// Whether a path can be a source, and not what cargo, the node or an editor leaves beside them.
    fn has(&self, path: &Path) -> bool {
        let inside = |dir: &PathBuf| path.starts_with(dir);
        if self.data_dir.as_ref().is_some_and(inside) {
            return false;
        }
        let packages = self.packages.iter();
        let below = packages.filter_map(|package| path.strip_prefix(package).ok());
        // Packages may lie in each other.
        let Some(below) = below.min_by_key(|below| below.as_os_str().len()) else {
            return false;
        };
        let mut names = below.components().filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_string_lossy()),
            _ => None,
        });
        let top = names.clone().next();
        let built = top.is_some_and(|top| {
            let marked = || {
                path.ancestors()
                    .any(|dir| dir.ends_with(&*top) && dir.join(CACHE_TAG).is_file())
            };
            top == "target" || top == "Cargo.lock" || marked()
        });
        !built && !names.any(|name| name.starts_with(['.', '#']) || name.ends_with('~'))
    }
}

/// Reading is not a change, and neither is a new time or owner alone.
fn is_change(kind: EventKind) -> bool {
    !matches!(
        kind,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_))
    )
}

fn not_watched(error: notify::Error) -> anyhow::Error {
    let hint = match error.kind {
        ErrorKind::MaxFilesWatch => "raise the system's limit: sysctl fs.inotify.max_user_watches",
        _ => "check that the project can be read",
    };
    Failure::new(format!("the source cannot be watched: {error}"), hint).into()
}

/// What cargo puts into every directory that it builds in.
const CACHE_TAG: &str = "CACHEDIR.TAG";
/// Nothing changes for so long before a build begins.
const QUIET: Duration = Duration::from_millis(100);
/// Whatever changes goes on changing.
const QUIET_MAX: Duration = Duration::from_secs(2);
/// As many as are told of.
const PATHS_MAX: usize = 100;
