//! A mail server on loopback that speaks SMTP, and says what a test tells it to.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::self_signed::self_signed;

/// When its connections are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    Never,
    AfterCommand,
    FromTheStart,
}

/// The server. All goes well with it until a test says otherwise, command by command.
pub(crate) struct SmtpServer {
    pub(crate) address: SocketAddr,
    pub(crate) ca_file: NamedTempFile,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// What is answered to a command, by its first word; `.` is the end of a message, the empty word the greeting.
    replies: Mutex<HashMap<String, String>>,
    /// Every line that came in, messages apart.
    said: Mutex<Vec<String>>,
    messages: Mutex<Vec<String>>,
}

impl SmtpServer {
    pub(crate) async fn start(tls: Tls) -> Result<Self> {
        let (acceptor, ca_file) = self_signed()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, state) = (listener.local_addr()?, Arc::new(State::default()));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, acceptor) = (Arc::clone(&shared), acceptor.clone());
                tokio::spawn(async move {
                    // A client that breaks off has its reason.
                    let _ = match tls {
                        Tls::FromTheStart => match acceptor.accept(stream).await {
                            Ok(stream) => state.converse(stream, true, false).await.map(drop),
                            Err(error) => Err(error),
                        },
                        Tls::Never => state.converse(stream, true, false).await.map(drop),
                        Tls::AfterCommand => match state.converse(stream, true, true).await {
                            Ok(Some(stream)) => match acceptor.accept(stream).await {
                                Ok(stream) => state.converse(stream, false, false).await.map(drop),
                                Err(error) => Err(error),
                            },
                            ended => ended.map(drop),
                        },
                    };
                });
            }
        });
        Ok(Self { address, ca_file, state })
    }

    /// From now on answers `command` so; an empty reply breaks the connection off.
    pub(crate) fn answer(&self, command: &str, reply: &str) {
        self.state.replies.lock().unwrap().insert(command.to_owned(), reply.to_owned());
    }

    /// All goes well again.
    pub(crate) fn recover(&self) {
        self.state.replies.lock().unwrap().clear();
    }

    /// The messages that were taken, as they came.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.state.messages.lock().unwrap().clone()
    }

    /// Every command that was given.
    pub(crate) fn said(&self) -> Vec<String> {
        self.state.said.lock().unwrap().clone()
    }
}

impl State {
    fn reply_to(&self, command: &str, usual: &str) -> String {
        self.replies.lock().unwrap().get(command).cloned().unwrap_or_else(|| usual.to_owned())
    }

    /// Until the client goes, or asks for TLS: then with the connection.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, greet: bool, starttls: bool) -> std::io::Result<Option<S>> {
        let mut stream = BufReader::new(stream);
        let offers =
            if starttls { "250-smtp.test\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN" } else { "250-smtp.test\r\n250 AUTH PLAIN LOGIN" };
        if greet && !say(&mut stream, &self.reply_to("", "220 smtp.test ESMTP")).await? {
            return Ok(None);
        }
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(None);
            }
            let said = line.trim_end().to_owned();
            let command = said.split([' ', ':']).next().unwrap_or_default().to_uppercase();
            self.said.lock().unwrap().push(said);
            let usual = match command.as_str() {
                "EHLO" => offers,
                "STARTTLS" => "220 go ahead",
                "AUTH" => "235 welcome",
                "DATA" => "354 end with a dot",
                "QUIT" => "221 bye",
                _ => "250 ok",
            };
            let reply = self.reply_to(&command, usual);
            if !say(&mut stream, &reply).await? || command == "QUIT" {
                return Ok(None);
            }
            if command == "STARTTLS" {
                return Ok(Some(stream.into_inner()));
            }
            if command == "DATA" && reply.starts_with('3') && !self.take_message(&mut stream).await? {
                return Ok(None);
            }
        }
    }

    async fn take_message<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut BufReader<S>) -> std::io::Result<bool> {
        let mut message = String::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(false);
            }
            if line == ".\r\n" {
                break;
            }
            message.push_str(line.strip_prefix('.').unwrap_or(&line));
        }
        let reply = self.reply_to(".", "250 taken");
        if reply.starts_with('2') {
            self.messages.lock().unwrap().push(message);
        }
        say(stream, &reply).await
    }
}

/// Whether the connection goes on.
async fn say<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, reply: &str) -> std::io::Result<bool> {
    if reply.is_empty() {
        return Ok(false);
    }
    stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
    stream.flush().await?;
    Ok(true)
}
