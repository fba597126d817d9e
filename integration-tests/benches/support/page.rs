//! Tables: on the terminal, and on the page of figures (`docs/performance.md`).

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::Outcome;

/// A table with a heading row; the first cell of a row is its key.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self { heading: heading.iter().map(|&cell| cell.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Prints it with aligned columns.
    pub(crate) fn print(&self) {
        let all = || std::iter::once(&self.heading).chain(&self.rows);
        let widths: Vec<usize> = (0..self.heading.len())
            .map(|at| all().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0))
            .collect();
        for row in all() {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
            println!("{}", cells.join("  ").trim_end());
        }
    }

    /// Puts it between the markers of `section` on the page. Rows that stand there and were not measured this time
    /// stay; `notes` are lines above the table.
    pub(crate) fn write(&self, section: &str, command: &str, notes: &[String]) -> Outcome {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
        let page = fs::read_to_string(&path)?;
        let (begin, end) = (format!("<!-- begin: {section} -->"), format!("<!-- end: {section} -->"));
        let cut = |marker: &str| page.split_once(marker).ok_or_else(|| format!("the page has no `{marker}`"));
        let (before, rest) = cut(&begin)?;
        let (old, after) = rest.split_once(&end).ok_or_else(|| format!("the page has no `{end}`"))?;
        let keys: BTreeSet<&str> =
            self.rows.iter().filter_map(|row| row.first()).map(String::as_str).collect();
        let kept: Vec<Vec<String>> = old
            .lines()
            .filter(|line| line.starts_with("| "))
            .skip(1)
            .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
            .filter(|row: &Vec<String>| row.len() == self.heading.len())
            .filter(|row| row.first().is_some_and(|key| !keys.contains(key.as_str())))
            .collect();
        let mut text = format!("\n\n`{command}`\n\n");
        for note in notes {
            text.push_str(note);
            text.push_str("\n\n");
        }
        let line = |row: &[String]| format!("| {} |\n", row.join(" | "));
        text.push_str(&line(&self.heading));
        text.push_str(&format!("|{}\n", "---|".repeat(self.heading.len())));
        kept.iter().chain(&self.rows).for_each(|row| text.push_str(&line(row)));
        fs::write(&path, format!("{before}{begin}{text}\n{end}{after}"))?;
        println!("written to docs/performance.md, section `{section}`");
        Ok(())
    }
}

/// Keeps single figures beside the page, for the plots that the report program draws: a line each, what was measured
/// and a number. Figures of other rows stay.
pub(crate) fn keep(name: &str, figures: &[(String, Vec<f64>)]) -> Outcome {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/figures");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.tsv"));
    let old = fs::read_to_string(&path).unwrap_or_default();
    let measured = |line: &&str| {
        let key = line.split('\t').next().unwrap_or_default();
        figures.iter().any(|(row, _)| row == key)
    };
    let mut text: String =
        old.lines().filter(|line| !measured(line)).map(|line| format!("{line}\n")).collect();
    for (row, numbers) in figures {
        numbers.iter().for_each(|number| text.push_str(&format!("{row}\t{number:.3}\n")));
    }
    fs::write(&path, text)?;
    Ok(())
}
