//! A text taken apart: statements, and their words. Knows quotes and comments, no grammar.

/// One word, number, quoted text or sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    /// As it stands in the text, quotes included.
    pub(crate) text: &'a str,
    /// Where it begins in the text.
    pub(crate) at: usize,
}

impl<'a> Token<'a> {
    /// Whether it is this bare word, in any case.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is a text in `'` or `"`.
    pub(crate) fn is_quoted(&self) -> bool {
        self.text.starts_with(['\'', '"'])
    }

    /// A name without its backticks.
    pub(crate) fn name(&self) -> &'a str {
        self.text.strip_prefix('`').and_then(|text| text.strip_suffix('`')).unwrap_or(self.text)
    }

    /// Where it ends in the text.
    pub(crate) fn end(&self) -> usize {
        self.at + self.text.len()
    }
}

/// The statements of a text, each as its tokens; empty ones are left out. What a comment for the server alone holds
/// (`/*! … */`) counts as text, as the server reads it.
pub(crate) fn statements(sql: &str) -> Vec<Vec<Token<'_>>> {
    let mut found = Vec::new();
    let mut current = Vec::new();
    let mut at = 0;
    while let Some(token) = next(sql, &mut at) {
        if token.text == ";" {
            if !current.is_empty() {
                found.push(std::mem::take(&mut current));
            }
        } else {
            current.push(token);
        }
    }
    if !current.is_empty() {
        found.push(current);
    }
    found
}

fn next<'a>(sql: &'a str, at: &mut usize) -> Option<Token<'a>> {
    loop {
        let rest = &sql[*at..];
        let first = rest.chars().next()?;
        if first.is_whitespace() {
            *at += first.len_utf8();
            continue;
        }
        if let Some(skipped) = comment(rest) {
            *at += skipped;
            continue;
        }
        let length = match first {
            '\'' | '"' | '`' => quoted(rest, first),
            c if is_word(c) || c == '@' => {
                rest.find(|c: char| !(is_word(c) || c == '@' || c == '.')).unwrap_or(rest.len())
            }
            ':' if rest.starts_with(":=") => 2,
            c => c.len_utf8(),
        };
        let token = Token { text: &rest[..length], at: *at };
        *at += length;
        return Some(token);
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

/// How much of `rest` is a comment, or the rim of one that the server reads.
fn comment(rest: &str) -> Option<usize> {
    let line = || rest.find('\n').map_or(rest.len(), |end| end + 1);
    if rest.starts_with('#') {
        return Some(line());
    }
    if let Some(after) = rest.strip_prefix("--") {
        return (after.is_empty() || after.starts_with(char::is_whitespace)).then(line);
    }
    if rest.starts_with("*/") {
        return Some(2);
    }
    let body = rest.strip_prefix("/*")?;
    let server = body.strip_prefix("M!").or_else(|| body.strip_prefix('!'));
    if let Some(text) = server {
        let version = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        return Some(rest.len() - text.len() + version);
    }
    Some(body.find("*/").map_or(rest.len(), |end| end + 4))
}

/// The length of a text in quotes: doubled ones and, but in backticks, those behind a backslash do not end it.
fn quoted(rest: &str, quote: char) -> usize {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((index, c)) = chars.next() {
        if c == '\\' && quote != '`' {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => {
                    chars.next();
                }
                _ => return index + 1,
            }
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(sql: &str) -> Vec<Vec<&str>> {
        statements(sql).iter().map(|tokens| tokens.iter().map(|token| token.text).collect()).collect()
    }

    #[test]
    fn statements_are_taken_apart_outside_quotes_and_comments() {
        assert_eq!(
            words("SET a='x;''y\\';', b:=2;; USE `my;db` -- ; c\n# d;\n;/* e; */"),
            [vec!["SET", "a", "=", "'x;''y\\';'", ",", "b", ":=", "2"], vec!["USE", "`my;db`"]]
        );
        assert_eq!(words("SET @@session.sql_mode=''"), [["SET", "@@session.sql_mode", "=", "''"]]);
        assert_eq!(words("/*!40101 SET NAMES utf8 */"), [["SET", "NAMES", "utf8"]]);
        assert_eq!(words("SELECT 5--3"), [["SELECT", "5", "-", "-", "3"]]);
        assert_eq!(words("SELECT 'open; /*"), [["SELECT", "'open; /*"]]);
        assert!(words(" ; -- x").is_empty());
    }
}
