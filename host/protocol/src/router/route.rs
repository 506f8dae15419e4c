use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::cluster::{
    Context, Epoch, Home, Index, Instant, Message, Mutant, NodeId, Peer, ShardId,
};

use super::OutCall;
use super::lane::{Flight, Gate, Lane, wire};

/// Messages and where they go.
pub(super) type Sends = VecDeque<(NodeId, Message)>;

/// The calls of this node to one shard.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// By the router's number.
    calls: BTreeMap<u64, Outgoing>,
    /// Those that are on no lane, to be sent in this order.
    waiting: BTreeSet<u64>,
    /// The last lane, open or not.
    lane: Option<Lane>,
    /// By the lane's epoch and the number in it. All are of the last lane.
    flights: BTreeMap<(Epoch, u64), Flight>,
    /// How many of the flights somebody waits for.
    live: usize,
    /// Where the shard is by a later control state than the one that is applied here.
    hint: Option<Hint>,
    /// No flight has to be sent again before; `None` without flights.
    resend_at: Option<Instant>,
    /// When to ask for the home; `None` while nothing waits for it.
    ask_at: Option<Instant>,
    /// The timer that the router has set.
    pub(super) timer: Option<Instant>,
}

#[derive(Debug)]
struct Outgoing {
    call: OutCall,
    place: Place,
    /// It was sent, at least once. Also one that came back with `Moved` may have run: a second copy of its message may
    /// have found the shard moved after the first had not.
    sent: bool,
    /// It has its answer. It stays on its lane, so that the home does not wait for its number.
    expired: bool,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Waiting,
    Flight(Epoch, u64),
}

#[derive(Debug)]
struct Hint {
    index: Index,
    home: Option<(Home, Epoch)>,
}

impl Route {
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Calls that somebody waits for.
    pub(super) fn pending(&self) -> usize {
        self.waiting.len() + self.live
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.calls.get(&number).is_some_and(|call| !call.expired)
    }

    pub(super) fn into_calls(self) -> impl Iterator<Item = (u64, OutCall, bool)> {
        let calls = self.calls.into_iter();
        let live = calls.filter(|(_, outgoing)| !outgoing.expired);
        live.map(|(number, outgoing)| (number, outgoing.call, outgoing.sent))
    }

    /// When something is due.
    pub(super) fn due(&self) -> Option<Instant> {
        match (self.resend_at, self.ask_at) {
            (Some(resend), Some(ask)) => Some(resend.min(ask)),
            (resend, ask) => resend.or(ask),
        }
    }

    /// A new call, behind all others.
    pub(super) fn push(&mut self, number: u64, call: OutCall) {
        self.waiting.insert(number);
        let outgoing = Outgoing {
            call,
            place: Place::Waiting,
            sent: false,
            expired: false,
        };
        self.calls.insert(number, outgoing);
    }

    /// Nobody waits for the call any more. Returns whether it was ever sent.
    pub(super) fn expire(&mut self, number: u64) -> bool {
        let Some(outgoing) = self.calls.get_mut(&number) else {
            return false;
        };
        let sent = outgoing.sent;
        match outgoing.place {
            Place::Waiting => {
                self.waiting.remove(&number);
                self.calls.remove(&number);
            }
            Place::Flight(..) => {
                outgoing.expired = true;
                self.live -= 1;
                self.trim();
            }
        }
        sent
    }

    /// The home has answered. Returns the call, if somebody waits for it.
    pub(super) fn answered(&mut self, from: Peer, epoch: Epoch, seq: u64) -> Option<u64> {
        let (number, expired) = self.land(from, epoch, seq)?;
        self.calls.remove(&number);
        (!expired).then_some(number)
    }

    /// The home does not serve the shard, or not any more. Returns whether that is news.
    pub(super) fn moved(&mut self, from: Peer, epoch: Epoch, seq: u64) -> bool {
        let Some((number, expired)) = self.land(from, epoch, seq) else {
            return false;
        };
        let outgoing = self.calls.get_mut(&number).expect("a flight has a call");
        if let Some(lane) = self.lane.as_mut().filter(|lane| lane.epoch == epoch) {
            let awaited = !outgoing.call.envelope.chain.is_empty();
            if awaited {
                lane.gate = Gate::Shut;
            } else if lane.gate == Gate::Open {
                lane.gate = Gate::Chains;
            }
        }
        if expired {
            self.calls.remove(&number);
        } else {
            outgoing.place = Place::Waiting;
            self.waiting.insert(number);
        }
        // What was told of this home was wrong, or is over.
        self.hint
            .take_if(|hint| hint.home.is_some_and(|(_, told)| told <= epoch));
        true
    }

    /// Takes a call off its lane. Returns its number and whether it has expired.
    fn land(&mut self, from: Peer, epoch: Epoch, seq: u64) -> Option<(u64, bool)> {
        let flight = self.flights.get(&(epoch, seq))?;
        if flight.home != from {
            return None;
        }
        let number = flight.number;
        self.flights.remove(&(epoch, seq));
        let expired = self.calls[&number].expired;
        self.live -= usize::from(!expired);
        self.trim();
        Some((number, expired))
    }

