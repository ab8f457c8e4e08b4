//! Clients that ask as fast as they are answered, over connections that are kept open.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// Nobody waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which answer is the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// 200 with a `Content-Length`.
    Ok,
    /// 304, which has no body (RFC 9110 §15.4.5).
    NotModified,
}

/// Sends `request` again and again over `clients` connections for `time`. Answers how many answers came per second; each has to be as expected.
///
/// Plain threads and reads: what they take of the machine is taken from what they measure.
pub(super) fn requests_per_second(address: SocketAddr, request: &[u8], expected: Expected, clients: usize, time: Duration) -> Result<f64> {
    let begun = Instant::now();
    let answers = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(|| ask(address, request, expected, begun + time))).collect();
        clients.into_iter().map(|client| client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?).sum::<Result<u32>>()
    })?;
    Ok(f64::from(answers) / begun.elapsed().as_secs_f64())
}

fn ask(address: SocketAddr, request: &[u8], expected: Expected, until: Instant) -> Result<u32> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = vec![0; 64 * 1024];
    let mut answers = 0;
    while Instant::now() < until {
        stream.write_all(request)?;
        let mut filled = 0;
        loop {
            let read = stream.read(&mut buffer[filled..]).context("no answer")?;
            ensure!(read > 0, "the server hung up");
            filled += read;
            if is_complete(&buffer[..filled], expected)? {
                break;
            }
        }
        answers += 1;
    }
    Ok(answers)
}

/// Whether this is the whole of an answer.
fn is_complete(answer: &[u8], expected: Expected) -> Result<bool> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    let head = std::str::from_utf8(&answer[..end])?;
    let status = match expected {
        Expected::Ok => "200",
        Expected::NotModified => "304",
    };
    if head.split(' ').nth(1) != Some(status) {
        bail!("answered {}", String::from_utf8_lossy(answer));
    }
    if expected == Expected::NotModified {
        return Ok(true);
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let length = length.context("an answer without Content-Length")??;
    Ok(answer.len() >= end + 4 + length)
}

#[cfg(test)]
mod tests {
    use super::{Expected, is_complete};

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        for cut in 0..whole.len() {
            assert!(!is_complete(&whole[..cut], Expected::Ok).unwrap(), "{cut}");
        }
        assert!(is_complete(whole, Expected::Ok).unwrap());
        assert!(is_complete(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", Expected::Ok).is_err());
        assert!(is_complete(b"HTTP/1.1 200 OK\r\n\r\n", Expected::Ok).is_err());
        assert!(is_complete(whole, Expected::NotModified).is_err());
        assert!(is_complete(b"HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n", Expected::NotModified).unwrap());
        assert!(!is_complete(b"HTTP/1.1 304 Not Modified\r\n", Expected::NotModified).unwrap());
    }
}
