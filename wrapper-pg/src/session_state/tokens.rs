//! Splits SQL text into statements and those into tokens, as PostgreSQL does: strings with all their prefixes, dollar
//! quotes, quoted names, nested comments.
//!
//! What lives here: [`statements`]. What may not: what a statement means.

/// What kind of token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword, an unquoted name or a number.
    Word,
    /// A name in double quotes.
    Quoted,
    /// A string in any of its forms.
    Text,
    /// Any other character.
    Symbol,
}

/// A piece of a statement, as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
}

impl Token<'_> {
    /// Whether it is this keyword.
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    /// What it names: the content of a quoted name, an unquoted one in lower case.
    pub(super) fn name(&self) -> String {
        match self.kind {
            Kind::Quoted => {
                let inner = self.text.strip_prefix('"').unwrap_or(self.text);
                inner.strip_suffix('"').unwrap_or(inner).replace("\"\"", "\"")
            }
            _ => self.text.to_ascii_lowercase(),
        }
    }
}

/// The statements of `sql`, without comments and without empty ones.
pub(super) fn statements(sql: &str) -> Vec<Vec<Token<'_>>> {
    let mut all = Vec::new();
    let mut current = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let (length, kind) = match first {
            c if c.is_whitespace() => (c.len_utf8(), None),
            '-' if rest.starts_with("--") => (rest.find(['\n', '\r']).unwrap_or(rest.len()), None),
            '/' if rest.starts_with("/*") => (block_comment(rest), None),
            '\'' => (string(rest, false), Some(Kind::Text)),
            '"' => (delimited(rest, b'"', false), Some(Kind::Quoted)),
            '$' => match dollar_quote(rest) {
                Some(length) => (length, Some(Kind::Text)),
                None => (1, Some(Kind::Symbol)),
            },
            c if is_word(c) => word_or_prefixed(rest),
            ';' => {
                if !current.is_empty() {
                    all.push(std::mem::take(&mut current));
                }
                (1, None)
            }
            c => (c.len_utf8(), Some(Kind::Symbol)),
        };
        let (text, after) = rest.split_at(length);
        if let Some(kind) = kind {
            current.push(Token { kind, text });
        }
        rest = after;
    }
    if !current.is_empty() {
        all.push(current);
    }
    all
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || !c.is_ascii()
}

/// A word, or a string that a letter before its quote says how to read.
fn word_or_prefixed(rest: &str) -> (usize, Option<Kind>) {
    let bytes = rest.as_bytes();
    match (bytes[0].to_ascii_lowercase(), bytes.get(1), bytes.get(2)) {
        (b'e', Some(b'\''), _) => return (1 + string(&rest[1..], true), Some(Kind::Text)),
        (b'b' | b'x' | b'n', Some(b'\''), _) => return (1 + string(&rest[1..], false), Some(Kind::Text)),
        (b'u', Some(b'&'), Some(b'\'')) => return (2 + string(&rest[2..], false), Some(Kind::Text)),
        (b'u', Some(b'&'), Some(b'"')) => {
            return (2 + delimited(&rest[2..], b'"', false), Some(Kind::Quoted));
        }
        _ => {}
    }
    // A dollar sign is part of a word that it does not begin.
    (rest.find(|c| !is_word(c) && c != '$').unwrap_or(rest.len()), Some(Kind::Word))
}

fn string(rest: &str, escapes: bool) -> usize {
    delimited(rest, b'\'', escapes)
}

/// The length of what begins and ends with `quote`; two of them inside stand for one. Unterminated: the rest.
fn delimited(rest: &str, quote: u8, escapes: bool) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while let Some(&byte) = bytes.get(at) {
        if escapes && byte == b'\\' {
            at += 2;
        } else if byte != quote {
            at += 1;
        } else if bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    rest.len()
}

fn block_comment(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut at, mut depth) = (2, 1);
    while at < bytes.len() {
        match &bytes[at..bytes.len().min(at + 2)] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a dollar-quoted string; `None` when the dollar sign begins none.
fn dollar_quote(rest: &str) -> Option<usize> {
    let tag = rest[1..].find('$')? + 2;
    let name = &rest[1..tag - 1];
    if !name.chars().all(is_word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let delimiter = &rest[..tag];
    Some(rest[tag..].find(delimiter).map_or(rest.len(), |end| tag + end + tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<Vec<&str>> {
        statements(sql)
            .into_iter()
            .map(|tokens| tokens.into_iter().map(|token| token.text).collect())
            .collect()
    }

    #[test]
    fn a_semicolon_separates_only_outside_of_quotes_and_comments() {
        let one = [
            "SELECT 'a;b'",
            "SELECT 'it''s; fine'",
            r"SELECT E'a\';b'",
            r"SELECT 'a\', 1",
            "SELECT U&'d;\\0061'",
            "SELECT \"a;\"\"b\"",
            "SELECT $$a;b$$",
            "SELECT $tag$ a; $$ ; $tag$",
            "SELECT 1 -- a;b",
            "SELECT /* a; /* b; */ c; */ 1",
            "SELECT a$1;",
            "SELECT 'open;",
            "SELECT $x$ open;",
            "/* open ; ",
        ];
        for sql in one {
            assert!(statements(sql).len() <= 1, "{sql}: {:?}", texts(sql));
        }
        assert_eq!(
            texts("SET a = 1; SET b TO 'x;y';;"),
            [vec!["SET", "a", "=", "1"], vec!["SET", "b", "TO", "'x;y'"]]
        );
        assert_eq!(texts("SELECT $1; SELECT 2").len(), 2);
        assert_eq!(texts("SELECT $1$ ; $1$").len(), 2, "a tag does not begin with a digit");
    }

    #[test]
    fn names_are_read_as_the_server_reads_them() {
        let tokens = statements("\"My\"\"Role\" MyRole Straße");
        let names: Vec<_> = tokens[0].iter().map(Token::name).collect();
        assert_eq!(names, ["My\"Role", "myrole", "straße"]);
    }

    #[test]
    fn no_split_of_a_text_panics() {
        let sql = "SET a = E'x\\'é'; $é$ ü $é$ /* ö /* */ */ U&\"ä\" --ß\n'";
        for (start, _) in sql.char_indices() {
            for (end, _) in sql.char_indices().filter(|(end, _)| *end >= start) {
                statements(&sql[start..end]);
            }
        }
    }
}