    /// Lets expired calls go that are the first on their lane: the next message says that nobody asks for them.
    fn trim(&mut self) {
        while let Some(first) = self.flights.first_entry() {
            let number = first.get().number;
            if !self.calls[&number].expired {
                return;
            }
            first.remove();
            self.calls.remove(&number);
        }
    }

    /// Somebody says where the shard is, by the control state of that index.
    pub(super) fn learn(&mut self, cx: &Context<'_>, index: Index, home: Option<(Home, Epoch)>) {
        let known = self.hint.as_ref().map_or(Index(0), |hint| hint.index);
        if index > cx.control.applied.max(known) {
            self.hint = Some(Hint { index, home });
        }
    }

    /// This node is another sender from now on, and its lane a new one to the home. The numbers go on, so that no late answer to
    /// the former sender looks like one to this.
    pub(super) fn restart(&mut self) {
        self.recall();
    }

    /// All calls that are on a lane wait again, in front of those that came later.
    fn recall(&mut self) {
        for flight in std::mem::take(&mut self.flights).into_values() {
            let number = flight.number;
            let outgoing = self.calls.get_mut(&number).expect("a flight has a call");
            if outgoing.expired {
                self.calls.remove(&number);
            } else {
                outgoing.place = Place::Waiting;
                self.waiting.insert(number);
            }
        }
        self.live = 0;
    }

    /// Opens and shuts lanes as the control state wants it, and sends what can be sent.
    pub(super) fn settle(&mut self, cx: &Context<'_>, shard: ShardId, sends: &mut Sends) {
        let dead = |lane: &Lane| cx.control.live(lane.home).is_none();
        if self.lane.as_ref().is_some_and(dead) {
            self.recall();
        }
        // Before this node is a member, nobody takes calls from it.
        let home = self.home(cx, shard).filter(|_| cx.me.incarnation.0 != 0);
        if let Some((home, epoch)) = home {
            self.open(cx, home, epoch);
        }
        let gate = match &self.lane {
            Some(lane) if home == Some((lane.home, lane.epoch)) && !dead(lane) => lane.gate,
            _ => Gate::Shut,
        };
        match gate {
            Gate::Open => self.send_waiting(cx, shard, sends),
            Gate::Chains => self.send_chained(cx, shard, sends),
            Gate::Shut => {}
        }
        self.schedule(cx);
    }

    /// Where the shard is, by the latest that is known.
    fn home(&mut self, cx: &Context<'_>, shard: ShardId) -> Option<(Home, Epoch)> {
        self.hint.take_if(|hint| hint.index <= cx.control.applied);
        match &self.hint {
            Some(hint) => hint.home,
            None => cx.control.home_of(shard),
        }
    }

    /// Opens a lane, if it would be a new one and nobody waits for a call of the old one.
    fn open(&mut self, cx: &Context<'_>, home: Home, epoch: Epoch) {
        let newer = self.lane.as_ref().is_none_or(|lane| epoch > lane.epoch);
        let drained = self.live == 0 || cx.settings.lacks(Mutant::NoLaneDrain);
        if !newer || !drained || cx.control.live(home).is_none() {
            return;
        }
        if self.live == 0 {
            self.recall();
        }
        self.lane = Some(Lane::new(home, epoch));
    }

    fn send_waiting(&mut self, cx: &Context<'_>, shard: ShardId, sends: &mut Sends) {
        while let Some(&number) = self.waiting.first() {
            if !self.send(cx, shard, number, sends) {
                return;
            }
        }
    }

    /// Sends the newest call, if somebody waits for it and it overtakes none of the same caller to the same entity.
    fn send_chained(&mut self, cx: &Context<'_>, shard: ShardId, sends: &mut Sends) {
        let Some(&number) = self.waiting.last() else {
            return;
        };
        let newest = &self.calls[&number].call.envelope;
        if self.calls[&number].sent || newest.chain.is_empty() {
            return;
        }
        let overtakes = self.waiting.iter().rev().skip(1).any(|earlier| {
            let earlier = &self.calls[earlier].call.envelope;
            earlier.entity == newest.entity && earlier.caller == newest.caller
        });
        if !overtakes {
            self.send(cx, shard, number, sends);
        }
    }

    /// Puts a call on the lane, if there is room.
    fn send(&mut self, cx: &Context<'_>, shard: ShardId, number: u64, sends: &mut Sends) -> bool {
        let bounds = &cx.settings.bounds;
        let lane = self.lane.as_ref().expect("who sends has seen an open lane");
        let (home, epoch, seq) = (lane.home, lane.epoch, lane.next);
        let lowest = self.lowest(epoch).unwrap_or(seq);
        // The home remembers the answers from the lowest number on, and only so many.
        let window = usize::try_from(seq - lowest).unwrap_or(usize::MAX);
        if self.flights.len() >= bounds.in_flight_max || window >= bounds.replies_max {
            return false;
        }
        let now = cx.now.instant;
        let outgoing = self.calls.get_mut(&number).expect("what waits is a call");
        outgoing.place = Place::Flight(epoch, seq);
        outgoing.sent = true;
        let message = wire(&outgoing.call, shard, (epoch, seq, lowest), now);
        sends.push_back((home.node, message));
        let flight = Flight::new(number, home, now, cx.settings);
        self.flights.insert((epoch, seq), flight);
        self.waiting.remove(&number);
        self.live += 1;
        if let Some(lane) = &mut self.lane {
            lane.next += 1;
        }
        true
    }

