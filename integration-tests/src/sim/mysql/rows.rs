//! Result sets: MySQL's types of columns, and rows in text and in binary.
//!
//! What may not live here: parameters (`params.rs`).

use chrono::{Datelike, Timelike};
use mysql_common::constants::{ColumnFlags, ColumnType};
use mysql_common::io::BufMutExt;
use mysql_common::packets::Column;
use pgwire::api::Type;

use crate::sim::sql::OutColumn;
use crate::sim::sql::value::{Family, Value, family, moment};

/// utf8mb4_0900_ai_ci, and the one that stands for bytes.
const TEXT: u16 = 255;
const BINARY: u16 = 63;

/// The first byte of a row in binary.
const ROW: u8 = 0x00;

/// The text form of NULL.
const NULL: u8 = 0xfb;

/// MySQL's type for a type of the shared SQL engine.
fn column_type(ty: &Type) -> ColumnType {
    match *ty {
        Type::INT2 => ColumnType::MYSQL_TYPE_SHORT,
        Type::INT4 => ColumnType::MYSQL_TYPE_LONG,
        Type::FLOAT4 => ColumnType::MYSQL_TYPE_FLOAT,
        Type::NUMERIC => ColumnType::MYSQL_TYPE_NEWDECIMAL,
        Type::TEXT => ColumnType::MYSQL_TYPE_BLOB,
        Type::JSON => ColumnType::MYSQL_TYPE_JSON,
        _ => match family(ty) {
            // Truth values are numbers.
            Family::Bool | Family::Int => ColumnType::MYSQL_TYPE_LONGLONG,
            Family::Float => ColumnType::MYSQL_TYPE_DOUBLE,
            Family::Bytes => ColumnType::MYSQL_TYPE_BLOB,
            Family::Time => ColumnType::MYSQL_TYPE_DATETIME,
            Family::Span => ColumnType::MYSQL_TYPE_TIME,
            Family::Text | Family::Array => ColumnType::MYSQL_TYPE_VAR_STRING,
        },
    }
}

/// The definition of a column.
pub(super) fn definition(column: &OutColumn) -> Column {
    let (character_set, length, decimals, flags) = match family(&column.ty) {
        Family::Text | Family::Array => (TEXT, 65_535, 0, ColumnFlags::empty()),
        Family::Bytes => (BINARY, 65_535, 0, ColumnFlags::BINARY_FLAG | ColumnFlags::BLOB_FLAG),
        Family::Time | Family::Span => (BINARY, 26, 6, ColumnFlags::BINARY_FLAG),
        Family::Float => (BINARY, 22, 31, ColumnFlags::BINARY_FLAG),
        Family::Bool => (BINARY, 1, 0, ColumnFlags::BINARY_FLAG),
        Family::Int => (BINARY, 20, 0, ColumnFlags::BINARY_FLAG),
    };
    Column::new(column_type(&column.ty))
        .with_name(column.name.as_bytes())
        .with_character_set(character_set)
        .with_column_length(length)
        .with_decimals(decimals)
        .with_flags(flags)
}

/// A value's text, or its bytes; `None` for NULL.
fn text_of(value: &Value, ty: &Type) -> Option<Vec<u8>> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => vec![if *flag { b'1' } else { b'0' }],
        Value::Bytes(bytes) => bytes.to_vec(),
        Value::Time(_) => value.to_text(&Type::TIMESTAMP)?.into_bytes(),
        other => other.to_text(ty)?.into_bytes(),
    })
}

/// A row as COM_QUERY answers it.
pub(super) fn text_row(row: &[Value], columns: &[OutColumn]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (value, column) in row.iter().zip(columns) {
        match text_of(value, &column.ty) {
            None => payload.push(NULL),
            Some(text) => payload.put_lenenc_str(&text),
        }
    }
    payload
}

/// A row as COM_STMT_EXECUTE answers it.
pub(super) fn binary_row(row: &[Value], columns: &[OutColumn]) -> Vec<u8> {
    let mut payload = vec![ROW];
    let mut nulls = vec![0_u8; (columns.len() + 7 + 2) / 8];
    for (index, _) in row.iter().enumerate().filter(|(_, value)| value.is_null()) {
        nulls[(index + 2) / 8] |= 1 << ((index + 2) % 8);
    }
    payload.extend_from_slice(&nulls);
    for (value, column) in row.iter().zip(columns).filter(|(value, _)| !value.is_null()) {
        put_binary(&mut payload, value, &column.ty);
    }
    payload
}

fn put_binary(payload: &mut Vec<u8>, value: &Value, ty: &Type) {
    match column_type(ty) {
        ColumnType::MYSQL_TYPE_SHORT => payload.extend_from_slice(&(value.as_int() as i16).to_le_bytes()),
        ColumnType::MYSQL_TYPE_LONG => payload.extend_from_slice(&(value.as_int() as i32).to_le_bytes()),
        ColumnType::MYSQL_TYPE_LONGLONG => {
            let number = if let Value::Bool(flag) = value { i64::from(*flag) } else { value.as_int() };
            payload.extend_from_slice(&number.to_le_bytes());
        }
        ColumnType::MYSQL_TYPE_FLOAT => payload.extend_from_slice(&(value.as_float() as f32).to_le_bytes()),
        ColumnType::MYSQL_TYPE_DOUBLE => payload.extend_from_slice(&value.as_float().to_le_bytes()),
        ColumnType::MYSQL_TYPE_DATETIME => put_time(payload, value),
        ColumnType::MYSQL_TYPE_TIME => put_span(payload, value),
        _ => payload.put_lenenc_str(&text_of(value, ty).unwrap_or_default()),
    }
}

fn put_time(payload: &mut Vec<u8>, value: &Value) {
    let Value::Time(micros) = value else { return payload.push(0) };
    let at = moment(*micros);
    payload.push(11);
    payload.extend_from_slice(&(at.year() as u16).to_le_bytes());
    payload.extend([at.month(), at.day(), at.hour(), at.minute(), at.second()].map(|part| part as u8));
    payload.extend_from_slice(&at.timestamp_subsec_micros().to_le_bytes());
}

fn put_span(payload: &mut Vec<u8>, value: &Value) {
    let Value::Span(micros) = value else { return payload.push(0) };
    let (length, seconds) = (micros.unsigned_abs(), micros.unsigned_abs() / 1_000_000);
    payload.extend_from_slice(&[12, u8::from(*micros < 0)]);
    payload.extend_from_slice(&((seconds / 86_400) as u32).to_le_bytes());
    payload.extend([seconds / 3600 % 24, seconds / 60 % 60, seconds % 60].map(|part| part as u8));
    payload.extend_from_slice(&((length % 1_000_000) as u32).to_le_bytes());
}
