use std::collections::BTreeSet;

use entia_protocol::{Digest, KindName, KindRecord};

use crate::commit::Change;
use crate::engine::{Table, open_record};
use crate::{Store, StoreError, keys};

/// How many keys one commit removes when a kind goes with its entities.
const REMOVED_KEYS_MAX: usize = 1_000;

/// Kinds and components. These block until they are on disk; one deployment at a time is meant to call them.
impl Store {
    /// Writes a kind, new or changed. Its component has to be there.
    pub fn put_kind(&self, kind: &KindRecord) -> Result<u64, StoreError> {
        let _deploying = self.deploying();
        if !self.components().contains(&kind.component) {
            return Err(StoreError::ComponentMissing {
                component: kind.component,
            });
        }
        self.change_and_wait(Change::PutKind(Box::new(kind.clone())))
    }

    /// Every kind, in the order of the names.
    pub fn kinds(&self) -> Result<Vec<KindRecord>, StoreError> {
        self.engine()
            .view()
            .all(Table::Kinds)
            .map(|entry| {
                let (key, bytes) = entry?;
                Ok(open_record(Table::Kinds, &key, &bytes)?.1)
            })
            .collect()
    }

    /// Removes a kind; one that has entities only together with them.
    ///
    /// The entities go some at a time and the kind goes last, so that a crash on the way leaves a kind with fewer
    /// entities, and removing it again goes on. The caller has stopped the kind: a commit that comes meanwhile is
    /// not refused and may outlive it.
    pub fn remove_kind(&self, kind: &KindName, with_entities: bool) -> Result<u64, StoreError> {
        let _deploying = self.deploying();
        let prefix = keys::in_kind(kind, "");
        loop {
            let states = self.some_keys(Table::States, &prefix)?;
            let idempotency = self.some_keys(Table::Idempotency, &prefix)?;
            if states.is_empty() && idempotency.is_empty() {
                break;
            }
            if !with_entities {
                return Err(StoreError::KindInUse { kind: kind.clone() });
            }
            self.change_and_wait(Change::RemoveKeys {
                states,
                idempotency,
            })?;
        }
        self.change_and_wait(Change::RemoveKind(kind.clone()))
    }

    /// Stores a component and returns its name. It stays until [`Store::remove_unused_components`] finds it unused.
    pub fn put_component(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let _deploying = self.deploying();
        self.components().put(bytes)
    }

    /// Reads a component and checks that it is the one that was stored.
    pub fn component(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.components().read(digest)
    }

    /// Removes the components that no kind names, and returns which.
    ///
    /// Call it when a deployment has ended, not within one: a component that was put and whose kind was not is unused.
    pub fn remove_unused_components(&self) -> Result<Vec<Digest>, StoreError> {
        let _deploying = self.deploying();
        let used: BTreeSet<_> = self.kinds()?.iter().map(|kind| kind.component).collect();
        self.components().retain(&used)
    }

    fn some_keys(&self, table: Table, prefix: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        self.engine()
            .view()
            .keys(table, prefix)
            .take(REMOVED_KEYS_MAX)
            .collect()
    }
}
