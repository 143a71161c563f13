//! Replies of a server, read from its bytes: the part of the protocol (RESP2) that is in the path of every step.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

mod imported {
    #![allow(missing_docs)]
    pyo3::import_exception!(redis.exceptions, ConnectionError);
}
use imported::ConnectionError;

/// Bytes of room that a connection keeps.
const ROOM_KEPT: usize = 1 << 16;

/// Replies of one connection in their order; an error reply is a value.
///
/// Parameters
/// ----------
/// pending
///     What stands for: no whole reply yet.
/// error_of
///     Makes a value of the text of an error reply.
#[pyclass(name = "Replies", module = "equipoise._rust")]
pub(crate) struct PyReplies {
    pending: Py<PyAny>,
    error_of: Py<PyAny>,
    data: Vec<u8>,
    at: usize,
    /// Arrays that have begun, each with its length.
    open: Vec<(Vec<Py<PyAny>>, usize)>,
}

impl PyReplies {
    /// When everything has been read: let go of it, and of room that a large reply took.
    fn let_go(&mut self) {
        if self.at == self.data.len() {
            self.at = 0;
            self.data.clear();
            self.data.shrink_to(ROOM_KEPT);
        }
    }
}

fn not_a_reply(line: &[u8]) -> PyErr {
    let shown = &line[..line.len().min(20)];
    ConnectionError::new_err(format!("not a reply: \"{}\"", shown.escape_ascii()))
}

/// The number of a line; its first byte is its kind.
fn number(line: &[u8]) -> PyResult<i64> {
    let digits = line.get(1..).and_then(|rest| std::str::from_utf8(rest).ok());
    digits.and_then(|text| text.parse().ok()).ok_or_else(|| not_a_reply(line))
}

#[pymethods]
impl PyReplies {
    #[new]
    fn new(pending: Py<PyAny>, error_of: Py<PyAny>) -> Self {
        Self { pending, error_of, data: Vec::new(), at: 0, open: Vec::new() }
    }

    /// Bytes in the order in which they came; none at all: the server has closed the connection.
    fn feed(&mut self, data: &[u8]) -> PyResult<()> {
        if data.is_empty() {
            return Err(ConnectionError::new_err("the server closed the connection"));
        }
        self.data.drain(..self.at);
        self.at = 0;
        self.data.extend_from_slice(data);
        Ok(())
    }

    /// The next reply, or what stands for none yet. ConnectionError: the bytes are not the protocol.
    fn take(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        loop {
            let rest = &self.data[self.at..];
            let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
                return Ok(self.pending.clone_ref(py));
            };
            let (line, mut next) = (&rest[..end], end + 2);
            let mut value = match line.first() {
                Some(b'$') => match usize::try_from(number(line)?) {
                    Err(_) => py.None(),
                    Ok(size) => {
                        let Some(text) = next.checked_add(size).and_then(|stop| rest.get(next..stop)) else {
                            return Ok(self.pending.clone_ref(py));
                        };
                        next += size + 2;
                        if rest.len() < next {
                            return Ok(self.pending.clone_ref(py));
                        }
                        PyBytes::new(py, text).into_any().unbind()
                    }
                },
                Some(b':') => number(line)?.into_pyobject(py)?.into_any().unbind(),
                Some(b'+') => PyBytes::new(py, &line[1..]).into_any().unbind(),
                Some(b'-') => self.error_of.call1(py, (String::from_utf8_lossy(&line[1..]),))?,
                Some(b'*') => match usize::try_from(number(line)?) {
                    Err(_) => py.None(),
                    Ok(0) => PyList::empty(py).into_any().unbind(),
                    Ok(size) => {
                        self.open.push((Vec::new(), size));
                        self.at += next;
                        continue;
                    }
                },
                _ => return Err(not_a_reply(line)),
            };
            self.at += next;
            loop {
                let Some((items, size)) = self.open.last_mut() else {
                    self.let_go();
                    return Ok(value);
                };
                items.push(value);
                if items.len() < *size {
                    break;
                }
                value = PyList::new(py, items.drain(..))?.into_any().unbind();
                self.open.pop();
            }
        }
    }
}
