//! Who may ask for what: tokens, hosts and origins, rates.
//!
//! With tokens, every request but the page's and the probes' carries one. Without, the server is its
//! machine's own: what asks it must name it as that machine does, so that no page of the web reaches
//! it through a name of its own (DNS rebinding).

mod rates;
mod tokens;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, Request, header};

pub use tokens::{Scope, Tokens};

use self::rates::Rates;
use self::tokens::Token;
use super::failure::Failure;
use super::options::ServerOptions;
use crate::model::Matcher;

/// The peer of a connection, put into each of its requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Who asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller(Option<Arc<Token>>);

impl Caller {
    /// The tenant that all it reads and writes belongs to.
    pub(super) fn tenant(&self) -> Option<&Matcher> {
        self.0.as_ref()?.tenant.as_ref()
    }

    /// What its writes count as, for the engine's rate limits.
    pub(super) fn source(&self) -> &str {
        self.0.as_ref().map_or("http", |token| &token.name)
    }

    /// # Errors
    /// [`Failure::forbidden`] for a tenant: what is asked is of the whole store.
    pub(super) fn check_whole_store(&self) -> Result<(), Failure> {
        match self.tenant() {
            None => Ok(()),
            Some(_) => Err(Failure::forbidden("this tells of every tenant; the token is of one")),
        }
    }
}

/// The door.
#[derive(Debug)]
pub(super) struct Door {
    tokens: Option<Tokens>,
    /// Names that `Host` may carry; `None` takes any.
    hosts: Option<Vec<String>>,
    cross_origin: Option<HeaderValue>,
    rates: Option<Rates>,
}

impl Door {
    pub(super) fn new(options: &ServerOptions) -> Self {
        // Whoever has a token got past whatever name it came by; whoever opens the server to
        // everybody has said so.
        let any = options.tokens.is_some() || options.open_to_everybody;
        Self {
            tokens: options.tokens.clone(),
            hosts: (!any).then(|| options.hosts.clone()),
            cross_origin: options
                .cross_origin
                .as_ref()
                .and_then(|origin| HeaderValue::from_str(origin).ok()),
            rates: options.rate.map(Rates::new),
        }
    }

    /// Lets a request in, or says why not. `scope` is what it takes; `None` is for everybody.
    ///
    /// # Errors
    /// [`Failure::forbidden`], [`Failure::unauthorized`], [`Failure::too_many`].
    pub(super) fn admit<B>(
        &self,
        request: &Request<B>,
        scope: Option<Scope>,
    ) -> Result<Caller, Failure> {
        self.check_host(request)?;
        self.check_origin(request)?;
        let caller = match (&self.tokens, scope) {
            (None, _) | (_, None) => Caller::default(),
            (Some(tokens), Some(scope)) => {
                let peer = peer(request);
                let Some(token) = bearer(request.headers()).and_then(|said| tokens.find(said))
                else {
                    // Guessing is slowed down too.
                    self.check_rate(&format!("{peer:?}"))?;
                    return Err(Failure::unauthorized("a token is needed: Authorization: Bearer"));
                };
                if !token.may(scope) {
                    let name = &token.name;
                    let message = format!("token {name:?} lacks the scope {:?}", scope.name());
                    return Err(Failure::forbidden(message));
                }
                Caller(Some(token))
            }
        };
        if scope.is_some() {
            match &caller.0 {
                Some(token) => self.check_rate(&token.name)?,
                None => self.check_rate(&format!("{:?}", peer(request)))?,
            }
        }
        Ok(caller)
    }

    fn check_rate(&self, who: &str) -> Result<(), Failure> {
        match &self.rates {
            Some(rates) if !rates.take(who) => Err(Failure::too_many("too many requests")),
            _ => Ok(()),
        }
    }

    fn check_host<B>(&self, request: &Request<B>) -> Result<(), Failure> {
        let Some(hosts) = &self.hosts else { return Ok(()) };
        // HTTP/1.0 without a host: no browser.
        let Some(host) = host(request) else { return Ok(()) };
        let host = host.ok_or_else(|| Failure::bad_data("the Host header is not one"))?;
        let name = host.host().trim_matches(['[', ']']).to_ascii_lowercase();
        let own = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if own || hosts.contains(&name) {
            return Ok(());
        }
        let message = format!("this server is not called {name:?}; --host names it so");
        Err(Failure::forbidden(message))
    }

