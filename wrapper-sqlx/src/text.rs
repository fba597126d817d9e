//! Small answers in text form over sqlx.
//!
//! What lives here: [`read`], which reads them for every database. What may not: waits with limits.

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use wrapper_core::driver::Rows;

use super::family::Family;
use super::sqlx::{self, Column, Either, Row};

type Answer<DB> = Either<<DB as sqlx::Database>::QueryResult, <DB as sqlx::Database>::Row>;

/// Reads the answers to a text; see [`Family::ask`]. sqlx counts no bytes.
pub(crate) async fn read<DB: Family>(
    mut answers: BoxStream<'_, sqlx::Result<Answer<DB>>>,
) -> sqlx::Result<(Rows, u64)> {
    let (mut columns, mut rows): (Vec<String>, Vec<Vec<Option<String>>>) = (Vec::new(), Vec::new());
    // The message that ends every answer.
    let mut bytes = 6;
    let mut statement_ended = true;
    while let Some(answer) = answers.next().await {
        let row = match answer? {
            Either::Left(_) => {
                statement_ended = true;
                continue;
            }
            Either::Right(row) => row,
        };
        if std::mem::take(&mut statement_ended) {
            columns = row.columns().iter().map(|column| column.name().to_owned()).collect();
            rows.clear();
        }
        let mut values = Vec::with_capacity(row.len());
        for index in 0..row.len() {
            let text = DB::value(&row, index)?;
            bytes += 4 + text.as_ref().map_or(0, |text| text.len() as u64);
            values.push(text);
        }
        rows.push(values);
    }
    Ok((Rows::new(columns, rows), bytes))
}
