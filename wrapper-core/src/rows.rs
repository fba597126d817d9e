//! The answer to a question of the library itself; users find it as [`driver::Rows`](crate::driver::Rows).
//!
//! What lives here: [`Rows`], which drivers make and dialects read. What may not: rows of the application.

/// A small answer in text form: metadata, never the application's data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

impl Rows {
    /// An answer of `columns` and `rows`; every row has as many values as there are columns.
    pub fn new(columns: Vec<String>, rows: Vec<Vec<Option<String>>>) -> Self {
        Self { columns, rows }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The value in `row` of the column called `name` (any case); `None` for NULL, no such row, no such column.
    pub fn get(&self, row: usize, name: &str) -> Option<&str> {
        let column = self.columns.iter().position(|column| column.eq_ignore_ascii_case(name))?;
        self.rows.get(row)?.get(column)?.as_deref()
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }
}
