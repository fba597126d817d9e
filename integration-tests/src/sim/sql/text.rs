//! Text matching: LIKE and regular expressions.
//!
//! What may not live here: anything that is not a function of two strings.

use crate::sim::error::SqlError;

/// SQL LIKE with `%`, `_` and the backslash escape.
pub(crate) fn like(text: &str, pattern: &str) -> bool {
    fn go(text: &[char], pattern: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('%', rest)) => (0..=text.len()).any(|skip| go(&text[skip..], rest)),
            Some(('_', rest)) => !text.is_empty() && go(&text[1..], rest),
            Some(('\\', rest)) if !rest.is_empty() => {
                text.first() == rest.first() && go(&text[1..], &rest[1..])
            }
            Some((c, rest)) => text.first() == Some(c) && go(&text[1..], rest),
        }
    }
    go(&text.chars().collect::<Vec<_>>(), &pattern.chars().collect::<Vec<_>>())
}

/// The `~` operator; PostgreSQL's word boundaries become those of the `regex` family.
///
/// # Errors
/// 2201B for a pattern that cannot be read.
pub(crate) fn regex(text: &str, pattern: &str) -> Result<bool, SqlError> {
    let pattern = ["\\m", "\\M", "\\y"].iter().fold(pattern.to_owned(), |p, mark| p.replace(mark, "\\b"));
    let compiled = regex_lite::Regex::new(&pattern);
    let bad = |error| SqlError::new("2201B", format!("invalid regular expression: {error}"));
    Ok(compiled.map_err(bad)?.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_knows_its_wildcards() {
        assert!(like("aurora_stat_utils,rds_tools", "%rds\\_tools%"));
        assert!(like("abc", "a_c") && !like("abc", "a_") && like("", "%"));
    }

    #[test]
    fn patterns_match_as_in_postgresql() {
        assert!(regex("postgis, rds_tools", "\\mrds_tools\\M").unwrap());
        assert!(!regex("my_rds_tools2", "\\mrds_tools\\M").unwrap());
        assert_eq!(regex("x", "(").unwrap_err().code, "2201B");
    }
}
