//! A check for tests and for the fuzz target: wherever the bytes of a connection are split, the tap knows the same.
#![allow(clippy::expect_used, reason = "a panic is how the check says that something does not hold")]

use std::sync::Arc;

use wrapper_core::TransactionOutcome;
use wrapper_core::driver::TransactionStatus;

use super::{Mark, Parameter, Probe, Tap};

/// All that a tap tells.
#[derive(Debug, PartialEq)]
struct Seen {
    status: TransactionStatus,
    outstanding: u64,
    ends: u32,
    committed: bool,
    wrote: bool,
    outcome: TransactionOutcome,
    copying_in: bool,
    parameters: Vec<Parameter>,
}

fn seen(probe: &Probe, mark: &Mark) -> Seen {
    Seen {
        status: probe.status(),
        outstanding: probe.outstanding(),
        ends: probe.ends(),
        committed: probe.committed_since(mark),
        wrote: probe.wrote_since(mark),
        outcome: probe.outcome_of_loss(mark),
        copying_in: probe.is_copying_in(),
        parameters: probe.parameters(),
    }
}

/// Bytes in one direction.
struct Piece {
    written: bool,
    bytes: Vec<u8>,
}

/// Reads `data` as what passes a connection, and feeds it to two taps: whole, and split where `data` says so.
///
/// The first byte tells the splits and whether a start-up comes first. Then each two bytes are the head of a piece: its
/// direction and whether it is framed as a message, and its length. In a framed piece the first byte is the message's
/// kind.
pub fn status_tap(data: &[u8]) {
    let Some((&how, data)) = data.split_first() else { return };
    let pieces = pieces(how, data);
    let (whole, split) = (Arc::new(Probe::default()), Arc::new(Probe::default()));
    let marks = (whole.mark(), split.mark());
    let mut taps = (Tap::new((), Arc::clone(&whole)), Tap::new((), Arc::clone(&split)));
    let step = usize::from(how & 0x0f) + 1;
    for piece in &pieces {
        feed(&mut taps.0, piece.written, &piece.bytes);
        for part in piece.bytes.chunks(step) {
            feed(&mut taps.1, piece.written, part);
        }
        let (whole, split) = (seen(&whole, &marks.0), seen(&split, &marks.1));
        assert_eq!(whole, split, "split after each {step} bytes");
    }
}

fn feed(tap: &mut Tap<()>, written: bool, bytes: &[u8]) {
    if written { tap.on_written(bytes) } else { tap.on_read(bytes) }
}

fn pieces(how: u8, mut data: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    if how & 0x80 != 0 {
        let startup = b"\0\0\0\x12\0\x03\0\0user\0app\0\0";
        pieces.push(Piece { written: true, bytes: startup.to_vec() });
    }
    while let [head, length, rest @ ..] = data {
        let (body, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        data = rest;
        let bytes = match (head & 2 != 0, body.split_first()) {
            (true, Some((kind, body))) => {
                let length = u32::try_from(body.len() + 4).expect("at most a few hundred bytes");
                [&[*kind][..], &length.to_be_bytes(), body].concat()
            }
            _ => body.to_vec(),
        };
        // Several messages may come in one read.
        let joins = head & 4 != 0;
        match pieces.last_mut() {
            Some(last) if joins && last.written == (head & 1 != 0) => last.bytes.extend(bytes),
            _ => pieces.push(Piece { written: head & 1 != 0, bytes }),
        }
    }
    pieces
}
