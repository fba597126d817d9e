//! Reads along with what the client sends.
//!
//! What lives here: [`Frontend`], an incremental parser that counts requests and recognises the ones that may begin
//! or end a transaction, also when they run through a prepared statement.

use super::probe::Probe;
use super::scanner::{Effect, Scanner};

const HEADER: usize = 5;
/// Length and code: the head of the messages that have no type byte.
const OPENING: usize = 8;
const CODE_TLS: u32 = 80_877_103;
const CODE_GSS: u32 = 80_877_104;
const CODE_CANCEL: u32 = 80_877_102;
/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// The driver names its statements `s` and a number; a longer name is somebody else's.
const NAME: usize = 24;

/// What the first message of a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Not complete yet.
    More,
    /// Asks whether the server speaks TLS.
    AskTls,
    /// Starts a session.
    Startup,
    /// TLS at once, or a message after which there is no session.
    Foreign,
}

/// Which part of a message's body comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Skip,
    QueryText,
    ParseName,
    ParseText,
    BindPortal,
    BindName,
    CloseKind,
    CloseName,
}

/// A statement's name in pieces.
#[derive(Clone, Copy, Debug, Default)]
struct Name {
    bytes: [u8; NAME],
    len: usize,
}

impl Name {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
        }
        self.len += 1;
    }

    /// `None` when it is too long to be kept.
    fn get(&self) -> Option<&[u8]> {
        self.bytes.get(..self.len)
    }
}

/// The state of the parser between two pieces. Allocates only for a prepared BEGIN, COMMIT or the like.
///
/// The driver writes whole messages: of those, in the steady state, only the heads are looked at. What lies in a body
/// matters for text, and for names as long as a statement is prepared that begins or ends a transaction.
#[derive(Debug)]
pub(super) struct Frontend {
    header: [u8; OPENING],
    have: usize,
    left: usize,
    part: Part,
    name: Name,
    close_kind: u8,
    scanner: Scanner,
    /// The number of the request being written, between its first message and its Sync.
    request: Option<u64>,
    /// The effect of the statement whose text is being written.
    parsing: Effect,
    unnamed: Effect,
    prepared: Vec<(Box<[u8]>, Effect)>,
    /// What statements may do whose names are too long to be kept.
    unnameable: Effect,
}

impl Default for Frontend {
    fn default() -> Self {
        Self {
            header: [0; OPENING],
            have: 0,
            left: 0,
            part: Part::Skip,
            name: Name::default(),
            close_kind: 0,
            scanner: Scanner::new(false),
            request: None,
            parsing: Effect::NONE,
            unnamed: Effect::NONE,
            prepared: Vec::new(),
            unnameable: Effect::NONE,
        }
    }
}

