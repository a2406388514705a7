//! A client for HTTP/1.1 on one kept-alive connection: just enough to drive the server, so that
//! nothing stands between a test and the bytes. Never repeats a request by itself.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Largest answer that is read.
const BODY_BYTES_MAX: usize = 16 << 20;

/// One connection, opened when it is first needed.
pub(crate) struct Client {
    address: String,
    stream: Option<BufReader<TcpStream>>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    /// Status code.
    pub(crate) status: u16,
    /// Body.
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The body as text, for messages.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", self.text()))
    }
}

impl Client {
    /// For `host:port`.
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), stream: None }
    }

    /// Sends one request and reads its answer.
    ///
    /// # Errors
    /// When the connection failed or the answer is no HTTP. The connection is given up then; whether
    /// the server acted is not known.
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> io::Result<Response> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                BufReader::new(stream)
            }
        };
        let body = body.unwrap_or("");
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.get_mut().write_all(text.as_bytes())?;
        let (response, keep) = read(&mut stream)?;
        if keep {
            self.stream = Some(stream);
        }
        Ok(response)
    }
}

/// One answer, and whether the connection stays open after it.
fn read(stream: &mut impl BufRead) -> io::Result<(Response, bool)> {
    let line = line(stream)?;
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| wrong(&format!("no status line: {line:?}")))?;
    let (mut length, mut chunked, mut keep) = (0, false, true);
    loop {
        let header = self::line(stream)?;
        let Some((name, value)) = header.split_once(':') else { break };
        let value = value.trim().to_ascii_lowercase();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().map_err(|_| wrong("content-length"))?,
            "transfer-encoding" => chunked = value == "chunked",
            "connection" => keep = value != "close",
            _ => {}
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            let size = self::line(stream)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(|_| wrong("chunk size"))?;
            append(stream, &mut body, size)?;
            self::line(stream)?;
            if size == 0 {
                break;
            }
        }
    } else {
        append(stream, &mut body, length)?;
    }
    Ok((Response { status, body }, keep))
}

fn append(stream: &mut impl Read, body: &mut Vec<u8>, size: usize) -> io::Result<()> {
    let start = body.len();
    if start + size > BODY_BYTES_MAX {
        return Err(wrong("the answer is too large"));
    }
    body.resize(start + size, 0);
    stream.read_exact(&mut body[start..])
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// What is answered; `None` where the connection failed or nothing was admitted.
///
/// # Errors
/// Another answer than is good.
pub(crate) fn sent(
    client: &mut Client,
    path: &str,
    body: &Value,
    good: &[u16],
) -> Result<Option<Value>> {
    let Ok(response) = client.request("POST", path, Some(&body.to_string())) else {
        return Ok(None);
    };
    match response.status {
        429 | 503 => Ok(None),
        status if good.contains(&status) => response.json().map(Some),
        status => bail!("{path} with {body} is answered {status}: {}", response.text()),
    }
}

/// A document, of a server that is there.
///
/// # Errors
/// Anything but one.
pub(crate) fn got(client: &mut Client, path: &str) -> Result<Value> {
    let response = client.request("GET", path, None)?;
    if response.status != 200 {
        bail!("{path} is answered {}: {}", response.status, response.text());
    }
    response.json()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn lengths_and_chunks_are_read_on_one_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut seen = [0; 4096];
            let answers = [
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                "HTTP/1.1 409 X\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
            ];
            for answer in answers {
                assert!(stream.read(&mut seen).unwrap() > 0);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let mut client = Client::new(&address);
        let first = client.request("GET", "/", None).unwrap();
        assert_eq!((first.status, first.body.as_slice()), (200, &b"ok"[..]));
        let second = client.request("POST", "/x", Some("{}")).unwrap();
        assert_eq!((second.status, second.body.as_slice()), (409, &b"abcd"[..]));
        server.join().unwrap();
        assert!(client.request("GET", "/", None).is_err());
    }

    #[test]
    fn an_answer_cut_off_is_an_error() {
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab";
        assert!(read(&mut &cut[..]).is_err());
        assert!(read(&mut &b"HTTP/1.1 20"[..]).is_err());
        assert!(read(&mut &b""[..]).is_err());
    }
}