    /// The lowest number of a lane that is on its way.
    fn lowest(&self, epoch: Epoch) -> Option<u64> {
        let mut flights = self.flights.range((epoch, 0)..=(epoch, u64::MAX));
        flights.next().map(|(&(_, seq), _)| seq)
    }

    fn schedule(&mut self, cx: &Context<'_>) {
        let soon = cx.now.instant + cx.settings.timing.resend;
        self.resend_at = match self.resend_at {
            _ if self.flights.is_empty() => None,
            None => Some(soon),
            at => at,
        };
        // A call that waits because the lane is full is sent as soon as there is room.
        self.ask_at = match self.ask_at {
            _ if self.waiting.is_empty() || self.live > 0 => None,
            None => Some(soon),
            at => at,
        };
    }

    /// Sends again what is due, the oldest first.
    pub(super) fn repeat(&mut self, cx: &Context<'_>, shard: ShardId, sends: &mut Sends) {
        let now = cx.now.instant;
        if self.resend_at.is_some_and(|at| at <= now) {
            self.resend(cx, shard, sends);
        }
        if self.ask_at.is_some_and(|at| at <= now) {
            self.ask_at = Some(now + cx.settings.timing.resend);
            let coordinator = cx.control.coordinator.node;
            let applied = cx.control.applied;
            // What this node has not applied as the coordinator, nobody can tell it.
            if coordinator != cx.me.node && cx.control.members.contains_key(&coordinator) {
                sends.push_back((coordinator, Message::ShardHomeQuery { shard, applied }));
            }
        }
    }

    fn resend(&mut self, cx: &Context<'_>, shard: ShardId, sends: &mut Sends) {
        let now = cx.now.instant;
        let mut burst = BURST;
        let mut next: Option<Instant> = None;
        let mut lowest = (Epoch(0), 0);
        for (&(epoch, seq), flight) in &mut self.flights {
            if epoch != lowest.0 {
                lowest = (epoch, seq);
            }
            if flight.due <= now && burst > 0 {
                burst -= 1;
                flight.repeated(now);
                let call = &self.calls[&flight.number].call;
                let message = wire(call, shard, (epoch, seq, lowest.1), now);
                sends.push_back((flight.home.node, message));
            }
            next = Some(next.map_or(flight.due, |at| at.min(flight.due)));
        }
        // Not for each call by itself: looking costs as many steps as there are calls.
        let soonest = now + cx.settings.timing.resend / 4;
        self.resend_at = next.map(|at| at.max(soonest));
    }

    pub(super) fn check_invariants(&self, cx: &Context<'_>) {
        let bounds = &cx.settings.bounds;
        let live = |number: &u64| self.has(*number);
        assert!(
            self.flights.len() <= bounds.in_flight_max || cx.settings.lacks(Mutant::NoLaneDrain),
            "too many calls on a lane"
        );
        assert!(
            self.waiting.len() <= bounds.waiting_max + bounds.in_flight_max,
            "too many calls wait"
        );
        assert_eq!(
            self.calls.len(),
            self.waiting.len() + self.flights.len(),
            "a call is in two places, or in none"
        );
        for number in &self.waiting {
            let outgoing = self.calls.get(number);
            assert!(
                outgoing.is_some_and(|o| !o.expired && matches!(o.place, Place::Waiting)),
                "call {number} does not wait"
            );
        }
        let flying = self.flights.values().map(|flight| &flight.number);
        assert_eq!(flying.clone().filter(|n| live(n)).count(), self.live);
        assert!(
            flying.clone().is_sorted() || cx.settings.lacks(Mutant::NoLaneDrain),
            "calls overtake each other on a lane"
        );
        for (&(epoch, seq), flight) in &self.flights {
            let place = self.calls.get(&flight.number).map(|call| call.place);
            assert!(
                matches!(place, Some(Place::Flight(e, s)) if (e, s) == (epoch, seq)),
                "call {} is not on its lane",
                flight.number
            );
        }
        assert_eq!(self.resend_at.is_some(), !self.flights.is_empty());
        if let Some(lane) = &self.lane
            && !cx.settings.lacks(Mutant::NoLaneDrain)
        {
            let of_lane = self.flights.iter().all(|(&(epoch, seq), flight)| {
                epoch == lane.epoch && seq < lane.next && flight.home == lane.home
            });
            assert!(of_lane, "a call is on a lane that is gone");
        }
    }
}

/// Calls that are sent again at once.
const BURST: usize = 64;
