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

    /// 400 with all of them, or `value`, which is there if nothing was wrong. A fault that is alone gives the problem its own code and text.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Problem> {
        match (self.0.as_slice(), value) {
            ([], Some(value)) => Ok(value),
            ([], None) => Err(Problem::internal()),
            ([only], _) => Err(Problem::bad_request(only.code, only.detail.clone()).with_errors(self.0)),
            (_, _) => Err(Problem::invalid(self.0)),
        }
    }
}
