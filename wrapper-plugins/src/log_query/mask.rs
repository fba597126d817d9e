//! SQL without its literals.
//!
//! What lives here: a scanner that knows where literals and comments begin and end. What may not: a parser. When the
//! scanner is in doubt, the rest of the text is masked.

/// Whose literals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `"…"` is a name, `$tag$…$tag$` a text, comments nest.
    Postgres,
    /// `"…"` is a text, a backslash escapes, `#` begins a comment.
    MySql,
}

/// What stands for a literal.
const MASK: char = '?';

/// The text in one line, without literals and comments, cut after `limit` bytes.
pub(super) fn masked(sql: &str, syntax: Syntax, limit: usize) -> String {
    let mut scanner = Scanner { rest: sql, syntax, out: Line::new(limit), last: None };
    while !scanner.rest.is_empty() && !scanner.out.full {
        scanner.step();
    }
    scanner.out.text
}

/// The text in one line, cut after `limit` bytes.
pub(super) fn one_line(sql: &str, limit: usize) -> String {
    let mut out = Line::new(limit);
    for next in sql.chars() {
        out.push(next);
    }
    out.text
}

/// A line of limited length: runs of blanks and control characters become one space.
struct Line {
    text: String,
    limit: usize,
    full: bool,
}

impl Line {
    fn new(limit: usize) -> Self {
        Self { text: String::new(), limit, full: false }
    }

    fn push(&mut self, next: char) {
        let blank = next.is_whitespace() || next.is_control();
        if self.full || (blank && (self.text.is_empty() || self.text.ends_with(' '))) {
            return;
        }
        let next = if blank { ' ' } else { next };
        if self.text.len() + next.len_utf8() > self.limit {
            self.full = true;
            self.text.push('…');
        } else {
            self.text.push(next);
        }
    }
}

struct Scanner<'a> {
    rest: &'a str,
    syntax: Syntax,
    out: Line,
    /// The character before `rest`.
    last: Option<char>,
}

impl Scanner<'_> {
    fn step(&mut self) {
        let Some(next) = self.rest.chars().next() else { return };
        let mysql = self.syntax == Syntax::MySql;
        match next {
            '\'' => self.literal('\''),
            '"' if mysql => self.literal('"'),
            '"' => self.name('"'),
            '`' if mysql => self.name('`'),
            '$' if !mysql && !self.in_word() => self.dollar(),
            '#' if mysql => self.line_comment(),
            '-' if self.begins_dashes() => self.line_comment(),
            '/' if self.rest.starts_with("/*") => self.block_comment(),
            digit if digit.is_ascii_digit() && !self.in_word() => self.number(),
            _ => self.copy(next.len_utf8()),
        }
    }

    /// Whether the character before is part of a name.
    fn in_word(&self) -> bool {
        self.last.is_some_and(|last| last.is_alphanumeric() || matches!(last, '_' | '$'))
    }

    fn begins_dashes(&self) -> bool {
        let Some(after) = self.rest.strip_prefix("--") else { return false };
        self.syntax == Syntax::Postgres
            || after.chars().next().is_none_or(|c| c.is_whitespace() || c.is_control())
    }

    /// Passes `bytes` on.
    fn copy(&mut self, bytes: usize) {
        let (seen, rest) = self.rest.split_at(bytes);
        for next in seen.chars() {
            self.out.push(next);
        }
        self.last = seen.chars().next_back().or(self.last);
        self.rest = rest;
    }

    /// Leaves `bytes` out; `stands` takes their place.
    fn skip(&mut self, bytes: usize, stands: char) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
        self.out.push(stands);
        self.last = Some(stands);
    }

    fn skip_rest(&mut self) {
        self.skip(self.rest.len(), MASK);
    }

    /// A quoted text. A doubled quote is part of it; a backslash where it escapes.
    fn literal(&mut self, quote: char) {
        let escapes = self.syntax == Syntax::MySql || self.is_escape_string();
        let mut chars = self.rest.char_indices().skip(1).peekable();
        while let Some((at, next)) = chars.next() {
            if next == '\\' {
                let followed = chars.peek().map(|(_, after)| *after);
                if escapes {
                    chars.next();
                } else if followed == Some(quote) {
                    // With `standard_conforming_strings=off` the text goes on here, otherwise it ends.
                    return self.skip_rest();
                }
            } else if next == quote {
                if chars.peek().is_some_and(|(_, after)| *after == quote) {
                    chars.next();
                } else {
                    return self.skip(at + next.len_utf8(), MASK);
                }
            }
        }
        self.skip_rest();
    }

    /// Whether the quote that follows begins an `E'…'`.
    fn is_escape_string(&self) -> bool {
        let mut before = self.out.text.chars().rev();
        matches!(before.next(), Some('e' | 'E'))
            && !before.next().is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$'))
    }

    /// A quoted name is passed on.
    fn name(&mut self, quote: char) {
        let mut chars = self.rest.char_indices().skip(1).peekable();
        while let Some((at, next)) = chars.next() {
            if next == quote {
                if chars.peek().is_some_and(|(_, after)| *after == quote) {
                    chars.next();
                } else {
                    return self.copy(at + 1);
                }
            }
        }
        self.skip_rest();
    }

    /// A text between `$tag$` and `$tag$`, or a parameter such as `$1`.
    fn dollar(&mut self) {
        let tag_end = self.rest[1..].find(|c: char| !c.is_alphanumeric() && c != '_').map(|at| at + 1);
        let tag = tag_end
            .filter(|end| self.rest[*end..].starts_with('$'))
            .filter(|_| !self.rest[1..].starts_with(|c: char| c.is_ascii_digit()))
            .map(|end| &self.rest[..=end]);
        match tag {
            Some(tag) => {
                let len = tag.len();
                match self.rest[len..].find(tag) {
                    Some(end) => self.skip(len + end + len, MASK),
                    None => self.skip_rest(),
                }
            }
            None => self.copy(tag_end.unwrap_or(self.rest.len())),
        }
    }

    fn number(&mut self) {
        let mut end = 0;
        let mut before = ' ';
        for next in self.rest.chars() {
            let exponent = matches!(next, '+' | '-') && matches!(before, 'e' | 'E');
            if !(next.is_alphanumeric() || matches!(next, '.' | '_') || exponent) {
                break;
            }
            end += next.len_utf8();
            before = next;
        }
        self.skip(end, MASK);
    }

    fn line_comment(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.skip(end, ' ');
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        let mut at = 0;
        while at < self.rest.len() {
            let left = &self.rest.as_bytes()[at..];
            if left.starts_with(b"/*") && (depth == 0 || self.syntax == Syntax::Postgres) {
                depth += 1;
                at += 2;
            } else if left.starts_with(b"*/") {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return self.skip(at, ' ');
                }
            } else {
                at += 1;
            }
        }
        self.skip_rest();
    }
}
