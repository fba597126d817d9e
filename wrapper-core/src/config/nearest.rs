//! The nearest allowed name for a misspelt one.

use crate::host::squash;

/// ` (did you mean `x`?)` for the nearest of `allowed`, or nothing when none is near.
pub(crate) fn hint<'a>(name: &str, allowed: impl Iterator<Item = &'a str>) -> String {
    nearest(name, allowed).map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"))
}

/// The allowed name with the fewest edits, if they are few for its length; the first of equals.
pub(crate) fn nearest<'a>(name: &str, allowed: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = squash(name);
    let limit = (wanted.chars().count() / 3).clamp(1, 5);
    allowed
        .map(|candidate| (distance(&wanted, &squash(candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many single characters must be inserted, removed or replaced to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("", "", 0), ("abc", "", 3), ("", "abc", 3), ("kitten", "sitting", 3), ("abc", "abc", 0)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["failover_timeout", "failover_mode", "plugins"];
        assert_eq!(nearest("failovr_timeout", names.into_iter()), Some("failover_timeout"));
        assert_eq!(nearest("FAILOVERMODE", names.into_iter()), Some("failover_mode"));
        assert_eq!(nearest("plugin", names.into_iter()), Some("plugins"));
        assert_eq!(nearest("colour", names.into_iter()), None);
    }
}
