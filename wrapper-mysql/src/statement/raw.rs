//! What a statement of unknown type is: the driver's `StatementLike` shows nothing of itself, and its methods give
//! types that nobody outside of the driver can name.
//!
//! This is the crate's only unsafe code. A reference is read as one of another type after the two types were found to be
//! the same, lifetimes aside; what is read keeps the lifetime of the reference that it is read through, never a longer
//! one.
#![allow(unsafe_code, reason = "a type that is generic and not 'static cannot be looked at in another way")]

use std::any::TypeId;

use mysql_async::Statement as Raw;

/// What [`look`] found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen<'a> {
    /// A statement of the driver.
    Statement(&'a Raw),
    /// Text.
    Sql(&'a str),
    /// Text or bytes of another form. Never a statement.
    Unknown,
}

/// `value` as a `T`, when it is one.
fn cast<S, T: 'static>(value: &S) -> Option<&T> {
    if typeid::of::<S>() != TypeId::of::<T>() {
        return None;
    }
    // SAFETY: both types have the same id, so they are the same type but for lifetimes, and `T` has none: the same type.
    Some(unsafe { &*std::ptr::from_ref(value).cast::<T>() })
}

/// `value` as a reference to a `T`, when it is one.
fn cast_ref<S, T: ?Sized + 'static>(value: &S) -> Option<&T> {
    if typeid::of::<S>() != TypeId::of::<&'static T>() {
        return None;
    }
    // SAFETY: both types have the same id, so `S` is a `&'x T` for some `'x`, which outlives the borrow of `value`: it is
    // read as a reference of that borrow's lifetime and no longer one.
    Some(unsafe { *std::ptr::from_ref(value).cast::<&T>() })
}

/// What `value` is.
pub(crate) fn look<S>(value: &S) -> Seen<'_> {
    if let Some(statement) = cast::<S, Raw>(value).or_else(|| cast_ref::<S, Raw>(value)) {
        Seen::Statement(statement)
    } else if let Some(sql) = cast_ref::<S, str>(value) {
        Seen::Sql(sql)
    } else if let Some(sql) = cast::<S, String>(value).or_else(|| cast_ref::<S, String>(value)) {
        Seen::Sql(sql)
    } else if let Some(statement) = cast_ref_ref(value) {
        Seen::Statement(statement)
    } else {
        Seen::Unknown
    }
}

/// `&&Statement` is a statement to the driver, too, and so on; two are looked through, more are not a statement that
/// anybody writes.
fn cast_ref_ref<S>(value: &S) -> Option<&Raw> {
    if typeid::of::<S>() != TypeId::of::<&'static &'static Raw>() {
        return None;
    }
    // SAFETY: as in `cast_ref`, twice.
    Some(unsafe { **std::ptr::from_ref(value).cast::<&&Raw>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_seen_in_the_forms_that_are_common() {
        let owned = String::from("SELECT 2");
        assert!(matches!(look(&"SELECT 1"), Seen::Sql("SELECT 1")));
        assert!(matches!(look(&owned.as_str()), Seen::Sql("SELECT 2")));
        assert!(matches!(look(&&owned), Seen::Sql("SELECT 2")));
        assert!(matches!(look(&owned), Seen::Sql("SELECT 2")));
        assert!(matches!(look(&b"SELECT 1".to_vec()), Seen::Unknown));
        assert!(matches!(look(&&&owned), Seen::Unknown));
    }
}
