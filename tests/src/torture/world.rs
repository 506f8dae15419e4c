use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use entia_api::client::{CallOptions, Client, ClientError};
use entia_protocol::EntityId;
use serde_json::Value;
use tokio::sync::watch;

/// The node as the loads see it: it comes and goes.
pub(crate) struct World {
    client: watch::Sender<Client>,
    stopping: AtomicBool,
    /// Commands that had an answer, and tries that had none.
    pub(crate) answered: AtomicU64,
    pub(crate) unanswered: AtomicU64,
    /// How often somebody waited for messages to be delivered.
    pub(crate) held_up: AtomicU64,
}

/// How a command ended: its result, or the code of the entity's refusal.
pub(crate) type Outcome = Result<Value, String>;

impl World {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client: watch::Sender::new(client),
            stopping: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            held_up: AtomicU64::new(0),
        }
    }

    /// The node was started again, and serves elsewhere.
    pub(crate) fn moved_to(&self, client: Client) {
        self.client.send_replace(client);
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Sends a command under its key until it is answered, as a client that must not lose it does.
    ///
    /// # Panics
    /// If it has no answer for minutes, or one that no command should have.
    pub(crate) async fn command(
        &self,
        entity: &EntityId,
        method: &str,
        arguments: &Value,
        key: &str,
    ) -> Outcome {
        let began = Instant::now();
        let options = CallOptions {
            idempotency_key: Some(key.to_owned()),
            deadline_ms: Some(10_000),
        };
        loop {
            let client = self.client.borrow().clone();
            let answer = client.call(entity, method, arguments.to_string(), &options);
            let error = match answer.await {
                Ok(text) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    return Ok(serde_json::from_slice(&text).expect("results are JSON"));
                }
                Err(error) => error,
            };
            if let ClientError::Api { body, .. } = &error {
                match &*body.error.code {
                    "rejected" => {
                        self.answered.fetch_add(1, Ordering::Relaxed);
                        let rejection = body.error.rejection.as_ref();
                        return Err(rejection.map_or_else(String::new, |r| r.code.clone()));
                    }
                    "overloaded" | "quarantined" | "deadline_exceeded" | "shutting_down"
                    | "limit_exceeded" | "trapped" => {}
                    _ => panic!("{entity} {method} {key}: {error}"),
                }
            }
            self.unanswered.fetch_add(1, Ordering::Relaxed);
            let waited = began.elapsed();
            assert!(
                waited < PATIENCE,
                "{entity} {method} {key}: {error} for {waited:?}"
            );
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks for what changes nothing.
    pub(crate) async fn query(&self, entity: &EntityId, method: &str) -> Value {
        let (client, options) = (self.client.borrow().clone(), CallOptions::default());
        let answer = client.call(entity, method, "{}", &options);
        let text = answer
            .await
            .unwrap_or_else(|error| panic!("{entity} {method}: {error}"));
        serde_json::from_slice(&text).expect("results are JSON")
    }

    /// How many messages an entity has to deliver, if the node answers.
    pub(crate) async fn waiting(&self, entity: &EntityId) -> Option<u64> {
        let client = self.client.borrow().clone();
        let seen = client.inspect(entity).await;
        seen.ok().map(|seen| seen.sends_pending)
    }

    /// Waits while an entity has many messages to deliver. Posts and deliveries are about as fast as each other, and whatever
    /// holds up the one for a while would let the messages gather without end.
    pub(crate) async fn until_few_wait(&self, entity: &EntityId, few: u64) {
        while !self.is_stopping() && self.waiting(entity).await.is_some_and(|many| many > few) {
            self.held_up.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Calls without caring how it ends.
    pub(crate) async fn provoke(&self, entity: &EntityId, method: &str, arguments: &Value) {
        let (client, options) = (self.client.borrow().clone(), CallOptions::default());
        let answer = client.call(entity, method, arguments.to_string(), &options);
        let _whatever = answer.await;
    }
}

/// How long a command may stay without an answer; a node that was killed is back long before.
const PATIENCE: Duration = Duration::from_secs(180);
/// Before the next try.
const PAUSE: Duration = Duration::from_millis(20);
