//! Gathers all that is wrong with a request, so that a client sees it at once and not one by one.

use crate::problem::{FieldError, Problem};

/// What was found wrong so far.
#[derive(Default)]
pub(crate) struct Faults(Vec<FieldError>);

impl Faults {
    /// Keeps what is wrong with a value, if anything is.
    pub(crate) fn check<T>(&mut self, value: Result<T, FieldError>) -> Option<T> {
        value.map_err(|fault| self.0.push(fault)).ok()
    }

    /// Keeps several faults.
    pub(crate) fn extend(&mut self, faults: impl IntoIterator<Item = FieldError>) {
        self.0.extend(faults);
    }

    /// 400 with all of them, or `value`, which is there if nothing was wrong.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Problem> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            None if self.0.is_empty() => Err(Problem::internal()),
            _ => Err(Problem::invalid(self.0)),
        }
    }
}
