use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, Condvar, atomic::{AtomicBool, AtomicU64, Ordering}};
use std::time::{Duration, Instant};
use entia_protocol::*;
use entia_storage::*;
fn bare(writers: usize) -> f64 {
    let dir = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap()).or_else(|_| tempfile::tempdir()).unwrap();
    let db = fjall::Database::builder(dir.path()).open().unwrap();
    let ks = db.keyspace("x", fjall::KeyspaceCreateOptions::default).unwrap();
    type Msg = (Vec<u8>, Vec<u8>, std::sync::mpsc::SyncSender<()>);
    let (tx, rx) = std::sync::mpsc::sync_channel::<Msg>(4096);
    let stop = Arc::new(AtomicBool::new(false)); let count = Arc::new(AtomicU64::new(0));
    let c = std::thread::spawn(move || { while let Ok(first) = rx.recv() {
        let mut b = db.batch().durability(Some(fjall::PersistMode::SyncData)); let mut acks = vec![];
        let mut next = Some(first);
        while let Some((k, v, a)) = next { b.insert(&ks, k, v); acks.push(a); if acks.len() >= 4096 {break} next = rx.try_recv().ok(); }
        b.commit().unwrap(); for a in acks { let _ = a.send(()); } } });
    let hs: Vec<_> = (0..writers).map(|w| { let (tx, stop, count) = (tx.clone(), stop.clone(), count.clone());
        std::thread::Builder::new().stack_size(128<<10).spawn(move || { let (a, r) = sync_channel(1); let mut n = 0u64; while !stop.load(Ordering::Relaxed) {
            tx.send((format!("counter\0key-{w}-{}", n % 50).into_bytes(), vec![7; 100], a.clone())).unwrap(); r.recv().unwrap(); n += 1; }
            count.fetch_add(n, Ordering::Relaxed); }).unwrap() }).collect();
    drop(tx);
    let t = Instant::now(); std::thread::sleep(Duration::from_secs(3)); stop.store(true, Ordering::Relaxed);
    for h in hs { h.join().unwrap(); } c.join().unwrap();
    count.load(Ordering::Relaxed) as f64 / t.elapsed().as_secs_f64()
}
fn ours(writers: usize, bytes: usize) -> (f64, f64) {
    let dir = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap()).or_else(|_| tempfile::tempdir()).unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let stop = Arc::new(AtomicBool::new(false)); let count = Arc::new(AtomicU64::new(0));
    let hs: Vec<_> = (0..writers).map(|w| { let (store, stop, count) = (store.clone(), stop.clone(), count.clone());
        std::thread::Builder::new().stack_size(128<<10).spawn(move || { let (a, r) = sync_channel(1); let mut n = 0u64; while !stop.load(Ordering::Relaxed) {
            let a = a.clone();
            let e = EntityId::new(KindName::new("counter").unwrap(), &format!("key-{w}-{}", n % 50)).unwrap();
            store.commit(EntityCommit::put(e, StoredState::new(1, vec![7; bytes], 1, 0)), Box::new(move |x| { a.send(x.unwrap()).unwrap(); }));
            r.recv().unwrap(); n += 1; }
            count.fetch_add(n, Ordering::Relaxed); }).unwrap() }).collect();
    let t = Instant::now(); std::thread::sleep(Duration::from_secs(3)); stop.store(true, Ordering::Relaxed);
    for h in hs { h.join().unwrap(); }
    let s = store.stats();
    (count.load(Ordering::Relaxed) as f64 / t.elapsed().as_secs_f64(), s.sequence as f64 / s.groups as f64)
}
// No thread per writer: one producer keeps `inflight` commits outstanding.
fn ours_async(inflight: usize, remember: bool) -> f64 {
    let dir = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap()).or_else(|_| tempfile::tempdir()).unwrap();
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    let gate = Arc::new((Mutex::new(0usize), Condvar::new())); let t = Instant::now(); let mut n = 0u64;
    while t.elapsed() < Duration::from_secs(3) {
        { let mut g = gate.0.lock().unwrap(); while *g >= inflight { g = gate.1.wait(g).unwrap(); } *g += 1; }
        let gate = gate.clone();
        let e = EntityId::new(KindName::new("counter").unwrap(), &format!("key-{}", n % 50000)).unwrap();
        let mut c = EntityCommit::put(e, StoredState::new(1, vec![7; 100], 1, 0));
        if remember { c.remembered.push(IdempotencyRecord { id: IdempotencyId { method: "increment".into(), key: CommandKey::Client(format!("k{n}")) }, arguments: Digest::of(b""), answer: Ok(Payload(vec![1;8])), at_ms: 0 }); }
        store.commit(c, Box::new(move |x| { x.unwrap(); let mut g = gate.0.lock().unwrap(); *g -= 1; gate.1.notify_one(); }));
        n += 1;
    }
    store.close().unwrap();
    n as f64 / t.elapsed().as_secs_f64()
}
fn main() {
    for round in 0..5 {
        let b = bare(64); let (o, per) = ours(64, 100); 
        unsafe { std::env::set_var("NOWM", "1"); }
        let (o2, per2) = ours(64, 100);
        let (o3, per3) = ours(64, 1);
        unsafe { std::env::remove_var("NOWM"); }
        println!("round {round}: bare {b:.0}/s ours {o:.0}/s, {per:.1} per group; no watermark {o2:.0} {per2:.1}; 1 byte {o3:.0} {per3:.1}");
    } 
}
