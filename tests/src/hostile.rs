use std::time::Duration;

use crate::{Answer, Node, NodeOptions, Wire, assert_error, guest};

/// A node with a counter that behaves, and with all that does not.
///
/// `hostile` runs on plain threads, `waiting` on fibers; they have ten seconds for each turn, so that on a busy machine only what
/// loops for ever meets that limit. `spinning` and `spinning-waiting` are the same with the 100 ms of the defaults, `durable`
/// is `hostile` on disk, and `table-bomb` is that.
#[derive(Debug)]
pub struct Hostile {
    /// The node.
    pub node: Node,
    /// Its client.
    pub wire: Wire,
    _dir: tempfile::TempDir,
}

impl Hostile {
    /// Starts it.
    ///
    /// # Panics
    /// If a guest was not built.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts it with settings of `[tuning]`.
    ///
    /// # Panics
    /// As [`Hostile::start`].
    pub fn start_with(tuning: &str) -> Self {
        let dir = tempfile::tempdir().expect("there is a directory for temporary files");
        let options = NodeOptions::new(&dir.path().join("data"));
        let node = options.config(&format!("[tuning]\n{tuning}\n")).start();
        node.deploy(&guest("counter"), &["--durable"]);
        let generous = ["--limit", "cpu_ms_max=10000"];
        for (kind, wasm, limits) in [
            ("hostile", "entia_hostile", &generous[..]),
            ("spinning", "entia_hostile", &[]),
            ("waiting", "entia_hostile_waiting", &generous),
            ("spinning-waiting", "entia_hostile_waiting", &[]),
        ] {
            node.deploy(&guest(wasm), &[&["--kind", kind], limits].concat());
        }
        let durable = [&["--kind", "durable", "--durable"], &generous[..]].concat();
        node.deploy(&guest("entia_hostile"), &durable);
        let bomb = dir.path().join("table-bomb.wasm");
        let text = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/security/table-bomb/table-bomb.wat"
        );
        let bytes = wat::parse_file(text).expect("the text is a component");
        std::fs::write(&bomb, bytes).expect("the test's directory is writable");
        node.deploy(&bomb, &["--kind", "table-bomb"]);
        Self {
            wire: node.wire(),
            node,
            _dir: dir,
        }
    }

    /// Deploys something that takes a compiler's time without end, and returns the answer.
    pub async fn deploy_compile_bomb(&self) -> Answer {
        let path = "/v1/kinds/compile-bomb";
        self.wire.send("PUT", path, &[], compile_bomb()).await
    }

    /// Sees that others go on.
    ///
    /// # Panics
    /// If they do not.
    pub async fn assert_neighbours_answer(&self, after: &str) {
        let path = "counter/neighbour/increment";
        let answer = self.wire.call(path, r#"{"by": 1}"#).await;
        assert!(answer.body.is_u64(), "after {after}: {:?}", answer.body);
    }

    /// What `GET` says of an entity.
    pub async fn inspect(&self, entity: &str) -> serde_json::Value {
        let path = format!("/v1/entities/{entity}");
        self.wire.send("GET", &path, &[], "").await.body
    }

    /// Looks at an entity until it is as expected.
    ///
    /// # Panics
    /// If it never is.
    pub async fn until(
        &self,
        entity: &str,
        expected: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let seen = self.inspect(entity).await;
            if expected(&seen) {
                return seen;
            }
            assert!(std::time::Instant::now() < end, "{entity}: {seen}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends a quarantine as an operator does.
    ///
    /// # Panics
    /// If that fails.
    pub fn release(&self, entity: &str) {
        let released = self.node.entia(["release", entity]);
        let said = String::from_utf8_lossy(&released.stderr);
        assert!(released.status.success(), "{entity}: {said}");
        let shown = String::from_utf8_lossy(&released.stdout);
        assert!(!shown.contains("quarantined"), "{entity}: {shown}");
    }

    /// The most memory that the node's process ever had resident, in bytes.
    ///
    /// # Panics
    /// If there is no such process.
    pub fn resident_bytes_max(&self) -> u64 {
        let path = format!("/proc/{}/status", self.node.pid());
        let status = std::fs::read_to_string(path).expect("the node runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok())
            .expect("Linux says so in KiB")
            << 10
    }

    /// Makes an entity fail until it is quarantined, and sees that each failure is the expected one and the quarantine is
    /// seen by callers and operators. Returns the refusal.
    ///
    /// # Panics
    /// If any of this is not so.
    pub async fn provoke(
        &self,
        path: &str,
        arguments: &str,
        expected: (u16, &str, &str),
    ) -> Answer {
        let (status, code, why) = expected;
        let entity = path.rsplit_once('/').expect("a path has a method").0;
        let mut failures = 0;
        // On a slow machine the first quarantine may be over before it is looked at. Each failure on trial begins a longer one.
        for _ in 0..40 {
            let answer = self.wire.call(path, arguments).await;
            if answer.code() != "quarantined" {
                assert_error(&answer, status, code, why);
                failures += 1;
                continue;
            }
            assert!(failures >= 5, "{path}: quarantined after {failures}");
            assert_error(&answer, 503, "quarantined", why);
            assert!(answer.headers.contains_key("retry-after"), "{path}");
            assert_eq!(answer.body["error"]["may_have_run"], false, "{path}");
            let seen = self.inspect(entity).await;
            assert_eq!(seen["failures"].as_u64(), Some(failures), "{path}: {seen}");
            if let Some(reason) = seen["quarantine"]["reason"].as_str() {
                assert!(reason.contains(why), "{path}: {reason}");
                return answer;
            }
        }
        panic!("{path}: its quarantine is never seen");
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

/// A component with functions that keep thousands of values alive at once: a register allocator's nightmare.
fn compile_bomb() -> Vec<u8> {
    const VALUES: usize = 20_000;
    let sum = |n: usize| {
        let before = n - 1;
        format!("(local.set {n} (i32.mul (local.get {before}) (local.get 0)))")
    };
    let sums: String = (1..VALUES).map(sum).collect();
    let used = |n: usize| format!("(local.set 0 (i32.xor (local.get 0) (local.get {n})))");
    let uses: String = (1..VALUES).map(used).collect();
    let locals = "i32 ".repeat(VALUES);
    let body = format!("{sums} {uses}").repeat(20);
    let function = format!("(func (param i32) (result i32) (local {locals}) {body} (local.get 0))");
    let text = format!("(component (core module {}))", function.repeat(3));
    wat::parse_str(text).expect("the text is a component")
}