impl Frontend {
    /// Reads the head of a message without type byte; gives what it is and the bytes behind the head.
    pub(super) fn open<'b>(&mut self, bytes: &'b [u8]) -> (Opening, &'b [u8]) {
        if self.have == 0 && bytes.first() == Some(&TLS_HANDSHAKE) {
            return (Opening::Foreign, &[]);
        }
        let take = bytes.len().min(OPENING - self.have);
        self.header[self.have..self.have + take].copy_from_slice(&bytes[..take]);
        self.have += take;
        if self.have < OPENING {
            return (Opening::More, &[]);
        }
        self.have = 0;
        let [a, b, c, d, e, f, g, h] = self.header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let opening = match u32::from_be_bytes([e, f, g, h]) {
            CODE_TLS => Opening::AskTls,
            CODE_GSS | CODE_CANCEL => Opening::Foreign,
            _ if length < OPENING => Opening::Foreign,
            _ => {
                // The parameters of the start-up are the body of a message that is skipped.
                self.left = length - OPENING;
                self.have = if self.left == 0 { 0 } else { HEADER };
                self.header[0] = 0;
                self.part = Part::Skip;
                Opening::Startup
            }
        };
        (opening, &bytes[take..])
    }

    /// Where in `bytes` the first end of a COPY stands, with its Sync, and how long both are.
    ///
    /// The driver sends one also when the server has refused the COPY, or has not answered yet. The server answers the
    /// Sync, the driver does not count on it, and every later call gets the answer of the one before it. So these bytes
    /// must not be sent outside of a COPY.
    pub(super) fn copy_end(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        // Inside of a message: what is left of it is not looked at.
        let mut at = match self.have {
            0 => 0,
            HEADER => self.left,
            _ => return None,
        };
        loop {
            let head = bytes.get(at..at.checked_add(HEADER)?)?;
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let end = at.checked_add(length)?.checked_add(1)?;
            if matches!(head[0], b'c' | b'f') {
                let sync = bytes.get(end..end.checked_add(HEADER)?)?;
                return (sync == [b'S', 0, 0, 0, 4]).then_some((at, end + HEADER - at));
            }
            at = end;
        }
    }

    /// Reads the next piece; `false` when it cannot be what a client sends.
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

    /// A message that was written whole.
    #[inline(always)]
    fn message(&mut self, kind: u8, body: &[u8], probe: &Probe) {
        match kind {
            b'E' | b'D' => self.count(probe),
            b'S' => {
                self.count(probe);
                self.request = None;
            }
            b'B' if !self.knows_effects() => self.count(probe),
            b'd' => {}
            _ => self.read_whole(kind, body, probe),
        }
    }

    #[cold]
    fn read_whole(&mut self, kind: u8, body: &[u8], probe: &Probe) {
        self.begin(kind, probe);
        self.body(body, probe);
        self.complete(kind, probe);
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
            let [kind, a, b, c, d, ..] = self.header;
            self.left = (u32::from_be_bytes([a, b, c, d]) as usize).checked_sub(4)?;
            self.begin(kind, probe);
        }
        let take = bytes.len().min(self.left);
        self.body(&bytes[..take], probe);
        self.left -= take;
        if self.left == 0 {
            self.have = 0;
            self.complete(self.header[0], probe);
        }
        Some(&bytes[take..])
    }

    /// Numbers the request that a message of its belongs to, when it is the first one.
    #[inline]
    fn count(&mut self, probe: &Probe) {
        if self.request.is_none() {
            self.request = Some(probe.on_request());
        }
    }

    fn begin(&mut self, kind: u8, probe: &Probe) {
        if matches!(kind, b'Q' | b'F' | b'P' | b'B' | b'D' | b'E' | b'C' | b'S') {
            self.count(probe);
        }
        self.name = Name::default();
        self.part = match kind {
            b'Q' => {
                self.scanner = Scanner::new(true);
                Part::QueryText
            }
            b'P' => {
                self.scanner = Scanner::new(false);
                self.parsing = Effect::NONE;
                Part::ParseName
            }
            b'B' => Part::BindPortal,
            b'C' => Part::CloseKind,
            _ => Part::Skip,
        };
    }

    fn body(&mut self, mut piece: &[u8], probe: &Probe) {
        while let Some((&byte, rest)) = piece.split_first() {
            self.part = match self.part {
                Part::Skip => return,
                Part::QueryText => {
                    let effect = self.scanner.feed(piece);
                    self.note(effect, probe);
                    return;
                }
                Part::ParseText => {
                    self.parsing = self.parsing | self.scanner.feed(piece);
                    return;
                }
                Part::ParseName if byte == 0 => Part::ParseText,
                Part::BindPortal if byte == 0 => Part::BindName,
                Part::BindPortal => Part::BindPortal,
                Part::BindName if byte == 0 => {
                    let effect = self.effect_of_bound();
                    self.note(effect, probe);
                    Part::Skip
                }
                Part::CloseKind => {
                    self.close_kind = byte;
                    Part::CloseName
                }
                Part::CloseName if byte == 0 => {
                    self.forget();
                    Part::Skip
                }
                part => {
                    self.name.push(byte);
                    part
                }
            };
            piece = rest;
        }
    }

    fn complete(&mut self, kind: u8, probe: &Probe) {
        match kind {
            b'Q' => {
                let effect = self.scanner.finish();
                self.note(effect, probe);
                self.request = None;
            }
            b'P' => {
                let effect = self.parsing | self.scanner.finish();
                self.remember(effect);
            }
            b'S' | b'F' => self.request = None,
            b'c' | b'f' => probe.set_copying_in(false),
            _ => {}
        }
    }

    fn note(&self, effect: Effect, probe: &Probe) {
        if let (Some(request), true) = (self.request, effect != Effect::NONE) {
            probe.on_effect(request, effect);
        }
    }

    fn remember(&mut self, effect: Effect) {
        match self.name.get() {
            Some(b"") => self.unnamed = effect,
            Some(name) => {
                self.prepared.retain(|(known, _)| &**known != name);
                if effect != Effect::NONE {
                    self.prepared.push((name.into(), effect));
                }
            }
            None => self.unnameable = self.unnameable | effect,
        }
    }

    /// Whether what a Bind names can have an effect.
    #[inline]
    fn knows_effects(&self) -> bool {
        !self.prepared.is_empty() || (self.unnamed | self.unnameable) != Effect::NONE
    }

    fn effect_of_bound(&self) -> Effect {
        match self.name.get() {
            Some(b"") => self.unnamed,
            Some(name) => self
                .prepared
                .iter()
                .find(|(known, _)| &**known == name)
                .map_or(Effect::NONE, |(_, effect)| *effect),
            None => self.unnameable,
        }
    }

    fn forget(&mut self) {
        if self.close_kind == b'S' && !self.prepared.is_empty() {
            if let Some(name) = self.name.get() {
                self.prepared.retain(|(known, _)| &**known != name);
            }
        }
    }
}
