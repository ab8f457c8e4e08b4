//! `cargo xtask bench search`.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use reqwest::StatusCode;
use tokio_postgres::Client;

use super::service::Service;
use super::{median, percentile_95};
use crate::api::{Api, text};
use crate::report::say;

const EMAIL: &str = "search@zonecert.test";
/// Certificates whose names end alike.
const PER_CUSTOMER: u32 = 100;
/// Days over which the ends of the certificates are spread.
const DAYS: u32 = 400;
/// What a search may take, in milliseconds at the 95th percentile.
const ALLOWED: f64 = 50.0;
/// How often something is inserted and something changed meanwhile.
const WRITES_EVERY: Duration = Duration::from_millis(10);

#[derive(Args)]
#[command(
    about = "Measure searches among a hundred thousand uploaded certificates of one account, while others are inserted and changed",
    long_about = "Measure searches by suffix of a name, by expiry and by fingerprint, among a hundred thousand uploaded certificates of one account, while \
others are inserted and changed, on a stack of its own under .dev/bench-search. Prints median and 95th percentile of each beside those of a certificate that is read by its identifier. \
Fails when a search takes more than 50 ms at the 95th percentile."
)]
pub(super) struct Search {
    /// How many certificates are stored
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=2_000_000))]
    certificates: u32,
    /// How often each is measured
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(20..=10_000))]
    rounds: u32,
    /// Use this binary instead of building one
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// What is asked for, and how many certificates the first page of the answer has at least.
struct Question {
    name: &'static str,
    path: fn(&Sample) -> String,
    at_least: usize,
}

/// A certificate that is there, and a moment by which some have ended.
struct Sample {
    id: String,
    customer: String,
    sha1: String,
    sha256: String,
    soon: String,
}

/// The first is what the others are held against.
const QUESTIONS: [Question; 6] = [
    Question { name: "one by its identifier", path: |sample| format!("/certificates/{}", sample.id), at_least: 0 },
    Question { name: "names under one of a thousand", path: |sample| format!("/certificates?san={}", sample.customer), at_least: 1 },
    Question { name: "names under that of all", path: |_| "/certificates?san=mine.test".to_owned(), at_least: 1 },
    Question { name: "ends within a day", path: |sample| format!("/certificates?expiring_before={}", sample.soon), at_least: 1 },
    Question { name: "SHA-1", path: |sample| format!("/certificates?fingerprint={}", sample.sha1), at_least: 1 },
    Question { name: "SHA-256", path: |sample| format!("/certificates?fingerprint={}", sample.sha256), at_least: 1 },
];

impl Search {
    pub(super) async fn measure(&self) -> Result<()> {
        let service = Service::start(self.binary.as_deref(), "bench-search", EMAIL).await?;
        let (api, database) = (&service.api, service.connect().await?);
        insert(&database, 1, self.certificates).await.context("certificates")?;
        database.batch_execute("VACUUM ANALYZE").await?;
        say(&format!("{} certificates stored", self.certificates));

        let samples = self.samples(api, &database).await?;
        let writer = service.connect().await?;
        let times = tokio::select! {
            times = ask(api, &samples) => times?,
            Err(error) = write(&writer, self.certificates) => return Err(error.context("the writer")),
        };
        let stored: i64 = database.query_one("SELECT count(*) FROM certificates", &[]).await?.get(0);
        service.stop().await?;

        println!(
            "\nOne account with {} uploaded certificates, {stored} in the end; {} rounds, while others were inserted and changed",
            self.certificates, self.rounds
        );
        println!("{:<32}{:>10}{:>18}", "", "median", "95th percentile");
        for (question, times) in QUESTIONS.iter().zip(&times) {
            println!("  {:<30}{:>7.2} ms{:>15.2} ms", question.name, median(times), percentile_95(times));
        }
        for (question, times) in QUESTIONS.iter().zip(&times) {
            let slow = percentile_95(times);
            ensure!(slow <= ALLOWED, "{}: {slow:.2} ms at the 95th percentile, {ALLOWED} are allowed", question.name);
        }
        ensure!(stored > i64::from(self.certificates), "nothing was inserted meanwhile");
        Ok(())
    }

