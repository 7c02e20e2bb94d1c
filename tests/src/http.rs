//! An HTTP/1.1 client that does what it is told and hides nothing: no pool, no retries, no
//! redirects.

use std::fmt::{Display, Write as _};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a connection waits for bytes, unless [told otherwise](Connection::set_timeout).
const TIMEOUT: Duration = Duration::from_secs(10);

/// An answer, its body complete.
#[derive(Clone, Debug)]
pub struct Response {
    /// Such as 200.
    pub status: u16,
    /// In the order in which they came.
    pub headers: Vec<(String, String)>,
    /// Without the framing of a chunked one.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON. One that is not fails the test.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_slice(&self.body) {
            Ok(json) => json,
            Err(error) => panic!(
                "{error} in the body of a {}: {:?}",
                self.status,
                self.text()
            ),
        }
    }
}

/// One GET on a connection of its own.
///
/// # Errors
///
/// When there is no answer: the connection is refused, closed or silent.
pub fn get(addr: SocketAddr, path: &str) -> io::Result<Response> {
    Connection::open(addr)?.request("GET", path, &[("connection", "close")], b"")
}

/// One POST of a JSON body, right or wrong, on a connection of its own.
///
/// # Errors
///
/// When there is no answer: the connection is refused, closed or silent.
pub fn post_json(addr: SocketAddr, path: &str, body: impl Display) -> io::Result<Response> {
    let headers = [
        ("connection", "close"),
        ("content-type", "application/json"),
    ];
    Connection::open(addr)?.request("POST", path, &headers, body.to_string().as_bytes())
}

/// A connection that is kept: for one request after the other, or for bytes as they are.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// When nothing listens there.
    pub fn open(addr: SocketAddr) -> io::Result<Self> {
        Self::open_within(addr, TIMEOUT)
    }

    /// Connects, within this time, which is then the [timeout](Self::set_timeout).
    ///
    /// # Errors
    ///
    /// When nothing listens there.
    pub fn open_within(addr: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, timeout)?;
        stream.set_nodelay(true)?;
        let connection = Self {
            stream: BufReader::new(stream),
        };
        connection.set_timeout(timeout)?;
        Ok(connection)
    }

    /// How long to wait for the next bytes. Defaults to 10 s.
    ///
    /// # Errors
    ///
    /// When the system refuses it: zero is not a timeout.
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(timeout))?;
        self.stream.get_ref().set_write_timeout(Some(timeout))
    }

    /// A GET; the connection stays open if the server lets it.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.request("GET", path, &[], b"")
    }

    /// A POST of a JSON body, right or wrong; the connection stays open if the server lets it.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub fn post_json(&mut self, path: &str, body: impl Display) -> io::Result<Response> {
        self.request(
            "POST",
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    /// Any request. `host` and `content-length` are added.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let addr = self.stream.get_ref().peer_addr()?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\n");
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !body.is_empty() || !matches!(method, "GET" | "HEAD") {
            let _ = write!(head, "content-length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        self.send(&[head.as_bytes(), body].concat())?;
        self.answer(method != "HEAD")
    }

    /// Sends bytes as they are: half a request, two at once, no HTTP at all.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads the answer to a request that was [sent](Self::send) as bytes.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the connection ends first, `ConnectionReset` when it breaks.
    pub fn read_response(&mut self) -> io::Result<Response> {
        self.answer(true)
    }

    /// Reads whatever still comes, until the server closes the connection.
    ///
    /// # Errors
    ///
    /// `ConnectionReset` when it did so with a RST, `WouldBlock` when it did not do it in time.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    fn answer(&mut self, with_body: bool) -> io::Result<Response> {
        let (status, headers) = loop {
            let (status, headers) = self.head()?;
            // `100 Continue` and its like come before the answer.
            if status >= 200 {
                break (status, headers);
            }
        };
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        if with_body && !matches!(status, 204 | 304) {
            response.body = self.body(&response)?;
        }
        Ok(response)
    }

    fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let first = self.line()?;
        let status = first
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5)?.parse().ok());
        let status = status.ok_or_else(|| invalid(&first))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(&line))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn body(&mut self, response: &Response) -> io::Result<Vec<u8>> {
        if response
            .header("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            return self.chunks();
        }
        match response.header("content-length") {
            Some(length) => self.exactly(length.parse().map_err(|_| invalid(length))?),
            None => self.read_to_end(),
        }
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| invalid(&line))?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.exactly(size)?);
            self.line()?;
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// A line without its end.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        String::from_utf8(line).map_err(|error| invalid(&error.to_string()))
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP/1: {what:?}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A connection to a server that says all of this, whatever it is asked, and closes.
    fn connection(answers: &'static str) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let addr = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the test connects");
            stream
                .write_all(answers.as_bytes())
                .expect("the test reads");
            // Closed with bytes unread it would be reset.
            stream
                .shutdown(std::net::Shutdown::Write)
                .expect("it is open");
            let _ = io::copy(&mut stream, &mut io::sink());
        });
        Connection::open(addr).expect("it listens")
    }

    #[test]
    fn answers_are_told_apart_on_a_kept_connection() {
        let mut connection = connection(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nfirst\
             HTTP/1.1 204 No Content\r\n\r\n\
             HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nsec\r\n3;x=y\r\nond\r\n0\r\n\r\n\
             HTTP/1.1 200 OK\r\n\r\n{\"to\": \"the end\"}",
        );
        let answer = connection.post_json("/", "{}").expect("the first");
        assert_eq!((answer.status, answer.text().as_str()), (202, "first"));
        let answer = connection.get("/").expect("the second");
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        let answer = connection.get("/").expect("the third");
        assert_eq!((answer.status, answer.text().as_str()), (503, "second"));
        assert_eq!(answer.header("retry-after"), Some("2"));
        let answer = connection.get("/").expect("the fourth");
        assert_eq!(answer.json()["to"], "the end");
    }

    #[test]
    fn an_end_before_the_answer_is_an_error() {
        let error = connection("HTTP/1.1 200 OK\r\ncontent-le")
            .get("/")
            .expect_err("half an answer");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let error = connection("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfour")
            .get("/")
            .expect_err("half a body");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
