//! What is known of one entity.

use std::collections::{BTreeMap, BTreeSet};

use entia_protocol::Durability;

use super::{Broken, Gap, Span, Turn};
use crate::executor::Place;

/// What clients know of one entity.
#[derive(Debug)]
pub(super) struct History {
    durability: Durability,
    /// By name: the first serial in the low half, and what was drawn where the list began in the high half.
    lives: BTreeMap<u64, Life>,
    /// (older, newer): something of the newer was asked for when the older had answered.
    order: BTreeSet<(u64, u64)>,
    /// How many deletions there may have been.
    deletions: usize,
    /// Where calls went that were not repeated, by lane and number: (life, position).
    lanes: BTreeMap<u64, BTreeMap<u64, (u64, u64)>>,
}

/// A list, from its first serial to its deletion or loss.
#[derive(Debug)]
struct Life {
    /// What is known to be where, by position minus 1; 0 is not known.
    slots: Vec<u64>,
    /// When somebody knew first that the list is that long, by position minus 1.
    reached: Vec<u64>,
    /// Where what is.
    places: BTreeMap<u64, u64>,
    /// The first answer out of it.
    first_answer: u64,
    /// The last question that was answered out of it.
    last_issue: u64,
    /// How long it was when it was deleted, and when that was known.
    ended: Option<(u64, u64)>,
}

impl History {
    pub(super) fn new(durability: Durability) -> Self {
        Self {
            durability,
            lives: BTreeMap::new(),
            order: BTreeSet::new(),
            deletions: 0,
            lanes: BTreeMap::new(),
        }
    }

    /// Whether this may be where leases cannot be believed.
    pub(super) fn forgives(&self, invariant: &str) -> bool {
        invariant == "I8" || self.durability == Durability::Memory
    }

    /// Whether nothing that is known of it has to be true after leases could not be believed.
    pub(super) fn tainted(&self) -> bool {
        self.durability == Durability::Memory || self.deletions > 0
    }

    pub(super) fn deleting(&mut self) {
        self.deletions += 1;
    }

    pub(super) fn appended(
        &mut self,
        serial: u64,
        place: &Place,
        span: Span,
        losses: &mut Vec<Gap>,
    ) -> Result<(), Broken> {
        self.touch(place.life, span, losses)?;
        let life = self.life(place.life);
        life.put(place.position, serial)?;
        if place.position > 1 {
            life.put(place.position - 1, place.previous)?;
        }
        life.known_before(place.position, span)?;
        life.reach(place.position, span.answered);
        Ok(())
    }

    pub(super) fn listed(
        &mut self,
        name: u64,
        serials: &[u64],
        span: Span,
        losses: &mut Vec<Gap>,
    ) -> Result<(), Broken> {
        if serials.is_empty() {
            return self.empty(span, losses);
        }
        self.touch(name, span, losses)?;
        let life = self.life(name);
        let length = serials.len() as u64;
        for (position, &serial) in (1..).zip(serials) {
            life.put(position, serial)?;
        }
        life.known_before(length + 1, span)?;
        life.reach(length, span.answered);
        Ok(())
    }

    pub(super) fn forgotten(&mut self, name: u64, length: u64, span: Span) -> Result<(), Broken> {
        if name == 0 {
            return self.empty(span, &mut Vec::new());
        }
        self.touch(name, span, &mut Vec::new())?;
        let life = self.life(name);
        life.known_before(length + 1, span)?;
        let at = life.ended.map_or(u64::MAX, |(_, at)| at);
        life.ended = Some((length, at.min(span.answered)));
        if life.slots.len() as u64 > length {
            let slots = &life.slots;
            return Err((
                "I6",
                format!("deleted with {length} serials, yet there was {slots:?}"),
            ));
        }
        Ok(())
    }

    pub(super) fn ordered(&mut self, turn: Turn, place: &Place) -> Result<(), Broken> {
        let lane = self.lanes.entry(turn.lane).or_default();
        let mine = (place.life, place.position);
        let before = lane.range(..turn.number).next_back();
        let after = lane.range(turn.number + 1..).next();
        let wrong =
            |first: (u64, u64), second: (u64, u64)| first.0 == second.0 && first.1 >= second.1;
        if let Some((&number, &other)) = before
            && wrong(other, mine)
        {
            return Err((
                "I8",
                format!(
                    "call {} of {number} of a caller went to {mine:?}, {other:?}",
                    turn.number
                ),
            ));
        }
        if let Some((&number, &other)) = after
            && wrong(mine, other)
        {
            return Err((
                "I8",
                format!(
                    "call {} of a caller went to {mine:?}, {number} to {other:?}",
                    turn.number
                ),
            ));
        }
        lane.insert(turn.number, mine);
        Ok(())
    }

