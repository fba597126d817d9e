//! The binary wire form of values, and the rows and parameters made of them.
//!
//! What may not live here: text forms and casts (`value.rs`).

use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};
use pgwire::api::Type;
use pgwire::messages::data::DataRow;

use super::value::{Value, element};
use crate::sim::error::SqlError;

/// Encodes one row; `binary` tells the format of each column.
pub(crate) fn data_row(
    values: &[Value],
    types: &[Type],
    binary: impl Fn(usize) -> bool,
) -> Result<DataRow, SqlError> {
    let mut out = BytesMut::with_capacity(16 * values.len());
    for (index, (value, ty)) in values.iter().zip(types).enumerate() {
        put_sized(&mut out, value, ty, binary(index))?;
    }
    Ok(DataRow::new(out, values.len() as i16))
}

/// Decodes a bound parameter.
pub(crate) fn parameter(ty: &Type, binary: bool, bytes: Option<&Bytes>) -> Result<Value, SqlError> {
    match bytes {
        None => Ok(Value::Null),
        Some(bytes) if binary => decode(ty, bytes),
        Some(bytes) => Value::parse(ty, utf8(bytes)?),
    }
}

fn put_sized(out: &mut BytesMut, value: &Value, ty: &Type, binary: bool) -> Result<(), SqlError> {
    if value.is_null() {
        out.put_i32(-1);
        return Ok(());
    }
    let at = out.len();
    out.put_i32(0);
    if binary {
        encode(out, value, ty)?;
    } else {
        out.put_slice(value.to_text(ty).unwrap_or_default().as_bytes());
    }
    let length = (out.len() - at - 4) as i32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn encode(out: &mut BytesMut, value: &Value, ty: &Type) -> Result<(), SqlError> {
    match (ty, value) {
        (&Type::BOOL, Value::Bool(flag)) => out.put_u8(u8::from(*flag)),
        (&Type::INT2, value) => out.put_i16(value.as_int() as i16),
        (&Type::INT4, value) => out.put_i32(value.as_int() as i32),
        (&Type::INT8, value) => out.put_i64(value.as_int()),
        (&Type::OID, value) => out.put_u32(value.as_int() as u32),
        (&Type::FLOAT4, value) => out.put_f32(value.as_float() as f32),
        (&Type::FLOAT8, value) => out.put_f64(value.as_float()),
        (&Type::NUMERIC, value) => numeric(out, &value.to_text(ty).unwrap_or_default()),
        (_, Value::Time(micros)) => out.put_i64(*micros),
        (_, Value::Span(micros)) => {
            out.put_i64(*micros);
            out.put_i64(0); // no days, no months
        }
        (_, Value::Bytes(bytes)) => out.put_slice(bytes),
        (&Type::UUID, Value::Text(text)) => out.put_slice(&uuid(text)?),
        (&Type::INET, Value::Text(text)) => inet(out, text)?,
        (&Type::JSONB, Value::Text(text)) => {
            out.put_u8(1);
            out.put_slice(text.as_bytes());
        }
        // The names of objects travel as oids; ours are derived from the name.
        (&Type::REGPROC | &Type::REGPROCEDURE | &Type::REGCLASS | &Type::REGNAMESPACE, Value::Text(name)) => {
            out.put_u32(oid_of(name));
        }
        (_, Value::Array(items)) => array(out, items, element(ty).unwrap_or(&Type::TEXT))?,
        (_, Value::Text(text)) => out.put_slice(text.as_bytes()),
        _ => return Err(SqlError::unsupported(format!("the binary form of type {ty}"))),
    }
    Ok(())
}

/// A stable object id for a name, above the range of built-in objects.
pub(crate) fn oid_of(name: &str) -> u32 {
    name.bytes().fold(16_384_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte))) | 0x4000
}

fn array(out: &mut BytesMut, items: &[Value], inner: &Type) -> Result<(), SqlError> {
    out.put_i32(i32::from(!items.is_empty()));
    out.put_i32(i32::from(items.iter().any(Value::is_null)));
    out.put_u32(inner.oid());
    if !items.is_empty() {
        out.put_i32(items.len() as i32);
        out.put_i32(1);
    }
    items.iter().try_for_each(|item| put_sized(out, item, inner, true))
}

/// PostgreSQL's numeric: groups of four decimal digits around the point.
fn numeric(out: &mut BytesMut, text: &str) {
    let negative = text.starts_with('-');
    let (whole, fraction) =
        text.trim_start_matches('-').split_once('.').unwrap_or((text.trim_start_matches('-'), ""));
    let whole = whole.trim_start_matches('0');
    let padded = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
    let tail = format!("{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
    let group = |chunk: &[u8]| chunk.iter().fold(0_i16, |sum, digit| sum * 10 + i16::from(digit - b'0'));
    let mut digits: Vec<i16> =
        padded.as_bytes().chunks(4).chain(tail.as_bytes().chunks(4)).map(group).collect();
    let mut weight = (padded.len() / 4) as i16 - 1;
    while digits.first() == Some(&0) {
        digits.remove(0);
        weight -= 1;
    }
    while digits.last() == Some(&0) {
        digits.pop();
    }
    let out_is_zero = digits.is_empty();
    out.put_i16(digits.len() as i16);
    out.put_i16(if out_is_zero { 0 } else { weight });
    out.put_u16(if negative { 0x4000 } else { 0 });
    out.put_i16(fraction.len() as i16);
    digits.into_iter().for_each(|digit| out.put_i16(digit));
}

fn uuid(text: &str) -> Result<[u8; 16], SqlError> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let number = u128::from_str_radix(&digits, 16);
    let bad = |_| SqlError::new("22P02", format!("invalid input syntax for type uuid: \"{text}\""));
    Ok(number.map_err(bad)?.to_be_bytes())
}

