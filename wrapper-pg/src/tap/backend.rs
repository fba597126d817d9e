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
#[derive(Debug, Default)]
pub(super) struct Backend {
    header: [u8; HEADER],
    have: usize,
    /// Bytes of the current body that have not come yet.
    left: usize,
    tag: [u8; TAG],
    tag_len: usize,
    parameter: Vec<u8>,
    started: bool,
    parameter_changed: bool,
    rolled_back: bool,
}

impl Backend {
    /// Reads the next piece; `false` when it cannot be what a server sends.
    pub(super) fn feed(&mut self, mut bytes: &[u8], probe: &Probe) -> bool {
        while !bytes.is_empty() {
            if self.have < HEADER {
                let take = bytes.len().min(HEADER - self.have);
                self.header[self.have..self.have + take].copy_from_slice(&bytes[..take]);
                self.have += take;
                bytes = &bytes[take..];
                if self.have < HEADER {
                    return true;
                }
                let [_, a, b, c, d] = self.header;
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                let Some(left) = length.checked_sub(4) else { return false };
                self.left = left;
                self.tag_len = 0;
            } else {
                let take = bytes.len().min(self.left);
                self.body(&bytes[..take]);
                self.left -= take;
                bytes = &bytes[take..];
            }
            if self.left == 0 {
                self.complete(probe);
                self.have = 0;
            }
        }
        true
    }

    fn body(&mut self, piece: &[u8]) {
        match self.header[0] {
            b'Z' | b'C' => {
                let room = &mut self.tag[self.tag_len.min(TAG)..];
                let take = piece.len().min(room.len());
                room[..take].copy_from_slice(&piece[..take]);
                // Counts past the room, so that a longer tag is not mistaken for its beginning.
                self.tag_len = self.tag_len.saturating_add(piece.len());
            }
            b'S' if self.parameter.len() + self.left <= MAX_PARAMETER => {
                self.parameter.extend_from_slice(piece);
            }
            _ => {}
        }
    }

    fn complete(&mut self, probe: &Probe) {
        match self.header[0] {
            b'Z' => self.ready(probe),
            b'C' => match self.tag.get(..self.tag_len) {
                Some(b"COMMIT\0" | b"PREPARE TRANSACTION\0") => probe.on_end(true),
                // `ROLLBACK TO SAVEPOINT` has the same tag; the status byte that follows tells them apart.
                Some(b"ROLLBACK\0") => self.rolled_back = true,
                _ => {}
            },
            // The server ignores a Sync while it copies in: the one behind Execute is never answered.
            b'G' => {
                probe.set_copying_in(true);
                probe.on_answered();
            }
            b'S' => self.parameter_status(probe),
            // The driver hands an error on before the status that follows it has come.
            b'E' => probe.on_error(),
            _ => {}
        }
    }

    fn ready(&mut self, probe: &Probe) {
        let status = self.tag[0];
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

    fn parameter_status(&mut self, probe: &Probe) {
        let mut parts = self.parameter.split(|byte| *byte == 0);
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            if !name.is_empty() {
                probe.on_parameter(
                    String::from_utf8_lossy(name).into_owned(),
                    String::from_utf8_lossy(value).into_owned(),
                );
                self.parameter_changed = true;
            }
        }
        self.parameter.clear();
    }
}
