//! An HTTP/1.1 client without manners of its own.

use std::{io, net::SocketAddr};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

/// One connection.
pub(crate) struct Client<S = TcpStream> {
    stream: S,
    /// What has been read and not been used.
    ahead: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }

    /// The body as a problem, which says the response's status.
    #[track_caller]
    pub(crate) fn problem(&self) -> Value {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let problem: Value = serde_json::from_str(&self.body).expect("a problem is JSON");
        assert_eq!(problem["status"], self.status);
        assert_eq!(self.header("retry-after").is_some(), self.status == 503);
        problem
    }
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("somebody listens");
        Self::over(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            ahead: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        let sent = self.stream.write_all(text.as_bytes()).await;
        sent.expect("the connection is open");
    }

    /// Sends a request without a body.
    pub(crate) async fn ask(&mut self, method: &str, path: &str) {
        self.send(&without_body(method, path)).await;
    }

    pub(crate) async fn get(&mut self, path: &str) -> Response {
        self.ask("GET", path).await;
        self.response().await
    }

    pub(crate) async fn post(&mut self, path: &str, kind: &str, body: &str) -> Response {
        self.send(&with_body(path, kind, body)).await;
        self.response().await
    }

    pub(crate) async fn response(&mut self) -> Response {
        self.next_response().await.expect("a response")
    }

    /// The next response; an error if the connection ends within it or before it.
    pub(crate) async fn next_response(&mut self) -> io::Result<Response> {
        let mut response = self.head().await?;
        let chunked = response.header("transfer-encoding") == Some("chunked");
        let length = response.header("content-length").map(str::parse);
        response.body = if chunked {
            self.chunks().await?
        } else {
            let length = length.map_or(0, |length| length.expect("a number"));
            self.take(length).await?
        };
        Ok(response)
    }

    /// The next response to a HEAD: it says a length, and has no body.
    pub(crate) async fn head(&mut self) -> io::Result<Response> {
        let head = self.line_by("\r\n\r\n").await?;
        let mut lines = head.lines();
        let status = lines.next().unwrap_or_default();
        let status = status.split(' ').nth(1).unwrap_or_default();
        let headers = lines.filter_map(|line| line.split_once(": "));
        Ok(Response {
            status: status.parse().expect("a status"),
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: String::new(),
        })
    }

    pub(crate) async fn chunk(&mut self) -> io::Result<String> {
        let length = self.line_by("\r\n").await?;
        let length = usize::from_str_radix(&length, 16).expect("a chunk's length");
        let chunk = self.take(length).await?;
        self.take(2).await?;
        Ok(chunk)
    }

    async fn chunks(&mut self) -> io::Result<String> {
        let mut body = String::new();
        loop {
            match self.chunk().await?.as_str() {
                "" => return Ok(body),
                chunk => body.push_str(chunk),
            }
        }
    }

    /// The end of the connection: an error if it is a reset.
    pub(crate) async fn end(&mut self) -> io::Result<()> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await?;
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
        Ok(())
    }

    async fn line_by(&mut self, end: &str) -> io::Result<String> {
        loop {
            let text = String::from_utf8_lossy(&self.ahead);
            if let Some((line, _)) = text.split_once(end) {
                let line = line.to_owned();
                self.ahead.drain(..line.len() + end.len());
                return Ok(line);
            }
            self.read_more().await?;
        }
    }

    pub(crate) async fn take(&mut self, length: usize) -> io::Result<String> {
        while self.ahead.len() < length {
            self.read_more().await?;
        }
        let taken = self.ahead.drain(..length).collect();
        Ok(String::from_utf8(taken).expect("UTF-8"))
    }

    async fn read_more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.ahead).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

fn without_body(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: test\r\n\r\n")
}

fn with_body(path: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: {kind}\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}
