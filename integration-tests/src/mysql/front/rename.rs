//! The columns of `SHOW REPLICA STATUS`, which MariaDB calls by their old names.

use std::io;

use mysql_common::io::ParseBuf;
use mysql_common::packets::Column;
use mysql_common::proto::MySerialize;

/// Follows one answer, packet by packet.
#[derive(Debug, Default)]
pub(super) struct Renamer(State);

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// The next packet says how many columns there are.
    Count,
    /// So many definitions follow.
    Columns(u64),
}

impl Renamer {
    /// The next packet begins the answer.
    pub(super) fn begin(&mut self) {
        self.0 = State::Count;
    }

    pub(super) fn is_active(&self) -> bool {
        !matches!(self.0, State::Idle)
    }

    /// What goes on to the client in place of this packet.
    pub(super) fn packet(&mut self, payload: Vec<u8>) -> io::Result<Vec<u8>> {
        match self.0 {
            State::Idle => Ok(payload),
            State::Count => {
                // 0 begins an answer without columns, 0xFB and 0xFF something else altogether.
                self.0 = match payload.first() {
                    Some(&count @ 1..=250) => State::Columns(u64::from(count)),
                    _ => State::Idle,
                };
                Ok(payload)
            }
            State::Columns(left) => {
                self.0 = if left > 1 { State::Columns(left - 1) } else { State::Idle };
                let column: Column = ParseBuf(&payload).parse(())?;
                let name = column.name_str().replace("Master", "Source").replace("Slave", "Replica");
                let mut renamed = Vec::with_capacity(payload.len() + 8);
                column.with_name(name.as_bytes()).serialize(&mut renamed);
                Ok(renamed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_common::constants::ColumnType;

    #[test]
    fn definitions_are_renamed_and_rows_are_not() {
        let mut renamer = Renamer::default();
        renamer.begin();
        assert_eq!(renamer.packet(vec![2]).unwrap(), [2]);
        for (old, new) in
            [("Master_Server_Id", "Source_Server_Id"), ("Slave_IO_Running", "Replica_IO_Running")]
        {
            let mut definition = Vec::new();
            Column::new(ColumnType::MYSQL_TYPE_LONGLONG).with_name(old.as_bytes()).serialize(&mut definition);
            let renamed = renamer.packet(definition).unwrap();
            let column: Column = ParseBuf(&renamed).parse(()).unwrap();
            assert_eq!(column.name_str(), new);
        }
        assert!(!renamer.is_active());
        // An error in place of columns.
        renamer.begin();
        assert_eq!(renamer.packet(vec![0xFF, 1]).unwrap(), [0xFF, 1]);
        assert!(!renamer.is_active());
    }
}