fn inet(out: &mut BytesMut, text: &str) -> Result<(), SqlError> {
    let bad = |_| SqlError::new("22P02", format!("invalid input syntax for type inet: \"{text}\""));
    match text.parse::<IpAddr>().map_err(bad)? {
        IpAddr::V4(ip) => {
            out.put_slice(&[2, 32, 0, 4]);
            out.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.put_slice(&[3, 128, 0, 16]);
            out.put_slice(&ip.octets());
        }
    }
    Ok(())
}

fn decode(ty: &Type, bytes: &[u8]) -> Result<Value, SqlError> {
    Ok(match *ty {
        Type::BOOL => Value::Bool(fixed::<1>(bytes)?[0] != 0),
        Type::INT2 => Value::Int(i16::from_be_bytes(fixed(bytes)?).into()),
        Type::INT4 => Value::Int(i32::from_be_bytes(fixed(bytes)?).into()),
        Type::INT8 => Value::Int(i64::from_be_bytes(fixed(bytes)?)),
        Type::OID => Value::Int(u32::from_be_bytes(fixed(bytes)?).into()),
        Type::FLOAT4 => Value::Float(f32::from_be_bytes(fixed(bytes)?).into()),
        Type::FLOAT8 => Value::Float(f64::from_be_bytes(fixed(bytes)?)),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => Value::Time(i64::from_be_bytes(fixed(bytes)?)),
        Type::INTERVAL => {
            let all: [u8; 16] = fixed(bytes)?;
            let part =
                |range: std::ops::Range<usize>| i32::from_be_bytes(all[range].try_into().unwrap_or_default());
            let micros = i64::from_be_bytes(all[..8].try_into().unwrap_or_default());
            Value::Span(micros + (i64::from(part(8..12)) + 30 * i64::from(part(12..16))) * 86_400_000_000)
        }
        Type::BYTEA => Value::Bytes(bytes.into()),
        Type::UUID => {
            let digits = format!("{:032x}", u128::from_be_bytes(fixed(bytes)?));
            let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
            Value::text(parts.join("-"))
        }
        Type::JSONB => Value::text(utf8(bytes.get(1..).unwrap_or_default())?),
        Type::NUMERIC | Type::INET => {
            return Err(SqlError::unsupported(format!("a parameter of type {ty} in binary form; cast it")));
        }
        _ => match element(ty) {
            Some(inner) => decode_array(inner, bytes)?,
            None => Value::text(utf8(bytes)?),
        },
    })
}

fn decode_array(inner: &Type, mut bytes: &[u8]) -> Result<Value, SqlError> {
    fn next<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], SqlError> {
        let (head, tail) = bytes.split_at_checked(count).ok_or_else(|| malformed(count))?;
        *bytes = tail;
        Ok(head)
    }
    let word = |bytes: &mut &[u8]| Ok::<i32, SqlError>(i32::from_be_bytes(fixed(next(bytes, 4)?)?));
    let dimensions = word(&mut bytes)?;
    let (_nulls, _oid) = (word(&mut bytes)?, word(&mut bytes)?);
    if dimensions == 0 {
        return Ok(Value::Array(Vec::new()));
    }
    if dimensions != 1 {
        return Err(SqlError::unsupported("arrays of several dimensions"));
    }
    let (count, _lower) = (word(&mut bytes)?, word(&mut bytes)?);
    let items = (0..count).map(|_| match word(&mut bytes)? {
        length if length < 0 => Ok(Value::Null),
        length => decode(inner, next(&mut bytes, length as usize)?),
    });
    Ok(Value::Array(items.collect::<Result<_, _>>()?))
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], SqlError> {
    bytes.try_into().map_err(|_| malformed(N))
}

fn malformed(expected: usize) -> SqlError {
    SqlError::new("22P03", format!("incorrect binary data format: expected {expected} bytes"))
}

fn utf8(bytes: &[u8]) -> Result<&str, SqlError> {
    std::str::from_utf8(bytes)
        .map_err(|_| SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_their_binary_form() {
        let cases = [
            (Type::INT4, "-7"),
            (Type::INT8, "9000000000"),
            (Type::BOOL, "t"),
            (Type::FLOAT8, "1.5"),
            (Type::TIMESTAMPTZ, "2024-02-29 12:30:00.000250+00"),
            (Type::INTERVAL, "00:05:00.5"),
            (Type::INT4_ARRAY, "{1,NULL,3}"),
            (Type::UUID, "6b8a0c1e-0000-4000-8000-0123456789ab"),
            (Type::JSONB, "{\"a\": 1}"),
        ];
        for (ty, text) in cases {
            let mut out = BytesMut::new();
            encode(&mut out, &Value::parse(&ty, text).unwrap(), &ty).unwrap();
            assert_eq!(decode(&ty, &out).unwrap().to_text(&ty).as_deref(), Some(text), "{ty}");
        }
    }

    #[test]
    fn numeric_is_written_in_groups_of_four_digits() {
        let form = |text: &str| {
            let mut out = BytesMut::new();
            numeric(&mut out, text);
            out.to_vec()
        };
        assert_eq!(form("12345"), [0, 2, 0, 1, 0, 0, 0, 0, 0, 1, 0x09, 0x29]);
        assert_eq!(form("-0.5"), [0, 1, 0xff, 0xff, 0x40, 0, 0, 1, 0x13, 0x88]);
        assert_eq!(form("0"), [0; 8]);
    }
}
