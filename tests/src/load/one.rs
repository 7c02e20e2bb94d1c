//! A client of HTTP/1.1.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{Ask, Manners, Outcome, Record, Target, nowhere};
use crate::http::{Connection, Response};

pub(super) struct Client {
    target: Arc<dyn Target>,
    manners: Manners,
    kept: Option<(SocketAddr, Connection)>,
}

impl Client {
    pub(super) fn new(manners: Manners, target: Arc<dyn Target>) -> Self {
        Self {
            target,
            manners,
            kept: None,
        }
    }

    pub(super) fn ask(&mut self, ask: Ask) -> Record {
        let began = Instant::now();
        let first = self.kept.is_none();
        let to = match &self.kept {
            Some((addr, _)) => Some(*addr),
            None => self.target.addr(),
        };
        let outcome = self.outcome(to, ask);
        Record {
            began,
            ended: Instant::now(),
            to,
            first,
            outcome,
        }
    }

    fn outcome(&mut self, to: Option<SocketAddr>, ask: Ask) -> Outcome {
        let Some(addr) = to else {
            return Outcome::Refused(nowhere());
        };
        let connection = match self.kept.take() {
            Some((_, connection)) => Ok(connection),
            None => Connection::open(addr),
        };
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(error) => return Outcome::Refused(error),
        };
        let response = match self.answer(&mut connection, ask) {
            Ok(response) => response,
            Err(error) => return Outcome::Broken(error),
        };
        let closes = response.header("connection") == Some("close");
        let keeps = match self.manners {
            Manners::Keep => !closes,
            Manners::Insist => true,
            _ => false,
        };
        if keeps {
            self.kept = Some((addr, connection));
        }
        Outcome::Answered {
            status: response.status,
            closes,
            retry_after: response
                .header("retry-after")
                .and_then(|text| text.parse().ok()),
        }
    }

    fn answer(&self, connection: &mut Connection, ask: Ask) -> io::Result<Response> {
        let (method, path, json) = ask.parts();
        let mut headers = Vec::new();
        if self.manners == Manners::Open {
            headers.push(("connection", "close"));
        }
        if json.is_some() {
            headers.push(("content-type", "application/json"));
        }
        connection.request(method, path, &headers, json.unwrap_or_default().as_bytes())
    }
}