    /// There was nothing.
    fn empty(&mut self, span: Span, losses: &mut Vec<Gap>) -> Result<(), Broken> {
        let known = self
            .lives
            .values()
            .filter(|life| life.first_answer < span.issued)
            .map(|life| life.last_issue)
            .max();
        let Some(since) = known.filter(|_| self.deletions == 0) else {
            return Ok(());
        };
        match self.durability {
            Durability::Durable => Err(("I6", "is empty, and nobody deleted it".to_owned())),
            Durability::Memory => {
                losses.push((since.min(span.issued), span.answered));
                Ok(())
            }
        }
    }

    /// Something was answered out of the list of this name.
    fn touch(&mut self, name: u64, span: Span, losses: &mut Vec<Gap>) -> Result<(), Broken> {
        for (&other, life) in &self.lives {
            if other != name && life.first_answer < span.issued {
                self.order.insert((other, name));
                if self.order.contains(&(name, other)) {
                    return Err((
                        "I8",
                        format!("answered out of list {name}, of which {other} is the successor"),
                    ));
                }
            }
        }
        if !self.lives.contains_key(&name) {
            self.begin(span, losses)?;
        }
        let life = self.lives.entry(name).or_insert_with(|| Life::new(name));
        if let Some((length, at)) = life.ended
            && at < span.issued
        {
            return Err((
                "I8",
                format!("answered out of list {name}, which was deleted with {length} serials"),
            ));
        }
        life.first_answer = life.first_answer.min(span.answered);
        life.last_issue = life.last_issue.max(span.issued);
        Ok(())
    }

    /// A list that was not known is there: the one before it was deleted or lost.
    fn begin(&mut self, span: Span, losses: &mut Vec<Gap>) -> Result<(), Broken> {
        let Some(last) = self.lives.values().map(|life| life.last_issue).max() else {
            return Ok(());
        };
        match self.durability {
            Durability::Durable if self.lives.len() > self.deletions => Err((
                "I6",
                format!(
                    "began list {} with {} deletions",
                    self.lives.len() + 1,
                    self.deletions
                ),
            )),
            Durability::Memory if self.deletions == 0 => {
                // Which of the two is the older one is not known.
                losses.push((last.min(span.issued), span.answered));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn life(&mut self, name: u64) -> &mut Life {
        self.lives.entry(name).or_insert_with(|| Life::new(name))
    }
}

impl Life {
    fn new(name: u64) -> Self {
        Self {
            slots: vec![name & 0xffff_ffff],
            reached: vec![u64::MAX],
            places: BTreeMap::from([(name & 0xffff_ffff, 1)]),
            first_answer: u64::MAX,
            last_issue: 0,
            ended: None,
        }
    }

    /// Nobody knew of this position or a later one when the question was asked.
    fn known_before(&self, position: u64, span: Span) -> Result<(), Broken> {
        let from = usize::try_from(position.saturating_sub(1)).unwrap_or(usize::MAX);
        let known = self.reached.get(from..).unwrap_or_default();
        match known.iter().rposition(|&at| at < span.issued) {
            Some(place) => Err((
                "I8",
                format!(
                    "a stale answer: asked when the list had {} serials, answered as if it had {}",
                    from + place + 1,
                    from
                ),
            )),
            None => Ok(()),
        }
    }

    fn put(&mut self, position: u64, serial: u64) -> Result<(), Broken> {
        if let Some(&other) = self.places.get(&serial)
            && other != position
        {
            return Err(("I7", format!("{serial} is at {other} and at {position}")));
        }
        if let Some((length, _)) = self.ended
            && position > length
        {
            return Err((
                "I6",
                format!(
                    "{serial} is at {position} of a list that had {length} when it was deleted"
                ),
            ));
        }
        self.grow(position);
        let slot = &mut self.slots[index(position)];
        if *slot != 0 && *slot != serial {
            return Err(("I6", format!("{slot} and {serial} are both at {position}")));
        }
        *slot = serial;
        self.places.insert(serial, position);
        Ok(())
    }

    /// Somebody knows that the list is that long.
    fn reach(&mut self, position: u64, at: u64) {
        self.grow(position);
        let reached = &mut self.reached[index(position)];
        *reached = (*reached).min(at);
    }

    fn grow(&mut self, position: u64) {
        let length = index(position) + 1;
        if self.slots.len() < length {
            self.slots.resize(length, 0);
            self.reached.resize(length, u64::MAX);
        }
    }
}

/// Lists are never longer than what a run sends; a position beyond that comes from a damaged answer.
fn index(position: u64) -> usize {
    usize::try_from(position.clamp(1, 1 << 20) - 1).expect("bounded above")
}
