//! ACME accounts that a customer has at a CA themselves: with their own contact, and bound to what they have with the CA (requirements S0.3).

mod change;
mod choice;
mod create;
mod delete;
mod read;
mod view;

use zonecert_domain::email::Email;
use zonecert_domain::scope::Scope;

pub(crate) use choice::AcmeAccountChoice;

use crate::faults::Faults;
use crate::problem::FieldError;
use crate::route::{Access, Route};
use crate::text;

const MAX_NAME_CHARACTERS: usize = 100;

const MAX_CONTACTS: usize = 5;

pub(crate) fn routes() -> Vec<Route> {
    let (reading, writing) = (Access::Scopes(&[Scope::CertificatesRead]), Access::Scopes(&[Scope::AccountAdmin]));
    vec![
        Route::new(read::__path_list, read::list, reading),
        Route::new(create::__path_create, create::create, writing),
        Route::new(read::__path_get, read::get, reading),
        Route::new(change::__path_change, change::change, writing),
        Route::new(delete::__path_delete, delete::delete, writing),
    ]
}

fn name(given: &str) -> Result<String, FieldError> {
    text::line("/name", given, MAX_NAME_CHARACTERS)
}

/// The addresses as they are stored. None where something is wrong with them, which is told.
fn contact(faults: &mut Faults, given: &[String]) -> Option<Vec<String>> {
    if given.len() > MAX_CONTACTS {
        let detail = format!("Give at most {MAX_CONTACTS} addresses");
        faults.extend([FieldError::new("/contact", "too_many_contacts", detail)]);
        return None;
    }
    let read = |(index, text): (usize, &String)| {
        let read = Email::parse(text).map(|email| email.as_str().to_owned());
        read.map_err(|error| FieldError::new(format!("/contact/{index}"), error.code(), error.detail()))
    };
    let read: Vec<Option<String>> = given.iter().enumerate().map(|given| faults.check(read(given))).collect();
    read.into_iter().collect()
}
