//! What a server may be told, each limit with its unit and the reason for its default.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::access::Tokens;
use crate::error::{Error, Result};
use crate::monitor::LiveView;
use crate::promql;
use crate::query::Limits;

/// How many requests one token, or one address where there are no tokens, may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRate {
    /// In the long run; at least 1.
    pub requests_per_second: u32,
    /// That may come at once; at least 1.
    pub burst: u32,
}

/// Everything a server can be told at [`Server::spawn`](super::Server::spawn).
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where to listen; port 0 takes a free one. 127.0.0.1:9090.
    pub listen: SocketAddr,
    /// Who may do what; `None` lets everybody do everything.
    pub tokens: Option<Tokens>,
    /// Whether a server without tokens may listen where other machines reach it.
    pub open_to_everybody: bool,
    /// Names, beside `localhost` and the loopback's addresses, that a request to a server without
    /// tokens may carry in `Host`: what a proxy in front is called. Lower case, without a port.
    pub hosts: Vec<String>,
    /// The origin whose pages may read answers (`https://grafana.example`), for browsers that talk to
    /// the server themselves. `None`: no page but the server's own.
    pub cross_origin: Option<String>,
    /// Threads that move bytes between sockets and requests; queries have threads of their own. 2.
    pub threads: usize,
    /// Connections at once; further ones wait to be accepted. 1,024.
    pub connections_max: u32,
    /// Queries computed at once. 8: each runs on all the engine's threads by itself.
    pub queries_max: u32,
    /// Writes taken in at once. 4: each waits for the log, which takes them in groups.
    pub writes_max: u32,
    /// How long a request waits for its turn before it is told to come back. 10 s.
    pub turn_wait: Duration,
    /// The longest that a query may take, its wait included; a request may ask for less. 2 min, as
    /// Prometheus.
    pub query_timeout: Duration,
    /// How far an instant selector looks back where the request does not say. 5 min.
    pub lookback: Duration,
    /// What a query may cost.
    pub limits: Limits,
    /// Bytes of a request's body as it comes. 32 MiB.
    pub body_bytes_max: usize,
    /// Bytes of a body once decompressed. 128 MiB.
    pub decoded_bytes_max: usize,
    /// The longest that a request's head may take, and a connection idle. 30 s.
    pub header_timeout: Duration,
    /// The longest that a request's body may take, and that a client may leave a piece of an answer
    /// unread. 30 s.
    pub transfer_timeout: Duration,
    /// The longest that requests under way may take to end at shutdown. 5 s.
    pub shutdown_timeout: Duration,
    /// The rate limit, if any. It does not count writes by their samples: that is
    /// [`GateOptions::rate`](crate::options::GateOptions), by the token's name.
    pub rate: Option<RequestRate>,
    /// Who says what runs now, where the host is monitored:
    /// [`FederationMonitor::live_view`](crate::monitor::FederationMonitor::live_view). `None`: the
    /// store does, as far as it knows.
    pub live: Option<LiveView>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090),
            tokens: None,
            open_to_everybody: false,
            hosts: Vec::new(),
            cross_origin: None,
            threads: 2,
            connections_max: 1024,
            queries_max: 8,
            writes_max: 4,
            turn_wait: Duration::from_secs(10),
            query_timeout: Duration::from_secs(120),
            lookback: promql::LOOKBACK,
            limits: Limits::default(),
            body_bytes_max: 32 << 20,
            decoded_bytes_max: 128 << 20,
            header_timeout: Duration::from_secs(30),
            transfer_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(5),
            rate: None,
            live: None,
        }
    }
}

impl ServerOptions {
    /// Checks every option, and the relations between them.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn check(&self) -> Result<()> {
        let invalid =
            |option, reason: &str| Err(Error::InvalidOption { option, reason: reason.into() });
        let counts = [
            ("threads", self.threads as u64),
            ("connections_max", u64::from(self.connections_max)),
            ("queries_max", u64::from(self.queries_max)),
            ("writes_max", u64::from(self.writes_max)),
            ("body_bytes_max", self.body_bytes_max as u64),
            ("decoded_bytes_max", self.decoded_bytes_max as u64),
        ];
        if let Some((option, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return invalid(option, "must be at least 1");
        }
        let lengths = [
            ("query_timeout", self.query_timeout),
            ("lookback", self.lookback),
            ("header_timeout", self.header_timeout),
            ("transfer_timeout", self.transfer_timeout),
        ];
        if let Some((option, _)) = lengths.into_iter().find(|(_, length)| length.is_zero()) {
            return invalid(option, "must not be 0");
        }
        if self.rate.is_some_and(|rate| rate.requests_per_second == 0 || rate.burst == 0) {
            return invalid("rate", "must let at least one request through");
        }
        if self.tokens.is_none() && !self.open_to_everybody && !self.listen.ip().is_loopback() {
            return invalid("listen", "is reached from other machines, and there are no tokens");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_listens_to_the_world_without_tokens() {
        let listen = "0.0.0.0:9090".parse().unwrap();
        let open = ServerOptions { listen, ..ServerOptions::default() };
        assert!(matches!(open.check(), Err(Error::InvalidOption { option: "listen", .. })));
        assert!(ServerOptions { open_to_everybody: true, ..open.clone() }.check().is_ok());
        let tokens =
            Tokens::parse("[[token]]\nname = 'a'\nsecret = '0123456789abcdef'\nscopes = ['read']");
        assert!(ServerOptions { tokens: Some(tokens.unwrap()), ..open }.check().is_ok());
        assert!(ServerOptions::default().check().is_ok());
    }

    #[test]
    fn limits_that_let_nothing_through_are_refused() {
        let none = ServerOptions { queries_max: 0, ..ServerOptions::default() };
        assert!(matches!(none.check(), Err(Error::InvalidOption { option: "queries_max", .. })));
        let none = RequestRate { requests_per_second: 1, burst: 0 };
        let none = ServerOptions { rate: Some(none), ..ServerOptions::default() };
        assert!(matches!(none.check(), Err(Error::InvalidOption { option: "rate", .. })));
    }
}
