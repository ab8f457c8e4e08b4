//! The generated parts of `docs/state-machines.md` say what the code does.

use std::fmt::Write as _;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::issuance::{IssuanceEvent, IssuanceProgress, IssuanceStatus, IssuanceStep};
use zonecert_domain::order::{OrderEvent, OrderProgress, OrderStatus, OrderStep, OrderTiming, next_step};

const DOCUMENT: &str = "docs/state-machines.md";

/// Stands where a transition does not exist.
const NONE: &str = "·";

#[test]
fn the_order_table_in_the_document_is_that_of_the_code() {
    let columns = OrderEvent::ALL.map(OrderEvent::as_str);
    let rows = OrderStatus::ALL.map(|status| (status.as_str(), OrderEvent::ALL.map(|event| status.after(event).map(OrderStatus::as_str))));
    check("order-table", &matrix("state \\ event", &columns, &rows));
}

#[test]
fn the_order_picture_in_the_document_is_that_of_the_code() {
    let mut edges = Vec::new();
    for status in OrderStatus::ALL {
        for event in OrderEvent::ALL {
            // These two lead from every state that is not over, which the text says; drawn, they would hide the rest.
            if matches!(event, OrderEvent::Failed | OrderEvent::Abandoned) {
                continue;
            }
            if let Some(next) = status.after(event) {
                edges.push((status.as_str(), next.as_str(), event.as_str()));
            }
        }
    }
    check("order-picture", &picture(OrderStatus::Intended.as_str(), &edges));
}

#[test]
fn the_order_steps_in_the_document_are_those_of_the_code() {
    let now = DateTime::UNIX_EPOCH + TimeDelta::hours(1);
    let mut text = "| state | the next worker |\n|---|---|\n".to_owned();
    for status in OrderStatus::ALL {
        let step = |prepared, presented_at: DateTime<Utc>, next_poll_at: DateTime<Utc>| {
            let order = OrderProgress { status, presented_at: Some(presented_at), prepared, next_poll_at: Some(next_poll_at) };
            says(next_step(&order, &OrderTiming::default(), now))
        };
        let long_ago = DateTime::UNIX_EPOCH;
        // In the order in which the circumstances come about.
        let mut steps = vec![
            step(false, now, now + TimeDelta::seconds(1)),
            step(true, now, now + TimeDelta::seconds(1)),
            step(true, long_ago, long_ago),
        ];
        steps.dedup();
        writeln!(text, "| `{status}` | {} |", steps.join(", then ")).unwrap();
    }
    check("order-steps", &text);
}

#[test]
fn the_issuance_table_in_the_document_is_that_of_the_code() {
    let columns = IssuanceEvent::ALL.map(IssuanceEvent::as_str);
    let rows = IssuanceStatus::ALL
        .map(|status| (status.as_str(), IssuanceEvent::ALL.map(|event| status.after(event).map(IssuanceStatus::as_str))));
    check("issuance-table", &matrix("state \\ event", &columns, &rows));
}

#[test]
fn the_issuance_picture_in_the_document_is_that_of_the_code() {
    let edges: Vec<_> = IssuanceStatus::ALL
        .into_iter()
        .flat_map(|status| {
            IssuanceEvent::ALL.into_iter().filter_map(move |event| Some((status.as_str(), status.after(event)?.as_str(), event.as_str())))
        })
        .collect();
    check("issuance-picture", &picture(IssuanceStatus::Active.as_str(), &edges));
}

#[test]
fn what_becomes_of_a_cancelled_issuance_in_the_document_is_what_the_code_does() {
    let mut text = "| state of the order | the next worker |\n|---|---|\n| no order | ends the issuance as `cancelled` |\n".to_owned();
    assert_eq!(cancelled(None), [IssuanceStep::Cancel]);
    for status in OrderStatus::ALL.into_iter().filter(|status| !status.is_terminal()) {
        let [unprepared, prepared] = [false, true]
            .map(|prepared| cancelled(Some((status, prepared))).into_iter().map(says_of_cancelled).collect::<Vec<_>>().join(", then "));
        // The database has no order that is finalizing without a request.
        let line = match status {
            OrderStatus::Finalizing => prepared,
            _ if prepared == unprepared => prepared,
            _ => format!("{unprepared}; with key and request stored: {prepared}"),
        };
        writeln!(text, "| `{status}` | {line} |").unwrap();
    }
    check("cancel-steps", &text);
}

