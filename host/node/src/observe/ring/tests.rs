use std::time::Duration;

use super::*;

#[derive(Debug, PartialEq)]
struct Line {
    id: u64,
    who: &'static str,
    bytes: usize,
}

impl Item for Line {
    type Holder = &'static str;

    fn number(&mut self, id: u64) {
        self.id = id;
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn holder(&self) -> &'static str {
        self.who
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

const BOUNDS: Bounds = Bounds {
    bytes_max: 100 * (ITEM_BYTES + 10),
    holder_bytes_max: 10 * (ITEM_BYTES + 10),
};

fn ring() -> Arc<Ring<Line>> {
    Arc::new(Ring::new(BOUNDS, 1_000))
}

fn lines(who: &'static str, count: usize) -> Vec<Line> {
    let line = |_| Line {
        id: 0,
        who,
        bytes: 10,
    };
    (0..count).map(line).collect()
}

fn all() -> Filter<Line> {
    Box::new(|_| true)
}

fn of(who: &'static str) -> Filter<Line> {
    Box::new(move |line| line.who == who)
}

fn ids(items: &[Arc<Line>]) -> Vec<u64> {
    items.iter().map(|line| line.id).collect()
}

#[test]
fn who_is_noisy_pushes_out_only_its_own() {
    let ring = ring();
    ring.push(lines("quiet", 3));
    ring.push(lines("noisy", 10_000));
    let (quiet, _) = ring.read(&of("quiet"), Start::Last(100), 100);
    assert_eq!(ids(&quiet), [1_000, 1_001, 1_002]);
    let (noisy, next) = ring.read(&of("noisy"), Start::Last(100), 100);
    assert_eq!(ids(&noisy), (10_993..11_003).collect::<Vec<_>>());
    assert_eq!(next, 11_002);
}

#[test]
fn many_together_are_bounded_and_the_oldest_go_first() {
    const NAMES: [&str; 20] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r",
        "s", "t",
    ];
    let ring = ring();
    for name in NAMES {
        ring.push(lines(name, 10));
        let kept = ring.lock();
        assert!(kept.bytes <= BOUNDS.bytes_max);
        assert!(kept.holders.len() <= 10, "no traces of who has nothing");
    }
    let (left, _) = ring.read(&all(), Start::Last(1_000), 1_000);
    assert_eq!(ids(&left), (1_100..1_200).collect::<Vec<_>>());
    let kept = ring.lock();
    let counted: usize = kept.items.values().map(|item| cost(&**item)).sum();
    let held: usize = kept.holders.values().map(|held| held.bytes).sum();
    assert_eq!((kept.bytes, held), (counted, counted));
}

#[test]
fn a_list_ends_where_the_next_begins() {
    let ring = ring();
    ring.push(lines("a", 5));
    ring.push(lines("b", 5));
    let (first, next) = ring.read(&all(), Start::After(0), 3);
    assert_eq!((ids(&first), next), (vec![1_000, 1_001, 1_002], 1_002));
    let (rest, next) = ring.read(&of("b"), Start::After(next), 100);
    assert_eq!(ids(&rest), (1_005..1_010).collect::<Vec<_>>());
    let (none, same) = ring.read(&all(), Start::After(next), 100);
    assert_eq!((none.len(), same), (0, next));
    let (last, _) = ring.read(&all(), Start::Last(2), 2);
    assert_eq!(ids(&last), [1_008, 1_009]);
    let (end, _) = ring.read(&all(), Start::After(u64::MAX), 2);
    assert!(end.is_empty());
}

#[tokio::test]
async fn a_follower_begins_with_the_last_and_is_woken_by_the_next() {
    let ring = ring();
    ring.push(lines("a", 5));
    let mut follower = ring.follow(of("a"), Start::Last(2)).unwrap();
    assert_eq!(ids(&follower.next().await.items), [1_003, 1_004]);
    let pushing = std::thread::spawn({
        let ring = Arc::clone(&ring);
        move || {
            ring.push(lines("b", 1));
            ring.push(lines("a", 1));
        }
    });
    let woken = tokio::time::timeout(Duration::from_secs(60), follower.next()).await;
    let batch = woken.expect("it is woken");
    assert_eq!((ids(&batch.items), batch.missed), (vec![1_006], 0));
    pushing.join().unwrap();
}

#[tokio::test]
async fn a_slow_follower_is_told_how_many_of_its_lines_it_missed() {
    let ring = ring();
    let mut slow = ring.follow(of("noisy"), Start::Last(0)).unwrap();
    ring.push(lines("noisy", 1));
    assert_eq!(ids(&slow.next().await.items), [1_000]);
    ring.push(lines("other", 10_000));
    ring.push(lines("noisy", 25));
    let batch = slow.next().await;
    assert_eq!(batch.missed, 15, "others' lines do not count");
    assert_eq!(ids(&batch.items), (11_016..11_026).collect::<Vec<_>>());
    assert!(slow.take().is_empty());
}

#[test]
fn who_comes_back_is_told_what_has_gone_since() {
    let ring = ring();
    ring.push(lines("a", 25));
    let mut follower = ring.follow(all(), Start::After(1_004)).unwrap();
    let batch = follower.take();
    assert_eq!(batch.missed, 10);
    assert_eq!(ids(&batch.items), (1_015..1_025).collect::<Vec<_>>());
    // A number from before the node's start: all of this run that has gone.
    let mut follower = ring.follow(all(), Start::After(7)).unwrap();
    assert_eq!(follower.take().missed, 15);
    let mut follower = ring.follow(all(), Start::After(u64::MAX)).unwrap();
    assert!(follower.take().is_empty());
}

#[test]
fn followers_are_bounded_and_leave_nothing_behind() {
    let ring = ring();
    let followers: Vec<_> = (0..FOLLOWERS_MAX)
        .map(|_| ring.follow(all(), Start::Last(0)).unwrap())
        .collect();
    assert!(ring.follow(all(), Start::Last(0)).is_err());
    drop(followers);
    assert!(ring.lock().followers.is_empty());
    assert!(ring.follow(all(), Start::Last(0)).is_ok());
}

#[test]
fn a_batch_is_bounded_and_the_rest_comes_next() {
    let ring = Arc::new(Ring::new(
        Bounds {
            bytes_max: 1 << 20,
            holder_bytes_max: 1 << 20,
        },
        1,
    ));
    ring.push(lines("a", 100));
    let mut follower = ring.follow(all(), Start::Last(1_000)).unwrap();
    assert_eq!(follower.take().items.len(), BATCH_ITEMS_MAX);
    assert_eq!(follower.take().items.len(), 100 - BATCH_ITEMS_MAX);
    assert!(follower.take().is_empty());
}
