//! An API that answers what a test wants, over HTTP on a port of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::ID;
use super::authority::Issued;
use crate::api::{Api, base_url};

pub(super) const TOKEN: &str = "zc_3q2-7wAAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk";

/// What is answered to the next question for the files.
#[derive(Clone)]
pub(super) enum Answer {
    /// The version in use, or 304.
    Files(Box<Issued>),
    /// Files that are not those of the certificate that is shown.
    Damaged { shown: Box<Issued>, download: Value },
    /// A problem, with `Retry-After` in seconds where there is one.
    Problem { status: u16, code: &'static str, retry_after: Option<u64> },
}

/// What was asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) line: String,
    pub(super) if_none_match: Option<String>,
    pub(super) body: Value,
}

pub(super) struct FakeApi {
    pub(super) api: Api,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeApi {
    pub(super) fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let base = base_url(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(Mutex::new(Vec::new())));
        let (answers, log) = (Arc::clone(&answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let answer = answers.lock().unwrap().clone();
                log.lock().unwrap().push(serve(stream.unwrap(), &answer));
            }
        });
        Self { api: Api::new(base, TOKEN).unwrap(), answer, asked }
    }

    pub(super) fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// What was asked since the last time.
    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// The reports among it.
    pub(super) fn reports(&self) -> Vec<Value> {
        self.asked().into_iter().filter(|asked| asked.line.starts_with("PUT ")).map(|asked| asked.body).collect()
    }
}

fn serve(stream: TcpStream, answer: &Answer) -> Asked {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let (mut if_none_match, mut length, mut authorized) = (None, 0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "if-none-match" => if_none_match = Some(value.to_owned()),
            "content-length" => length = value.parse().unwrap(),
            "authorization" => authorized = value == format!("Bearer {TOKEN}"),
            _ => {}
        }
    }
    assert!(authorized, "{line}");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let line = line.trim_end().strip_suffix(" HTTP/1.1").unwrap().to_owned();
    let asked = Asked { line, if_none_match, body: serde_json::from_slice(&body).unwrap_or_default() };
    let (status, headers, body) = respond(&asked, answer);
    let body = if status == 304 { String::new() } else { body.to_string() };
    let head = format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    reader.into_inner().write_all((head + &body).as_bytes()).unwrap();
    asked
}

fn respond(asked: &Asked, answer: &Answer) -> (u16, String, Value) {
    if asked.line == format!("PUT /api/v1/certificates/{ID}/deployments/web1") {
        return (200, String::new(), json!({}));
    }
    let is_download = asked.line == format!("GET /api/v1/certificates/{ID}/download");
    assert!(is_download || asked.line == format!("GET /api/v1/certificates/{ID}"), "{}", asked.line);
    match answer {
        Answer::Problem { status, code, retry_after } => {
            let headers = retry_after.map_or_else(String::new, |seconds| format!("Retry-After: {seconds}\r\n"));
            (*status, headers, json!({"code": code, "detail": "What is wrong", "status": status}))
        }
        Answer::Files(issued) if is_download && asked.if_none_match == Some(issued.etag()) => {
            (304, format!("ETag: {}\r\n", issued.etag()), Value::Null)
        }
        Answer::Files(issued) if is_download => (200, format!("ETag: {}\r\n", issued.etag()), issued.download()),
        Answer::Damaged { shown, download } if is_download => (200, format!("ETag: {}\r\n", shown.etag()), download.clone()),
        Answer::Files(shown) | Answer::Damaged { shown, .. } => (200, String::new(), shown.shown()),
    }
}
