//! Calls over HTTP, against a bare hyper echo.
//!
//! Both servers are processes of their own on one core, with as many tokio threads; the generator is the same for both and
//! much cheaper than either, so that it does not become the floor. Ours does per request what the echo does, and routes,
//! converts JSON by schema, runs the entity on a worker, and takes its snapshot.

mod connection;
pub(crate) mod floor;
mod server;

use std::sync::Arc;

use anyhow::Result;
use entia_protocol::Durability;

use crate::limits;
use crate::load::ENTITIES;
use crate::measure::{Bench, Subject};
use crate::node::{deploy, key};
use crate::places;
use connection::{Connection, request};
use server::Server;

const CONNECTIONS: [usize; 3] = [1, 64, 256];
const GOAL: f64 = 0.60;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    bench.cores.pin_server()?;
    let data = places::scratch()?;
    let node = Server::node(data.path())?;
    let floor = Server::floor()?;
    bench
        .load
        .block_on(deploy(&node.url(), Durability::Memory))?;
    for connections in CONNECTIONS {
        let mut ours = connect(bench, &node, connections)?;
        let mut bare = connect(bench, &floor, connections)?;
        bench.load.touch(&mut ours[0])?;
        let subject = Subject {
            name: format!("http.{connections}"),
            goal: Some(GOAL),
            limit: limits::http(connections),
        };
        bench.compare(subject, &mut bare, &mut ours)?;
    }
    Ok(())
}

fn connect(bench: &Bench, server: &Server, count: usize) -> Result<Vec<Connection>> {
    let path = |number| format!("/v1/entities/counter/{}/increment", key(number));
    let requests = (0..ENTITIES).map(|number| request(&path(number), r#"{"by":1}"#));
    let requests: Arc<[_]> = requests.collect();
    bench.load.block_on(async {
        let mut connections = Vec::new();
        for _ in 0..count {
            connections.push(Connection::open(server.address(), Arc::clone(&requests)).await?);
        }
        Ok(connections)
    })
}