    /// A browser says on whose behalf it changes something; only the server's own page may.
    fn check_origin<B>(&self, request: &Request<B>) -> Result<(), Failure> {
        let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(()) };
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
            || self.cross_origin.as_ref() == Some(origin)
        {
            return Ok(());
        }
        let host = host(request).flatten();
        let same = origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(
            |(_, authority)| host.is_some_and(|host| authority.eq_ignore_ascii_case(host.as_str())),
        );
        if same { Ok(()) } else { Err(Failure::forbidden("a page of another origin asks")) }
    }

    /// Tells the browser that the one other origin may read, if there is one.
    pub(super) fn allow_origin(&self, headers: &mut HeaderMap) {
        if let Some(origin) = &self.cross_origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            let allowed = HeaderValue::from_static("authorization, content-type");
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
    }
}

/// The host a request names, `Some(None)` where that is not one.
#[expect(clippy::option_option, reason = "missing and malformed differ")]
fn host<B>(request: &Request<B>) -> Option<Option<Authority>> {
    if let Some(authority) = request.uri().authority() {
        return Some(Some(authority.clone()));
    }
    let header = request.headers().get(header::HOST)?;
    Some(header.to_str().ok().and_then(|host| host.parse().ok()))
}

fn peer<B>(request: &Request<B>) -> Option<IpAddr> {
    request.extensions().get::<Peer>().map(|peer| peer.0.ip())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    fn ask(method: &str, headers: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri("/api/v1/query");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn status(door: &Door, request: &Request<()>, scope: Scope) -> Option<StatusCode> {
        door.admit(request, Some(scope)).err().map(|failure| failure.status)
    }

    #[test]
    fn without_tokens_only_the_machines_own_names_are_answered() {
        let options = ServerOptions { hosts: vec!["metrics.lan".into()], ..Default::default() };
        let door = Door::new(&options);
        for host in ["localhost:9090", "127.0.0.1", "127.8.9.1:1", "[::1]:9090", "Metrics.lan:80"] {
            assert_eq!(status(&door, &ask("GET", &[("host", host)]), Scope::Read), None, "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:9090", "10.0.0.1", "127.0.0.1.x"] {
            let refused = status(&door, &ask("GET", &[("host", host)]), Scope::Read);
            assert_eq!(refused, Some(StatusCode::FORBIDDEN), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let door = Door::new(&ServerOptions::default());
        let from = |origin| ask("POST", &[("host", "localhost:9090"), ("origin", origin)]);
        assert_eq!(status(&door, &from("http://localhost:9090"), Scope::Write), None);
        for origin in ["https://evil.example", "http://localhost:3000", "null"] {
            let refused = status(&door, &from(origin), Scope::Write);
            assert_eq!(refused, Some(StatusCode::FORBIDDEN), "{origin}");
        }
    }

    #[test]
    fn a_token_opens_what_its_scopes_name() {
        let tokens = Tokens::parse(
            "[[token]]\nname = 'r'\nsecret = 'reads-and-reads-0'\nscopes = ['read']\n\
             [[token]]\nname = 'w'\nsecret = 'writes-and-writes'\nscopes = ['write']\ntenant = 'x'",
        );
        let door =
            Door::new(&ServerOptions { tokens: Some(tokens.unwrap()), ..Default::default() });
        let with = |token| ask("GET", &[("host", "any.example"), ("authorization", token)]);
        assert_eq!(status(&door, &with("Bearer reads-and-reads-0"), Scope::Read), None);
        assert_eq!(status(&door, &with("bearer  reads-and-reads-0 "), Scope::Read), None);
        let forbidden = Some(StatusCode::FORBIDDEN);
        assert_eq!(status(&door, &with("Bearer reads-and-reads-0"), Scope::Write), forbidden);
        let unauthorized = Some(StatusCode::UNAUTHORIZED);
        for token in ["Bearer reads-and-reads-1", "Bearer ", "Basic reads-and-reads-0", ""] {
            assert_eq!(status(&door, &with(token), Scope::Read), unauthorized, "{token:?}");
        }
        let caller = door.admit(&with("Bearer writes-and-writes"), Some(Scope::Write)).unwrap();
        assert_eq!(caller.tenant().unwrap().to_string(), "tenant=\"x\"");
        assert!(caller.check_whole_store().is_err());
    }
}
