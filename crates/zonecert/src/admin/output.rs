//! What a command says: for people, or as JSON for programs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use serde_json::Value;

/// For whom.
#[derive(Args, Clone, Copy)]
pub(super) struct OutputArgs {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// What a command says, and whether all is well.
pub(super) struct Said {
    text: String,
    well: bool,
}

impl Said {
    /// As JSON, whoever reads it.
    pub(super) fn json(value: &Value) -> Self {
        Self { text: format!("{value:#}\n"), well: true }
    }

    /// As JSON where that is asked for, else as text.
    pub(super) fn either(output: OutputArgs, value: &Value, text: String) -> Self {
        if output.json { Self::json(value) } else { Self { text, well: true } }
    }

    /// The same, and the program ends with 1 where something is wrong.
    pub(super) fn with_health(self, well: bool) -> Self {
        Self { well, ..self }
    }

    pub(super) fn print(self) -> Result<ExitCode> {
        std::io::stdout().lock().write_all(self.text.as_bytes())?;
        Ok(if self.well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Columns as wide as what stands in them, the last one as it is. The first row is the heading.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut text = String::new();
    let widths: [usize; N] = std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How long ago, in the largest unit that says enough.
pub(super) fn ago(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    length(now - then)
}

/// A length of time in the largest unit that says enough.
pub(super) fn length(time: TimeDelta) -> String {
    let seconds = time.num_seconds();
    match seconds.unsigned_abs() {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// As many seconds; none where they are too many to be counted.
pub(super) fn seconds(seconds: f64) -> TimeDelta {
    let time = Duration::try_from_secs_f64(seconds.abs()).ok().and_then(|time| TimeDelta::from_std(time).ok()).unwrap_or_default();
    if seconds < 0.0 { -time } else { time }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let rows = [["queue", "due"].map(str::to_owned), ["revoke", "3"].map(str::to_owned)];
        assert_eq!(table(&rows), "queue   due\nrevoke  3\n");
    }

    #[test]
    fn a_length_of_time_is_told_in_the_unit_that_says_enough() {
        let told = [0, 119, 120, 7_199, 7_200, 172_799, 172_800, -300].map(|seconds| length(TimeDelta::seconds(seconds)));
        assert_eq!(told, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d", "-5 min"]);
    }
}
