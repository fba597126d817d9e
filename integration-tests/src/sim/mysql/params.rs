//! Parameters of prepared statements, as clients send them.
//!
//! What may not live here: their types as the statement wants them, which the binder settles (`sql/bind`).

use std::collections::BTreeMap;

use mysql_common::constants::{ColumnFlags, ColumnType, StmtExecuteParamFlags};
use mysql_common::io::ParseBuf;
use mysql_common::value::{BinValue, Value as Sent, ValueDeserializer};
use pgwire::api::Type;

use crate::sim::error::SqlError;
use crate::sim::sql::value::{Family, Value, family, parse_moment};

/// What the client has said of a parameter's type.
pub(super) type Declared = (ColumnType, ColumnFlags);

/// Reads the parameters behind the head of COM_STMT_EXECUTE, and converts them to the types that the statement wants.
///
/// # Errors
/// 1210 for a packet that does not fit the statement, 1366 and its like for a value that does not fit its type.
pub(super) fn read(
    mut packet: ParseBuf<'_>,
    wanted: &[Type],
    declared: &mut Vec<Declared>,
    long: &BTreeMap<usize, Vec<u8>>,
) -> Result<Vec<Value>, SqlError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let malformed = || SqlError::mysql(1210, "HY000", "Incorrect arguments to mysqld_stmt_execute");
    let nulls = packet.checked_eat(wanted.len().div_ceil(8)).ok_or_else(malformed)?;
    if packet.checked_eat_u8().ok_or_else(malformed)? == 1 {
        declared.clear();
        for _ in wanted {
            let ty = packet.checked_eat_u8().and_then(|ty| ColumnType::try_from(ty).ok());
            let flags = packet.checked_eat_u8().ok_or_else(malformed)?;
            let unsigned = flags & StmtExecuteParamFlags::UNSIGNED.bits() != 0;
            let flags = if unsigned { ColumnFlags::UNSIGNED_FLAG } else { ColumnFlags::empty() };
            declared.push((ty.ok_or_else(malformed)?, flags));
        }
    }
    let mut values = Vec::with_capacity(wanted.len());
    for (index, ty) in wanted.iter().enumerate() {
        let is_null = nulls[index / 8] & (1 << (index % 8)) != 0;
        let sent = match long.get(&index) {
            Some(bytes) => Sent::Bytes(bytes.clone()),
            None if is_null => Sent::NULL,
            None => {
                let declared = *declared.get(index).ok_or_else(malformed)?;
                let value = packet.parse::<ValueDeserializer<BinValue>>(declared);
                value.map_err(|_| malformed())?.0
            }
        };
        values.push(converted(sent, ty)?);
    }
    Ok(values)
}

fn converted(sent: Sent, wanted: &Type) -> Result<Value, SqlError> {
    let (value, ty) = match sent {
        Sent::NULL => return Ok(Value::Null),
        Sent::Int(number) => (Value::Int(number), Type::INT8),
        Sent::UInt(number) => match i64::try_from(number) {
            Ok(number) => (Value::Int(number), Type::INT8),
            Err(_) => return Err(SqlError::new("22003", format!("Out of range value {number}"))),
        },
        Sent::Float(number) => (Value::Float(number.into()), Type::FLOAT8),
        Sent::Double(number) => (Value::Float(number), Type::FLOAT8),
        Sent::Bytes(bytes) if family(wanted) == Family::Bytes => return Ok(Value::Bytes(bytes.into())),
        Sent::Bytes(bytes) => {
            let text = String::from_utf8(bytes);
            (
                Value::text(text.map_err(|_| SqlError::new("22021", "Invalid utf8mb4 character string"))?),
                Type::TEXT,
            )
        }
        date @ Sent::Date(..) => {
            let text = date.as_sql(true);
            let micros = parse_moment(text.trim_matches('\''));
            let micros =
                micros.ok_or_else(|| SqlError::new("22P02", format!("Incorrect datetime value: {text}")))?;
            (Value::Time(micros), Type::TIMESTAMP)
        }
        Sent::Time(negative, days, hours, minutes, seconds, micros) => {
            let hours = i64::from(days) * 24 + i64::from(hours);
            let seconds = (hours * 60 + i64::from(minutes)) * 60 + i64::from(seconds);
            let span = seconds * 1_000_000 + i64::from(micros);
            (Value::Span(if negative { -span } else { span }), Type::INTERVAL)
        }
    };
    value.cast(&ty, wanted)
}
