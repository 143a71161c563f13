//! Nested tuples of numbers and text as JSON: how the SQLite store keeps what is nested in a record.

use pyo3::prelude::*;

use super::nested::{Form, write};

/// Compact JSON, unicode as it is.
pub(super) struct Json(String);

impl Json {
    pub(super) fn new() -> Self {
        Self(String::with_capacity(512))
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl Form for Json {
    const LOOSE: bool = true;

    fn none(&mut self) {
        self.0.push_str("null");
    }

    fn flag(&mut self, on: bool) {
        self.0.push_str(if on { "true" } else { "false" });
    }

    fn number(&mut self, number: i64) {
        self.0.push_str(itoa::Buffer::new().format(number));
    }

    /// In quotes, escaped as the standard library's `json` does where text need not be ASCII.
    fn text(&mut self, text: &str) {
        let out = &mut self.0;
        out.push('"');
        let mut rest = text;
        while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
            let (plain, escaped) = rest.split_at(at);
            out.push_str(plain);
            match escaped.as_bytes()[0] {
                b'\n' => out.push_str("\\n"),
                b'\r' => out.push_str("\\r"),
                b'\t' => out.push_str("\\t"),
                0x08 => out.push_str("\\b"),
                0x0c => out.push_str("\\f"),
                byte @ (b'"' | b'\\') => out.extend(['\\', char::from(byte)]),
                control => {
                    let half = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
                    out.extend(['\\', 'u', '0', '0', half(control >> 4), half(control & 0xf)]);
                }
            }
            rest = &escaped[1..];
        }
        out.push_str(rest);
        out.push('"');
    }

    fn begin(&mut self, _: usize) {
        self.0.push('[');
    }

    fn next(&mut self) {
        self.0.push(',');
    }

    fn end(&mut self) {
        self.0.push(']');
    }
}

/// Compact JSON of tuples and lists of exact ints, strs, bools and None; unicode as it is.
///
/// Raises ValueError where there is anything else in it, UnicodeEncodeError (one of those) for text that has no UTF-8.
#[pyfunction]
pub(super) fn compact_json(nested: &Bound<'_, PyAny>) -> PyResult<String> {
    let mut json = Json::new();
    write(&mut json, nested)?;
    Ok(json.into_text())
}
