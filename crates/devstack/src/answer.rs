//! The answers of our proxies: whole, or broken off in the middle.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::{Body, Bytes, Frame, SizeHint};

/// What a proxy answers.
pub(crate) type Answer = Response<AnswerBody>;

/// A body that is there as a whole; or a part of one, after which the connection is cut.
pub(crate) struct AnswerBody {
    bytes: Option<Bytes>,
    end: End,
}

enum End {
    Orderly,
    /// What is there leaves first.
    CutSoon,
    Cut,
}

impl AnswerBody {
    /// The bytes, where none has left yet.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        Self { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), end: End::Orderly }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match self.end {
            End::Orderly => Poll::Ready(None),
            End::CutSoon => {
                self.end = End::Cut;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            End::Cut => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none() && matches!(self.end, End::Orderly)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.bytes, &self.end) {
            (bytes, End::Orderly) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            _ => SizeHint::default(),
        }
    }
}

/// A text with this status.
pub(crate) fn text(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(AnswerBody::from(Bytes::from(text)));
    *answer.status_mut() = status;
    answer
}

/// JSON with this status.
pub(crate) fn json(status: u16, body: String) -> Answer {
    let mut answer = text(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// What a server has answered, without what was for the way to the proxy only.
pub(crate) fn passed_on(status: StatusCode, mut headers: HeaderMap, bytes: Bytes) -> Answer {
    for hop_by_hop in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(hop_by_hop);
    }
    let mut answer = Response::new(AnswerBody::from(bytes));
    (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
    answer
}

/// The same answer, of which one half arrives before the connection is cut.
pub(crate) fn broken_off(answer: Answer) -> Answer {
    let (mut head, body) = answer.into_parts();
    let whole = body.bytes.unwrap_or_default();
    if whole.is_empty() {
        // A 204 has no middle.
        head.status = StatusCode::OK;
    }
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(whole.len().max(2)));
    Response::from_parts(head, AnswerBody { bytes: Some(whole.slice(..whole.len() / 2)), end: End::CutSoon })
}
