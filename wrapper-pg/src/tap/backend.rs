//! Reads along with what the server sends.
//!
//! What lives here: [`Backend`], an incremental parser of message headers and of the kinds of message whose
//! body or coming matters: ReadyForQuery, CommandComplete, ErrorResponse, CopyInResponse, ParameterStatus.

use super::probe::Probe;

/// Type byte and length.
const HEADER: usize = 5;
/// The longest tag that matters: `PREPARE TRANSACTION` and its terminator.
const TAG: usize = 20;
/// A reported parameter longer than this is not recorded.
const MAX_PARAMETER: usize = 16 * 1024;

/// The state of the parser between two pieces. Allocates for ParameterStatus only.
///
/// The server nearly always sends whole messages, and the driver reads them with one read: those are looked at where
/// they lie. Only a message that a read has cut is kept, as far as it matters.
#[derive(Debug, Default)]
pub(super) struct Backend {
    header: [u8; HEADER],
    have: usize,
    /// Bytes of the cut message's body that have not come yet.
    left: usize,
    tag: [u8; TAG],
    tag_len: usize,
    parameter: Vec<u8>,
    /// The cut ParameterStatus is not recorded.
    too_long: bool,
    started: bool,
    parameter_changed: bool,
    rolled_back: bool,
}

impl Backend {
    /// Reads the next piece; `false` when it cannot be what a server sends.
    pub(super) fn feed(&mut self, mut bytes: &[u8], probe: &Probe) -> bool {
        loop {
            if self.have == 0 {
                while let Some((&[kind, a, b, c, d], behind)) = bytes.split_first_chunk::<HEADER>() {
                    let length = u32::from_be_bytes([a, b, c, d]) as usize;
                    let Some(length) = length.checked_sub(4) else { return false };
                    let Some((body, rest)) = behind.split_at_checked(length) else { break };
                    self.message(kind, body, probe);
                    bytes = rest;
                }
            }
            if bytes.is_empty() {
                return true;
            }
            let Some(rest) = self.piece(bytes, probe) else { return false };
            bytes = rest;
        }
    }

    /// Takes in bytes of a message that was cut, up to its end; gives what is behind it.
    #[cold]
    fn piece<'b>(&mut self, mut bytes: &'b [u8], probe: &Probe) -> Option<&'b [u8]> {
        if self.have < HEADER {
            let take = bytes.len().min(HEADER - self.have);
            self.header[self.have..self.have + take].copy_from_slice(&bytes[..take]);
            self.have += take;
            bytes = &bytes[take..];
            if self.have < HEADER {
                return Some(bytes);
            }
            let [_, a, b, c, d] = self.header;
            self.left = (u32::from_be_bytes([a, b, c, d]) as usize).checked_sub(4)?;
            self.tag_len = 0;
            self.too_long = false;
        }
        let take = bytes.len().min(self.left);
        self.keep(&bytes[..take]);
        self.left -= take;
        if self.left == 0 {
            self.have = 0;
            let (kind, tag, parameter) = (self.header[0], self.tag, std::mem::take(&mut self.parameter));
            let body = match kind {
                b'S' => &parameter[..],
                // What is longer than the room is not one of the tags that matter.
                _ => tag.get(..self.tag_len).unwrap_or_default(),
            };
            self.message(kind, body, probe);
        }
        Some(&bytes[take..])
    }

    fn keep(&mut self, piece: &[u8]) {
        match self.header[0] {
            b'Z' | b'C' => {
                let room = &mut self.tag[self.tag_len.min(TAG)..];
                let take = piece.len().min(room.len());
                room[..take].copy_from_slice(&piece[..take]);
                // Counts past the room, so that a longer tag is not mistaken for its beginning.
                self.tag_len = self.tag_len.saturating_add(piece.len());
            }
            // The length of the whole body: what has come of it, and what has not.
            b'S' if self.parameter.len() + self.left <= MAX_PARAMETER && !self.too_long => {
                self.parameter.extend_from_slice(piece);
            }
            b'S' => self.too_long = true,
            _ => {}
        }
    }

    /// A message is complete; of one that was cut, `body` is what was kept.
    #[inline(always)]
    fn message(&mut self, kind: u8, body: &[u8], probe: &Probe) {
        match kind {
            // Of another length than it has, it says nothing, however it came.
            b'Z' => self.ready(if let [status] = body { *status } else { 0 }, probe),
            b'C' => match body {
                b"COMMIT\0" | b"PREPARE TRANSACTION\0" => probe.on_end(true),
                // `ROLLBACK TO SAVEPOINT` has the same tag; the status byte that follows tells them apart.
                b"ROLLBACK\0" => self.rolled_back = true,
                _ => {}
            },
            // The server ignores a Sync while it copies in: the one behind Execute is never answered.
            b'G' => {
                probe.set_copying_in(true);
                probe.on_answered();
            }
            b'S' => self.parameter_status(body, probe),
            // The driver hands an error on before the status that follows it has come.
            b'E' => probe.on_error(),
            _ => {}
        }
    }

    fn ready(&mut self, status: u8, probe: &Probe) {
        if self.rolled_back && status == b'I' {
            probe.on_end(false);
        }
        self.rolled_back = false;
        if self.parameter_changed && status == b'I' {
            probe.settle_parameters();
            self.parameter_changed = false;
        }
        probe.on_ready(status);
        // The first one answers the start-up, which is not a request.
        if self.started {
            probe.on_answered();
        }
        self.started = true;
    }

    #[cold]
    fn parameter_status(&mut self, body: &[u8], probe: &Probe) {
        if body.len() > MAX_PARAMETER {
            return;
        }
        let mut parts = body.split(|byte| *byte == 0);
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            if !name.is_empty() {
                probe.on_parameter(
                    String::from_utf8_lossy(name).into_owned(),
                    String::from_utf8_lossy(value).into_owned(),
                );
                self.parameter_changed = true;
            }
        }
    }
}
