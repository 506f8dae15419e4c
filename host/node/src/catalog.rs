use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use entia_api::convert::MethodSchema;
use entia_protocol::{CallError, KindName, KindRecord};
use entia_wasm::{Component, GuestConfig};

use crate::observe::{KindCounters, Observed};

/// The kinds that this node runs. The one place that knows which version of a kind is current.
#[derive(Debug)]
pub(crate) struct Catalog {
    kinds: RwLock<BTreeMap<KindName, Arc<Kind>>>,
    observed: Arc<Observed>,
}

/// A deployed kind, across its versions.
#[derive(Debug)]
pub(crate) struct Kind {
    current: RwLock<Arc<KindVersion>>,
    /// No new calls: the kind is being deleted or rolled back.
    closed: AtomicBool,
    /// At hand for every call.
    pub(crate) counters: Arc<KindCounters>,
}

/// One version of a kind, ready to run.
#[derive(Debug)]
pub(crate) struct KindVersion {
    pub(crate) record: KindRecord,
    pub(crate) component: Component,
    pub(crate) config: GuestConfig,
    /// By method.
    pub(crate) schemas: HashMap<String, MethodSchema>,
}

impl Catalog {
    /// An empty one.
    pub(crate) fn new(observed: Arc<Observed>) -> Self {
        Self {
            kinds: RwLock::default(),
            observed,
        }
    }

    /// The kind of that name.
    pub(crate) fn find(&self, name: &KindName) -> Result<Arc<Kind>, CallError> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds
            .get(name)
            .cloned()
            .ok_or_else(|| CallError::UnknownKind {
                kind: name.to_string(),
                known: kinds
                    .keys()
                    .take(NAMES_SHOWN_MAX)
                    .map(ToString::to_string)
                    .collect(),
            })
    }

    /// All kinds, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Kind>> {
        self.kinds
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Makes a version the current one of its kind.
    pub(crate) fn switch(&self, version: KindVersion) -> Arc<KindVersion> {
        let version = Arc::new(version);
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        match kinds.get(&version.record.name) {
            Some(kind) => {
                let mut current = kind.current.write().unwrap_or_else(PoisonError::into_inner);
                *current = Arc::clone(&version);
            }
            None => {
                let kind = Kind {
                    current: RwLock::new(Arc::clone(&version)),
                    closed: AtomicBool::new(false),
                    counters: self.observed.kind(&version.record.name),
                };
                kinds.insert(version.record.name.clone(), Arc::new(kind));
            }
        }
        version
    }

    /// Forgets a kind.
    pub(crate) fn remove(&self, name: &KindName) {
        self.kinds
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        self.observed.forget_kind(name);
    }
}

impl KindVersion {
    /// Whether a method changes nothing. What does not exist changes nothing either.
    pub(crate) fn is_query(&self, method: &str) -> bool {
        self.record
            .description
            .method(method)
            .is_none_or(|method| method.query)
    }
}

impl Kind {
    pub(crate) fn current(&self) -> Arc<KindVersion> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn name(&self) -> KindName {
        self.current().record.name.clone()
    }

    pub(crate) fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

/// Kinds that an error names.
const NAMES_SHOWN_MAX: usize = 20;
