use std::path::{Path, PathBuf};

use entia_api::client::Client;

use crate::arguments::{ApiFrom, Dev};
use crate::dev::step::Step;
use crate::node_command::{self, Node};
use crate::node_options::{NodeOptions, Tuning};

/// The node that is deployed to.
pub(crate) struct DevNode {
    client: Client,
    /// Whether commands have to name it to find it.
    named: bool,
    own: Option<Own>,
}

/// A node that this process runs.
struct Own {
    node: Node,
    data_dir: PathBuf,
}

impl DevNode {
    /// Takes the node that was asked for, if one was, and otherwise starts one.
    ///
    /// The environment may name a node only for the other commands, so what does not answer there is started here.
    pub(crate) async fn start(api: &str, from: ApiFrom, dev: &Dev) -> anyhow::Result<Self> {
        let client = Client::new(api)?;
        if from != ApiFrom::Default {
            match client.health().await {
                Ok(_) => {
                    return Ok(Self {
                        client,
                        named: from == ApiFrom::Flag,
                        own: None,
                    });
                }
                Err(error) if from == ApiFrom::Flag => return Err(error.into()),
                Err(_) => {}
            }
        }
        let data_dir = dev.data_dir.clone();
        let data_dir = data_dir.unwrap_or_else(|| {
            let dir = dev.dir.join(DATA_DIR);
            dir.strip_prefix(".").map(Path::to_owned).unwrap_or(dir)
        });
        let node = node_command::start(NodeOptions {
            data_dir: data_dir.clone(),
            http: dev.http,
            accept_loss: false,
            tuning: Tuning::default(),
        });
        let node = node.await?;
        let own = Client::new(&format!("http://{}", node.http()))?;
        Ok(Self {
            named: own.url() != client.url(),
            client: own,
            own: Some(Own { node, data_dir }),
        })
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Its URL, if a command has to name it.
    pub(crate) fn named(&self) -> Option<&str> {
        self.named.then(|| self.client.url())
    }

    pub(crate) fn data_dir(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| own.data_dir.as_path())
    }

    pub(crate) fn serving(&self) -> Step {
        Step::Serving {
            api: self.client.url().to_owned(),
            data_dir: self.data_dir().map(|dir| dir.display().to_string()),
        }
    }

    /// Ends a node of our own in order: what is only in memory is written.
    pub(crate) async fn stop(self) -> anyhow::Result<Step> {
        let Some(own) = self.own else {
            let data_dir = None;
            return Ok(Step::Stopped {
                data_dir,
                cut_off: 0,
            });
        };
        let cut_off = own.node.shut_down().await?;
        let data_dir = Some(own.data_dir.display().to_string());
        Ok(Step::Stopped { data_dir, cut_off })
    }
}

/// Below the project. `entia new` makes git leave it out.
pub(crate) const DATA_DIR: &str = ".entia";
