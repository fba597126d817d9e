//! MySQL's statements in pieces: as much of the lexical rules as is needed to leave strings and comments alone.

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word, quoted or not.
    Word,
    /// A system variable with its `@@` and scope.
    Variable,
    /// A string.
    Text,
    /// Anything else, one character each.
    Sign,
}

/// One piece of a statement.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
    /// In lower case, a word without its quotes.
    pub(super) lower: String,
}

impl Token {
    /// Whether it is this word or sign, in any case.
    pub(super) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Sign) && self.lower == text
    }
}

/// Takes a statement apart; blanks and comments are left out.
pub(super) fn tokens(sql: &str) -> Vec<Token> {
    let bytes = sql.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or_default();
    let mut tokens = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let (kind, end) = match at(start) {
            byte if byte.is_ascii_whitespace() => (None, start + 1),
            b'#' => (None, line_end(bytes, start)),
            b'-' if at(start + 1) == b'-'
                && (at(start + 2).is_ascii_whitespace() || start + 2 >= bytes.len()) =>
            {
                (None, line_end(bytes, start))
            }
            // Text in `/*! … */` is run by the server, but no metadata query uses it.
            b'/' if at(start + 1) == b'*' => {
                let end = sql[start..].find("*/").map_or(bytes.len(), |end| start + end + 2);
                (None, end)
            }
            quote @ (b'\'' | b'"') => (Some(Kind::Text), quoted_end(bytes, start, quote)),
            b'`' => (Some(Kind::Word), quoted_end(bytes, start, b'`')),
            b'@' if at(start + 1) == b'@' => (Some(Kind::Variable), name_end(bytes, start + 2, b".")),
            // A user's variable.
            b'@' if at(start + 1) == b'`' => (Some(Kind::Text), quoted_end(bytes, start + 1, b'`')),
            b'@' => (Some(Kind::Text), name_end(bytes, start + 1, b".")),
            byte if is_name(byte) => (Some(Kind::Word), name_end(bytes, start, b"")),
            _ => (Some(Kind::Sign), start + 1),
        };
        if let Some(kind) = kind {
            let lower = sql[start..end].to_ascii_lowercase();
            let lower = if kind == Kind::Word { lower.trim_matches('`').to_owned() } else { lower };
            tokens.push(Token { kind, start, end, lower });
        }
        start = end;
    }
    tokens
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn name_end(bytes: &[u8], start: usize, more: &[u8]) -> usize {
    let rest = bytes[start..].iter().position(|byte| !is_name(*byte) && !more.contains(byte));
    rest.map_or(bytes.len(), |length| start + length)
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    bytes[start..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| start + length)
}

/// Behind the closing quote; a doubled quote and, in strings, a backslash keep it open.
fn quoted_end(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut index = start + 1;
    while let Some(&byte) = bytes.get(index) {
        index += 1;
        if byte == b'\\' && quote != b'`' {
            index += 1;
        } else if byte == quote {
            if bytes.get(index) != Some(&quote) {
                return index;
            }
            index += 1;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_stay_whole() {
        let sql = "SELECT 'it''s \\' @@a', \"b\"  /* @@c */ , `D e` -- @@f\n, @@global.g#h";
        let found: Vec<(Kind, &str)> =
            tokens(sql).iter().map(|token| (token.kind, &sql[token.start..token.end])).collect();
        let expected = [
            (Kind::Word, "SELECT"),
            (Kind::Text, "'it''s \\' @@a'"),
            (Kind::Sign, ","),
            (Kind::Text, "\"b\""),
            (Kind::Sign, ","),
            (Kind::Word, "`D e`"),
            (Kind::Sign, ","),
            (Kind::Variable, "@@global.g"),
        ];
        assert_eq!(found, expected);
        assert_eq!(tokens("'open").len(), 1);
        assert_eq!(tokens("ä@@b€").len(), 2);
    }
}
