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
    ///
    /// What it replaces becomes the kind's previous record in the same commit, if the two would run differently: one that
    /// only repeats a deployment does not take away what there is to go back to.
    pub fn put_kind(&self, kind: &KindRecord) -> Result<u64, StoreError> {
        let _deploying = self.deploying();
        if !self.components().contains(&kind.component) {
            return Err(StoreError::ComponentMissing {
                component: kind.component,
            });
        }
        let key = kind.name.as_str().as_bytes();
        let replaced = self
            .engine()
            .view()
            .record::<KindRecord>(Table::Kinds, key)?;
        let previous = replaced
            .map(|(_, replaced)| replaced)
            .filter(|replaced| runs_differently(replaced, kind));
        self.change_and_wait(Change::PutKind {
            kind: Box::new(kind.clone()),
            previous: previous.map(Box::new),
        })
    }

    /// Every kind, in the order of the names.
    pub fn kinds(&self) -> Result<Vec<KindRecord>, StoreError> {
        self.kinds_in(Table::Kinds)
    }

    /// What the kind was before it last changed; `None` if it never did, or is not there.
    pub fn previous_kind(&self, name: &KindName) -> Result<Option<KindRecord>, StoreError> {
        let key = name.as_str().as_bytes();
        let previous = self.engine().view().record(Table::KindsPrevious, key)?;
        Ok(previous.map(|(_, kind)| kind))
    }

    /// Removes a kind; one that has entities only together with them.
    ///
    /// The entities go some at a time and the kind goes last, so that a crash on the way leaves a kind with fewer
    /// entities, and removing it again goes on. The caller has stopped the kind: a commit that comes meanwhile is
    /// not refused and may outlive it.
    ///
    /// The entities' rows in the index of entities to wake stay, see [`Store::wakes`].
    pub fn remove_kind(&self, kind: &KindName, with_entities: bool) -> Result<u64, StoreError> {
        let _deploying = self.deploying();
        let prefix = keys::in_kind(kind, "");
        loop {
            let keys = self.some_keys(&prefix)?;
            if keys.is_empty() {
                break;
            }
            if !with_entities {
                return Err(StoreError::KindInUse { kind: kind.clone() });
            }
            self.change_and_wait(Change::RemoveKeys(keys))?;
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

    /// Removes the components that no kind names, nor the previous record of one, and returns which.
    ///
    /// Call it when a deployment has ended, not within one: a component that was put and whose kind was not is unused.
    pub fn remove_unused_components(&self) -> Result<Vec<Digest>, StoreError> {
        let _deploying = self.deploying();
        let mut kinds = self.kinds()?;
        kinds.append(&mut self.kinds_in(Table::KindsPrevious)?);
        let used: BTreeSet<_> = kinds.iter().map(|kind| kind.component).collect();
        self.components().retain(&used)
    }

    fn kinds_in(&self, table: Table) -> Result<Vec<KindRecord>, StoreError> {
        self.engine()
            .view()
            .all(table)
            .map(|entry| {
                let (key, bytes) = entry?;
                Ok(open_record(table, &key, &bytes)?.1)
            })
            .collect()
    }

    /// Whether anything is stored of any entity of a kind.
    pub fn kind_in_use(&self, kind: &KindName) -> Result<bool, StoreError> {
        Ok(!self.some_keys(&keys::in_kind(kind, ""))?.is_empty())
    }

    /// Keys of a kind's entities. Timers and messages come first: what a crash leaves does nothing by itself.
    fn some_keys(&self, prefix: &[u8]) -> Result<Vec<(Table, Vec<u8>)>, StoreError> {
        let view = self.engine().view();
        Table::OF_AN_ENTITY
            .into_iter()
            .chain([Table::States])
            .flat_map(|table| view.keys(table, prefix).map(move |key| Ok((table, key?))))
            .take(REMOVED_KEYS_MAX)
            .collect()
    }
}

/// Whether going back from one to the other changes what entities do.
fn runs_differently(one: &KindRecord, other: &KindRecord) -> bool {
    one.component != other.component || one.limits != other.limits || one.config != other.config
}