    /// One for each round, and one more, all over the table.
    async fn samples(&self, api: &Api, database: &Client) -> Result<Vec<Sample>> {
        let step = (self.certificates / (self.rounds + 1)).max(1);
        let query = format!(
            "SELECT certificates.domain, fingerprint_sha1, fingerprint_sha256, split_part(certificates.domain, '.', 2) || '.mine.test',
                 to_char((now() + interval '1 day') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
             FROM certificates JOIN versions ON versions.id = current_version_id WHERE certificates.number % {step} = 0 ORDER BY certificates.number LIMIT {}",
            self.rounds + 1
        );
        let mut samples = Vec::new();
        for row in database.query(&query, &[]).await? {
            // The identifier as clients write it.
            let found = api.get(&format!("/certificates?name={}", row.get::<_, String>(0))).await?.expect(StatusCode::OK)?;
            let id = text(&found["certificates"][0], "id")?;
            samples.push(Sample { id, sha1: row.get(1), sha256: row.get(2), customer: row.get(3), soon: row.get(4) });
        }
        Ok(samples)
    }
}

/// Sorted milliseconds of each question, asked in turns. The first turn fills caches.
async fn ask(api: &Api, samples: &[Sample]) -> Result<Vec<Vec<f64>>> {
    let mut all = QUESTIONS.map(|_| Vec::new());
    for (round, sample) in samples.iter().enumerate() {
        for (question, times) in QUESTIONS.iter().zip(&mut all) {
            let path = (question.path)(sample);
            let begun = Instant::now();
            let answer = api.get(&path).await?.expect(StatusCode::OK)?;
            let took = begun.elapsed().as_secs_f64() * 1000.0;
            let found = answer["certificates"].as_array().map_or(0, Vec::len);
            ensure!(found >= question.at_least, "{path}: {found} were found");
            if round > 0 {
                times.push(took);
            }
        }
    }
    for times in &mut all {
        times.sort_by(f64::total_cmp);
    }
    Ok(all.into())
}

/// Inserts certificates behind `last` and changes others, until it is dropped.
async fn write(database: &Client, last: u32) -> Result<Infallible> {
    let mut times = tokio::time::interval(WRITES_EVERY);
    for number in last + 1.. {
        times.tick().await;
        insert(database, number, number).await?;
        let changed = number.wrapping_mul(7919) % last + 1;
        let change = format!(
            "BEGIN; SET LOCAL session_replication_role = replica;
             UPDATE certificates SET label = 'changed', expires_at = expires_at + interval '1 hour', updated_at = now() WHERE number = {changed}; COMMIT"
        );
        database.batch_execute(&change).await?;
    }
    anyhow::bail!("all numbers are used")
}

/// Uploaded certificates of the account with the numbers from `from` to `to`, with two names and a version each.
async fn insert(database: &Client, from: u32, to: u32) -> Result<()> {
    let statements = format!(
        "BEGIN;
         SET LOCAL session_replication_role = replica;
         CREATE TEMPORARY TABLE new ON COMMIT DROP AS
             SELECT md5('c' || n)::uuid AS id, md5('v' || n)::uuid AS version, n AS number, account_id, 'h' || n || '.c' || n / {PER_CUSTOMER} || '.mine.test' AS domain,
                 'test.mine.c' || n / {PER_CUSTOMER} || '.h' || n AS reversed, now() + make_interval(mins => (n::bigint * 7919 % ({DAYS} * 1440))::integer) AS ends
             FROM generate_series({from}, {to}) AS n, users WHERE email = '{EMAIL}';
         INSERT INTO certificates (id, account_id, source, name, number, domain, key_algorithm, auto_renew, status, current_version_id, created_at, issued_at, expires_at)
         SELECT id, account_id, 'upload', domain, number, domain, CASE number % 3 WHEN 0 THEN 'rsa2048' ELSE 'ecdsa_p256' END, false, 'issued', version,
             now() - interval '30 days' + make_interval(secs => number), now(), ends FROM new;
         INSERT INTO certificate_names (account_id, certificate_id, position, name, reversed_name)
         SELECT account_id, id, 0, domain, reversed FROM new UNION ALL SELECT account_id, id, 1, 'www.' || domain, reversed || '.www' FROM new;
         INSERT INTO versions (id, account_id, certificate_id, number, source, key_version_id, chain_pem, names, serial, fingerprint_sha256, issuer, subject, not_before, not_after,
             details, fingerprint_sha1, side)
         SELECT version, account_id, id, 1, 'upload', md5('k' || number)::uuid, repeat(md5(number::text), 100), ARRAY[domain, 'www.' || domain], md5('s' || number),
             md5('a' || number) || md5('b' || number), 'CN=Issuer ' || number % 20 || ',O=Authority,C=US', 'CN=' || domain, ends - interval '{DAYS} days', ends,
             jsonb_build_object('sha1_fingerprint_hex', left(md5('x' || number) || md5('y' || number), 40), 'key_type', 'ec', 'key_bits', 256,
                 'signature_algorithm', 'ecdsa-with-SHA256', 'crl_urls', '[\"http://crl.authority.test/1.crl\"]'::jsonb, 'ocsp_urls', '[]'::jsonb,
                 'ca_issuer_urls', '[\"http://authority.test/1.der\"]'::jsonb, 'must_staple', false, 'side', 'server', 'sct_count', 2, 'is_self_signed', false),
             left(md5('x' || number) || md5('y' || number), 40), 'server' FROM new;
         COMMIT"
    );
    Ok(database.batch_execute(&statements).await?)
}
