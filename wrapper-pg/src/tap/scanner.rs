//! Finds the first word of each statement in SQL text that arrives in pieces.
//!
//! What lives here: [`Scanner`] and the [`Effect`] a statement has on transactions. What may not: a full
//! tokenizer (session state has one); here a `;` inside a string counts as the end of a statement, which can only
//! make the answer more careful.

use std::ops::BitOr;

/// What a request may do to the transaction status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect(u8);

impl Effect {
    /// Neither begins nor ends a transaction.
    pub(crate) const NONE: Self = Self(0);
    /// May begin a transaction.
    pub(crate) const OPENS: Self = Self(1);
    /// May end a transaction.
    pub(crate) const ENDS: Self = Self(2);
    /// Both.
    #[cfg(test)]
    pub(crate) const UNCLEAR: Self = Self(3);

    pub(crate) fn opens(self) -> bool {
        self.0 & Self::OPENS.0 != 0
    }

    pub(crate) fn ends(self) -> bool {
        self.0 & Self::ENDS.0 != 0
    }

    /// The effect of complete SQL text of one or several statements.
    pub(crate) fn of(sql: &str) -> Self {
        let mut scanner = Scanner::new(true);
        scanner.feed(sql.as_bytes()) | scanner.finish()
    }
}

impl BitOr for Effect {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first word of a statement.
    Start,
    /// After a `-` before the first word.
    Dash,
    LineComment,
    /// After a `/` before the first word.
    Slash,
    /// In a comment that nests; the last byte decides whether a delimiter is complete.
    Block {
        depth: u32,
        last: u8,
    },
    Word,
    /// After the first word.
    Body,
}

/// Longest word that matters, `ROLLBACK`, and one more to tell a longer word from it.
const WORD: usize = 9;

/// The state of a scan between two pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scanner {
    state: State,
    word: [u8; WORD],
    len: usize,
    several: bool,
}

impl Scanner {
    /// `several`: the text may hold more than one statement (simple query protocol).
    pub(crate) fn new(several: bool) -> Self {
        Self { state: State::Start, word: [0; WORD], len: 0, several }
    }

    /// Scans the next piece and gives the effect of the words that ended in it.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Effect {
        let mut effect = Effect::NONE;
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.state == State::Body {
                // The long part of a statement: look for its end only.
                match bytes.iter().position(|byte| *byte == b';') {
                    Some(end) if self.several => {
                        self.state = State::Start;
                        bytes = &bytes[end + 1..];
                        continue;
                    }
                    _ => return effect,
                }
            }
            effect = effect | self.step(byte);
            bytes = rest;
        }
        effect
    }

    /// The text has ended; gives the effect of a word that nothing followed.
    pub(crate) fn finish(&mut self) -> Effect {
        let effect = if self.state == State::Word { self.classify() } else { Effect::NONE };
        self.state = State::Body;
        effect
    }

    fn step(&mut self, byte: u8) -> Effect {
        let mut effect = Effect::NONE;
        self.state = match self.state {
            State::Start => self.start(byte),
            State::Dash if byte == b'-' => State::LineComment,
            State::LineComment if byte == b'\n' || byte == b'\r' => State::Start,
            State::LineComment => State::LineComment,
            State::Slash if byte == b'*' => State::Block { depth: 1, last: 0 },
            State::Block { depth, last } => match (last, byte) {
                (b'*', b'/') if depth == 1 => State::Start,
                (b'*', b'/') => State::Block { depth: depth - 1, last: 0 },
                (b'/', b'*') => State::Block { depth: depth + 1, last: 0 },
                _ => State::Block { depth, last: byte },
            },
            State::Word if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 => {
                self.push(byte);
                State::Word
            }
            State::Word => {
                effect = self.classify();
                if byte == b';' && self.several { State::Start } else { State::Body }
            }
            State::Dash | State::Slash | State::Body => State::Body,
        };
        effect
    }

    fn start(&mut self, byte: u8) -> State {
        match byte {
            b'-' => State::Dash,
            b'/' => State::Slash,
            b';' => State::Start,
            _ if byte.is_ascii_whitespace() || byte == 0x0b || byte == 0 => State::Start,
            _ if byte.is_ascii_alphabetic() => {
                self.len = 0;
                self.push(byte);
                State::Word
            }
            _ => State::Body,
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.word.get_mut(self.len) {
            *place = byte.to_ascii_uppercase();
            self.len += 1;
        }
    }

    fn classify(&self) -> Effect {
        match &self.word[..self.len] {
            b"BEGIN" | b"START" => Effect::OPENS,
            b"COMMIT" | b"END" | b"ROLLBACK" | b"ABORT" | b"PREPARE" => Effect::ENDS,
            _ => Effect::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[(&str, Effect)] = &[
        ("BEGIN", Effect::OPENS),
        ("begin;", Effect::OPENS),
        ("  -- note\nBegin isolation level serializable", Effect::OPENS),
        ("/* a /* nested */ b */start transaction", Effect::OPENS),
        ("START_REPLICATION SLOT x", Effect::NONE),
        ("commit", Effect::ENDS),
        ("END", Effect::ENDS),
        ("ENDING", Effect::NONE),
        ("ROLLBACKS", Effect::NONE),
        ("rollback to savepoint a", Effect::ENDS),
        ("abort;", Effect::ENDS),
        ("prepare transaction 'x'", Effect::ENDS),
        ("BEGIN; INSERT INTO t VALUES (1); COMMIT", Effect::UNCLEAR),
        ("INSERT INTO t VALUES (1); COMMIT", Effect::ENDS),
        ("select 1", Effect::NONE),
        ("SELECT 1; -- end\nSELECT 2", Effect::NONE),
        ("", Effect::NONE),
        (";;;", Effect::NONE),
        ("(select 1)", Effect::NONE),
        ("-1; commit", Effect::ENDS),
        ("beginne", Effect::NONE),
        ("BEGINÄ", Effect::NONE),
    ];

    #[test]
    fn every_row_holds_at_every_split() {
        for (sql, expected) in TABLE {
            let bytes = sql.as_bytes();
            for at in 0..=bytes.len() {
                let mut scanner = Scanner::new(true);
                let effect = scanner.feed(&bytes[..at]) | scanner.feed(&bytes[at..]) | scanner.finish();
                assert_eq!(effect, *expected, "{sql:?} split at {at}");
            }
        }
    }

    #[test]
    fn a_single_statement_ends_at_its_first_word() {
        let mut scanner = Scanner::new(false);
        assert_eq!(scanner.feed(b"SELECT 1; COMMIT") | scanner.finish(), Effect::NONE);
    }
}
