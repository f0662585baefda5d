//! Tokens: the file that lists them, and how a secret is found.

use std::sync::Arc;

use serde::Deserialize;
use subtle::{Choice, ConstantTimeEq};

use crate::error::{Error, Result};
use crate::model::{Matcher, Series};
use crate::server::parameters::exactly;

/// Shorter secrets can be guessed.
const SECRET_BYTES_MIN: usize = 16;
/// The label that a tenant's series carry, where the file names no other.
const TENANT_LABEL: &str = "tenant";

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Ask: queries, series, remote read, federation.
    Read,
    /// Bring samples in: remote write, import.
    Write,
    /// Both, and what tells of the server itself.
    Admin,
}

impl Scope {
    /// As the file of tokens writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// Someone whom the server knows.
pub(super) struct Token {
    pub(super) name: String,
    secret: String,
    scopes: Vec<Scope>,
    pub(super) tenant: Option<Matcher>,
}

impl std::fmt::Debug for Token {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, scopes, tenant) = (&self.name, &self.scopes, &self.tenant);
        f.debug_struct("Token")
            .field("name", name)
            .field("scopes", scopes)
            .field("tenant", tenant)
            .finish()
    }
}

impl Token {
    pub(super) fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }
}

/// The tokens that a server knows.
#[derive(Debug, Clone)]
pub struct Tokens(Arc<[Arc<Token>]>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tenant_label: Option<String>,
    #[serde(default)]
    token: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    secret: String,
    scopes: Vec<Scope>,
    tenant: Option<String>,
}

impl Tokens {
    /// Reads the text of a file of tokens (TOML):
    ///
    /// ```
    /// # use icecore::server::Tokens;
    /// let tokens = Tokens::parse(r#"
    ///     tenant_label = "team"           # "tenant" where it is left out
    ///     [[token]]
    ///     name = "grafana of team lake"
    ///     secret = "a-long-random-text"   # at least 16 bytes, no spaces
    ///     scopes = ["read"]               # read, write, admin
    ///     tenant = "lake"                 # reads and writes series of team="lake", no others
    /// "#)?;
    /// # Ok::<(), icecore::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidOption`] where the text is not of this shape, a name or secret repeats, a
    /// secret is too short, or a tenant could not be a label's value.
    pub fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| invalid(error.message()))?;
        let label = file.tenant_label.as_deref().unwrap_or(TENANT_LABEL);
        if file.token.is_empty() {
            return Err(invalid("there is no [[token]]"));
        }
        let mut tokens: Vec<Arc<Token>> = Vec::with_capacity(file.token.len());
        for entry in file.token {
            let Entry { name, secret, scopes, tenant } = entry;
            let wrong = |reason: &str| Err(invalid(&format!("token {name:?} {reason}")));
            if secret.len() < SECRET_BYTES_MIN {
                return wrong("has a secret of less than 16 bytes");
            }
            if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
                return wrong("has a secret that does not fit into a header");
            }
            if scopes.is_empty() {
                return wrong("has no scope");
            }
            if tokens.iter().any(|other| other.name == name) {
                return wrong("is there twice");
            }
            if tokens.iter().any(|other| other.secret == secret) {
                return wrong("has the secret of another");
            }
            let tenant = match tenant.as_deref() {
                None => None,
                Some("") => {
                    return wrong("has an empty tenant, which would be every series without one");
                }
                Some(value) => {
                    Series::new("any", [(label, value)])?;
                    Some(exactly(label, value)?)
                }
            };
            tokens.push(Arc::new(Token { name, secret, scopes, tenant }));
        }
        Ok(Self(tokens.into()))
    }

    /// The token of a secret. Takes as long whichever it is, and whether it is one.
    pub(super) fn find(&self, secret: &str) -> Option<Arc<Token>> {
        let mut found = None;
        for token in self.0.iter() {
            // Unequal lengths are unequal at once: a length is no secret.
            let equal: Choice = token.secret.as_bytes().ct_eq(secret.as_bytes());
            if bool::from(equal) {
                found = Some(token);
            }
        }
        found.cloned()
    }
}

fn invalid(reason: &str) -> Error {
    Error::InvalidOption { option: "tokens", reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(rest: &str) -> String {
        format!("[[token]]\nname = 'a'\n{rest}\n")
    }

    #[test]
    fn a_file_that_is_not_safe_is_refused() {
        let good = "secret = '0123456789abcdef'\nscopes = ['read', 'write']";
        assert!(Tokens::parse(&token(good)).is_ok());
        for (text, why) in [
            (String::new(), "no [[token]]"),
            (token("secret = '0123456789abcdef'\nscopes = []"), "no scope"),
            (token("secret = '0123456789abcde'\nscopes = ['read']"), "16 bytes"),
            (token("secret = '0123456789 abcdef'\nscopes = ['read']"), "header"),
            (token("secret = '0123456789abcdef'\nscopes = ['root']"), "unknown variant"),
            (token(&format!("{good}\ntenant = ''")), "empty tenant"),
            (token(&format!("{good}\ncolour = 'red'")), "unknown field"),
            (token(good).repeat(2), "twice"),
            (
                format!("tenant_label = '__name__'\n{}", token(&format!("{good}\ntenant = 'x'"))),
                "name",
            ),
        ] {
            let error = Tokens::parse(&text).unwrap_err().to_string();
            assert!(error.contains(why), "{error} does not say {why}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let tokens =
            Tokens::parse(&token("secret = '0123456789abcdef'\nscopes = ['read']")).unwrap();
        assert!(!format!("{tokens:?}").contains("0123456789abcdef"));
        assert_eq!(tokens.find("0123456789abcdef").unwrap().name, "a");
        assert!(tokens.find("0123456789abcdeg").is_none() && tokens.find("").is_none());
    }
}
