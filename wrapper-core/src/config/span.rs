//! Durations: how they are written, under which name a number needs a unit, and how they are shown.

use std::time::Duration;

use crate::config::value::{Form, Given, Read, SettingType, expected};

/// No wait is longer: sums of such spans cannot overflow the clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl SettingType for Duration {
    const KIND: &'static str = "duration";

    fn read(given: &Given, form: Form) -> Read<Self> {
        let span = given.span().or_else(|| read_span(given.text().trim(), form));
        match span {
            Some(span) if span <= LONGEST => Ok(span),
            Some(_) => expected("at most 365 days"),
            None => expected(match form {
                Form::UnitInValue => "a whole number with a unit (ms, s, m or h), such as `60s`",
                Form::SecondsOrUnit => {
                    "a whole number of seconds, or one with a unit (ms, s, m or h), such as `10` or `500ms`"
                }
                Form::Milliseconds => {
                    "a whole number without a unit: the name of the setting says milliseconds"
                }
                Form::Seconds => "a whole number without a unit: the name of the setting says seconds",
            }),
        }
    }

    fn show(&self) -> String {
        show_span(*self)
    }

    fn is_off(given: &Given) -> bool {
        let text = given.text();
        let text = text.trim();
        text.eq_ignore_ascii_case("off")
            || [Form::SecondsOrUnit, Form::UnitInValue]
                .into_iter()
                .any(|form| read_span(text, form) == Some(Self::ZERO))
    }

    fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

fn read_span(text: &str, form: Form) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit = unit.trim_start();
    let scaled = |factor: u64| number.checked_mul(factor).map(Duration::from_secs);
    match (unit, form) {
        ("", Form::Milliseconds) => Some(Duration::from_millis(number)),
        ("", Form::Seconds | Form::SecondsOrUnit) => Some(Duration::from_secs(number)),
        ("", Form::UnitInValue) | (_, Form::Milliseconds | Form::Seconds) => None,
        ("ms", _) => Some(Duration::from_millis(number)),
        ("s", _) => Some(Duration::from_secs(number)),
        ("m", _) => scaled(60),
        ("h", _) => scaled(3600),
        _ => None,
    }
}

/// Seconds, else milliseconds, else (only a duration given in code) nanoseconds: the coarsest that loses nothing.
pub(crate) fn show_span(span: Duration) -> String {
    if span.subsec_nanos() == 0 {
        format!("{}s", span.as_secs())
    } else if span.subsec_nanos() % 1_000_000 == 0 {
        format!("{}ms", span.as_millis())
    } else {
        format!("{}ns", span.as_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str, form: Form) -> Option<Duration> {
        Duration::read(&Given::from(text), form).ok()
    }

    #[test]
    fn durations_by_the_form_of_the_name() {
        let (s, ms) = (Duration::from_secs, Duration::from_millis);
        let cases: [(&str, [Option<Duration>; 4]); 10] = [
            // UnitInValue, SecondsOrUnit, Milliseconds, Seconds
            ("60s", [Some(s(60)), Some(s(60)), None, None]),
            ("500ms", [Some(ms(500)), Some(ms(500)), None, None]),
            ("2m", [Some(s(120)), Some(s(120)), None, None]),
            ("1h", [Some(s(3600)), Some(s(3600)), None, None]),
            ("60", [None, Some(s(60)), Some(ms(60)), Some(s(60))]),
            ("0", [None, Some(s(0)), Some(s(0)), Some(s(0))]),
            ("-1s", [None, None, None, None]),
            ("1.5s", [None, None, None, None]),
            ("1d", [None, None, None, None]),
            ("18446744073709551615h", [None, None, None, None]),
        ];
        for (text, expected) in cases {
            for (form, expected) in
                [Form::UnitInValue, Form::SecondsOrUnit, Form::Milliseconds, Form::Seconds]
                    .into_iter()
                    .zip(expected)
            {
                assert_eq!(span(text, form), expected, "{text} as {form:?}");
            }
        }
        for bad in ["", "s", "60 sec", "s60", "6 0s"] {
            assert_eq!(span(bad, Form::UnitInValue), None, "{bad}");
        }
    }

    #[test]
    fn a_shown_duration_reads_back_as_itself() {
        for millis in [0, 1, 999, 1_000, 1_500, 60_000, 3_600_001] {
            let span = Duration::from_millis(millis);
            assert_eq!(Duration::read(&Given::from(span.show()), Form::UnitInValue).ok(), Some(span));
        }
        assert_eq!(Duration::from_nanos(1_500).show(), "1500ns");
    }

    #[test]
    fn an_optional_duration_is_turned_off_by_off_and_by_zero() {
        for text in ["off", "OFF", "0", "0ms", "0s"] {
            let read = Option::<Duration>::read(&Given::from(text), Form::SecondsOrUnit);
            assert!(matches!(read, Ok(None)), "{text}");
        }
        assert!(matches!(
            Option::<Duration>::read(&Given::from("5"), Form::SecondsOrUnit),
            Ok(Some(span)) if span == Duration::from_secs(5)
        ));
    }
}