#[test]
fn the_certificate_table_in_the_document_is_that_of_the_code() {
    let columns = CertificateStatus::ALL.map(CertificateStatus::as_str);
    let rows = CertificateStatus::ALL.map(|from| {
        (from.as_str(), CertificateStatus::ALL.map(|to| from.may_become(to).then_some(if from == to { "stays" } else { "yes" })))
    });
    check("certificate-table", &matrix("from \\ to", &columns, &rows));
}

/// What a step is, in the document's words.
fn says(step: OrderStep) -> &'static str {
    match step {
        OrderStep::Place => "sends newOrder",
        OrderStep::WriteChallenges => "reads the authorizations and writes the TXT values down",
        OrderStep::Present => "brings the zone to show them",
        OrderStep::Prepare => "makes key and certificate request and stores both",
        OrderStep::Wait(_) => "waits",
        OrderStep::Notify => "tells the CA to look",
        OrderStep::PollAuthorizations => "looks at the authorizations",
        OrderStep::Finalize => "sends the certificate request",
        OrderStep::PollOrder => "looks at the order and fetches the certificate",
        OrderStep::Nothing => "does nothing: it is over",
    }
}

/// The steps of a cancelled issuance with this order, before and at the moment of the next look.
fn cancelled(order: Option<(OrderStatus, bool)>) -> Vec<IssuanceStep> {
    let now = DateTime::UNIX_EPOCH + TimeDelta::hours(1);
    let moments = [now + TimeDelta::seconds(1), now];
    let step = |next_poll_at| {
        let live_order =
            order.map(|(status, prepared)| OrderProgress { status, presented_at: Some(now), prepared, next_poll_at: Some(next_poll_at) });
        let issuance = IssuanceProgress { status: IssuanceStatus::Active, next_wake_at: Some(now), cancel_requested: true, live_order };
        zonecert_domain::issuance::next_step(&issuance, &OrderTiming::default(), now)
    };
    let mut steps: Vec<_> = moments.into_iter().map(step).collect();
    steps.dedup();
    steps
}

fn says_of_cancelled(step: IssuanceStep) -> &'static str {
    match step {
        IssuanceStep::Cancel => "takes the TXT values out, abandons the order and ends the issuance as `cancelled`",
        IssuanceStep::LookBeforeCancel => "looks at the order first",
        IssuanceStep::Wait(_) => "waits",
        IssuanceStep::BeginOrder | IssuanceStep::Order(_) | IssuanceStep::Nothing => panic!("{step:?}: nothing of it goes on"),
    }
}

fn matrix<const C: usize>(corner: &str, columns: &[&str; C], rows: &[(&str, [Option<&str>; C])]) -> String {
    let mut text = format!("| {corner} |");
    for column in columns {
        write!(text, " {column} |").unwrap();
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(C));
    text.push('\n');
    for (row, cells) in rows {
        write!(text, "| **{row}** |").unwrap();
        for cell in cells {
            write!(text, " {} |", cell.unwrap_or(NONE)).unwrap();
        }
        text.push('\n');
    }
    text
}

/// A diagram that GitHub draws.
fn picture(first: &str, edges: &[(&str, &str, &str)]) -> String {
    let mut text = format!("```mermaid\nstateDiagram-v2\n    [*] --> {first}\n");
    for (from, to, event) in edges {
        writeln!(text, "    {from} --> {to}: {event}").unwrap();
    }
    text.push_str("```\n");
    text
}

/// Compares the part of the document between two marks with what the code says.
fn check(part: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(DOCUMENT);
    let document = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{DOCUMENT}: {error}"));
    let (begin, end) = (format!("<!-- generated: {part} -->\n"), "<!-- end of generated -->");
    let found = document.split_once(&begin).and_then(|(_, rest)| rest.split_once(end)).map(|(found, _)| found);
    assert!(
        found == Some(expected),
        "{DOCUMENT} no longer says what the code does. Put this between `{}` and `{end}`:\n\n{expected}\n",
        begin.trim_end()
    );
}
