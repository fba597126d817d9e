//! Protocol messages for tests, and a session that is played without a server.

use std::sync::Arc;

use super::{Probe, Tap};

pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend_from_slice(body);
    out
}

pub(crate) fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0app\0\0";
    let mut out = u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(body);
    out
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

pub(crate) fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[status])
}

pub(crate) fn tag(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

pub(crate) fn parameter(name: &str, value: &str) -> Vec<u8> {
    message(b'S', format!("{name}\0{value}\0").as_bytes())
}

/// A session that is played to a tap.
pub(crate) struct Script {
    tap: Tap<()>,
}

impl Script {
    /// After the start-up, with these parameters reported.
    pub(crate) fn started(parameters: &[(&str, &str)]) -> Self {
        let mut tap = Tap::new((), Arc::new(Probe::default()));
        tap.on_written(&startup());
        let mut hello = message(b'R', &[0, 0, 0, 0]);
        for (name, value) in parameters {
            hello.extend(parameter(name, value));
        }
        hello.extend(ready(b'I'));
        tap.on_read(&hello);
        Self { tap }
    }

    pub(crate) fn probe(&self) -> &Probe {
        &self.tap.probe
    }

    pub(crate) fn into_tap(self) -> Tap<()> {
        self.tap
    }

    /// A query and its whole answer.
    pub(crate) fn query(&mut self, sql: &str, answer: &str, status: u8) {
        self.tap.on_written(&query(sql));
        self.tap.on_read(&[tag(answer), ready(status)].concat());
    }

    pub(crate) fn report(&mut self, name: &str, value: &str) {
        self.tap.on_read(&parameter(name, value));
    }

    /// An answer without a query that asked for it.
    pub(crate) fn ready(&mut self, status: u8) {
        self.tap.on_read(&ready(status));
    }
}
