use entia_api::client::{Client, ClientError};

use crate::arguments::ApiFrom;
use crate::doctor::Finding;
use crate::output::printable;

/// Whether there is a node where the other commands look for it.
pub(crate) async fn check(client: &Client, from: ApiFrom) -> Vec<Finding> {
    let url = client.url();
    let health = match client.health().await {
        Ok(health) => health,
        Err(error) => return vec![unreachable(&error, from)],
    };
    let serving = format!(
        "{url} has {} kinds, {} live entities",
        health.kinds, health.entities_live
    );
    let ready = match client.ready().await {
        Ok(_) => Finding::ok("node", serving),
        Err(error) => {
            let message = format!("{url} takes no calls: {error}");
            Finding::fail("node", message, error.hint())
        }
    };
    vec![ready, version(&health.version)]
}

/// Where nobody asked for a node, none is no failure.
fn unreachable(error: &ClientError, from: ApiFrom) -> Finding {
    let message = error.to_string();
    match from {
        ApiFrom::Default => {
            let next = "`entia dev` in a project or `entia node --data-dir DIR` starts one";
            Finding::warn("node", message, next)
        }
        ApiFrom::Flag | ApiFrom::Environment => Finding::fail("node", message, error.hint()),
    }
}

fn version(node: &str) -> Finding {
    if node == VERSION {
        return Finding::ok("version", format!("{VERSION}, and so is the node"));
    }
    let message = format!("this is {VERSION}, the node is {}", printable(node));
    Finding::warn("version", message, "use the `entia` of the node's version")
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[tokio::test]
    async fn a_node_that_was_asked_for_has_to_be_there() {
        let nobody = Client::new("http://127.0.0.1:1").unwrap();
        let status = async |from| check(&nobody, from).await[0].status;
        assert_eq!(status(ApiFrom::Default).await, Status::Warn);
        assert_eq!(status(ApiFrom::Environment).await, Status::Fail);
        assert_eq!(status(ApiFrom::Flag).await, Status::Fail);
    }

    #[test]
    fn another_version_is_a_warning() {
        assert_eq!(version(VERSION).status, Status::Ok);
        assert_eq!(version("0.0.1\u{1b}").status, Status::Warn);
        assert!(!version("0.0.1\u{1b}").message.contains('\u{1b}'));
    }
}
