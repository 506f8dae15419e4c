//! kill -9 at any moment loses no answered durable command, and doubles none that is repeated with its key.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use entia_api::client::{CallOptions, Client};
use entia_protocol::EntityId;
use entia_tests::{NodeOptions, guest};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Kills in one run of the test.
const KILLS: usize = 12;
/// Callers at once.
const CALLERS: usize = 64;
/// Entities that they call. So many that none meets the bound of its idempotency window.
const ENTITIES: usize = 32;

/// One caller's memory of its commands: (entity, key) and the answer, if it came.
type Commands = BTreeMap<(usize, String), Option<u64>>;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_no_answered_command_and_doubles_none_that_is_repeated() {
    let seed = std::env::var("ENTIA_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("seed {seed}; again with ENTIA_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let options = NodeOptions::new(dir.path());
    let node = options.start();
    node.deploy(&guest("counter"), &["--durable"]);
    node.stop();

    let mut commands = Commands::new();
    let mut interrupted = 0;
    for round in 0..KILLS {
        let node = options.start();
        let client = node.client();
        // What had no answer before is repeated under its key, mixed with new commands.
        let open: Vec<_> = commands
            .iter()
            .filter(|(_, answer)| answer.is_none())
            .map(|(c, _)| c.clone())
            .collect();
        let answered = Arc::new(AtomicUsize::new(0));
        let kill_after = random.random_range(0..1_000);
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let mine = open.iter().skip(caller).step_by(CALLERS).cloned().collect();
                tokio::spawn(call_until_dead(
                    client.clone(),
                    round,
                    caller,
                    mine,
                    Arc::clone(&answered),
                ))
            })
            .collect();
        // Callers end when a call of theirs fails; that none is left means that the node failed on its own.
        let calling = || callers.iter().any(|caller| !caller.is_finished());
        while answered.load(Ordering::SeqCst) < kill_after && calling() {
            tokio::task::yield_now().await;
        }
        assert!(
            calling(),
            "the node stopped answering before it was killed:\n{}",
            node.log()
        );
        node.kill();
        for caller in callers {
            for (command, answer) in caller.await.unwrap() {
                interrupted += usize::from(answer.is_none());
                let known = commands.entry(command.clone()).or_default();
                if let (Some(before), Some(now)) = (&known, answer) {
                    assert_eq!(
                        *before, now,
                        "{command:?} was answered differently when repeated"
                    );
                }
                *known = known.or(answer);
            }
        }
    }

    assert!(
        interrupted > 0,
        "no command was interrupted: this run shows nothing"
    );
    let node = options.start();
    check(&node.client(), &mut commands).await;
    assert!(node.stop().success());
}

/// Repeats what is open, then sends new commands, until the node is gone.
async fn call_until_dead(
    client: Client,
    round: usize,
    caller: usize,
    open: Vec<(usize, String)>,
    answered: Arc<AtomicUsize>,
) -> Vec<((usize, String), Option<u64>)> {
    let new = (0..).map(|number| {
        (
            (caller + number) % ENTITIES,
            format!("{round}-{caller}-{number}"),
        )
    });
    let mut done = Vec::new();
    for command in open.into_iter().chain(new) {
        let answer = increment(&client, &command).await;
        done.push((command, answer));
        if answer.is_none() {
            return done;
        }
        answered.fetch_add(1, Ordering::SeqCst);
    }
    unreachable!("new commands never end")
}

/// Repeats everything: each command has one answer, each answer belongs to one command, and the values have no gaps.
async fn check(client: &Client, commands: &mut Commands) {
    for (command, answer) in commands.iter_mut() {
        let again = increment(client, command).await.expect("the node is up");
        assert_eq!(*answer.get_or_insert(again), again, "{command:?} ran twice");
    }
    for entity in 0..ENTITIES {
        let mut answers: Vec<u64> = commands
            .iter()
            .filter(|((of, _), _)| *of == entity)
            .filter_map(|(_, answer)| *answer)
            .collect();
        answers.sort_unstable();
        let expected: Vec<u64> = (1..=answers.len() as u64).collect();
        assert_eq!(
            answers, expected,
            "commands of entity {entity} were lost or doubled"
        );
    }
}

async fn increment(client: &Client, (entity, key): &(usize, String)) -> Option<u64> {
    let id: EntityId = format!("counter/{entity}").parse().unwrap();
    let options = CallOptions {
        idempotency_key: Some(key.clone()),
        deadline_ms: Some(10_000),
    };
    let answer = client
        .call(&id, "increment", r#"{"by": 1}"#, &options)
        .await
        .ok()?;
    Some(String::from_utf8(answer.to_vec()).unwrap().parse().unwrap())
}
