//! Reads the section of the admin endpoint.
//!
//! **Promises** the token never stands in the configuration file, and is never shown.

use std::net::SocketAddr;
use std::path::Path;

use super::AdminConfig;
use super::layers::{Source, read_text};
use super::section::{Found, Section};
use crate::ops::admin::token::Token;

/// The admin endpoint; none if it is not bound, or not in order.
pub(super) fn read(s: &mut Section<'_>) -> Option<AdminConfig> {
    let bind = s.read("bind", |found: Found<'_>| match found.value.as_str() {
        Some("") => Ok(None),
        Some(text) => match text.parse::<SocketAddr>() {
            Ok(bind) => Ok(Some(bind)),
            Err(_) => found.wrong("an address and a port, such as \"127.0.0.1:8081\", or \"\" for none"),
        },
        None => found.wrong("a text"),
    });
    let allow_remote = s.flag("allow_remote");
    let token = token(s);
    let bind = bind?;
    if !allow_remote && !bind.ip().is_loopback() {
        let what = format!(
            "{bind} can be reached from other machines, and the token would cross the network in the clear: bind a \
             loopback address and forward a port to it, or set admin.allow_remote = true"
        );
        s.problem("bind", what);
    }
    match token {
        Some(token) => Some(AdminConfig { bind, token: token? }),
        None => {
            s.problem("token_file", "must be set if admin.bind is: a file with the token, or MANGROVE_ADMIN__TOKEN");
            None
        }
    }
}

/// None if none is set; within, none if it is wrong.
fn token(s: &mut Section<'_>) -> Option<Option<Token>> {
    let file = s.text("token_file", |_| Ok(()));
    let text = s.text("token", |_| Ok(()));
    let (key, token) = match (file.is_empty(), text.is_empty()) {
        (true, true) => return None,
        (false, false) => ("token_file", Err("only one of token_file and token can be set".to_owned())),
        (false, true) => ("token_file", from_file(&file)),
        (true, false) if !matches!(s.source("token"), Source::Environment(_)) => {
            let what = "must not stand here: use admin.token_file, or the variable MANGROVE_ADMIN__TOKEN";
            ("token", Err(what.to_owned()))
        }
        (true, false) => ("token", Token::new(&text)),
    };
    match token {
        Ok(token) => Some(Some(token)),
        Err(what) => {
            s.problem(key, what);
            Some(None)
        }
    }
}

fn from_file(path: &str) -> Result<Token, String> {
    let text = read_text(Path::new(path)).map_err(|what| format!("{path} {what}"))?;
    Token::new(&text).map_err(|what| format!("the token in {path} {what}"))
}
