//! Whether a request is for this host. The worker's ops endpoint has the same rule.

use std::net::IpAddr;

use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::Authority;

/// At most one `Host`, at least one name, and every name in the request is ours.
pub(super) fn is_ours(parts: &Parts, local: IpAddr) -> bool {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next().map(|host| host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()));
    if hosts.next().is_some() || matches!(host, Some(None)) {
        return false;
    }
    // HTTP/2 has the name in the address only.
    let mut names = host.flatten().into_iter().chain(parts.uri.authority().cloned()).peekable();
    names.peek().is_some() && names.all(|name| names_us(&name, local))
}

/// Addresses are safe where names are not: rebinding needs a name. No name below `localhost` is anybody else's.
fn names_us(authority: &Authority, local: IpAddr) -> bool {
    // `user@localhost` is not how anybody honest asks.
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address.to_canonical() == local.to_canonical(),
        Err(_) => {
            let host = host.to_ascii_lowercase();
            host == "localhost" || host.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn ours(hosts: &[&str], uri: &str) -> bool {
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        is_ours(&request.body(()).unwrap().into_parts().0, "127.0.0.5".parse().unwrap())
    }

    #[test]
    fn own_names_and_addresses_are_ours() {
        for host in [
            "localhost",
            "LOCALHOST:4566",
            "127.0.0.1:1",
            "[::1]:80",
            "127.0.0.5",
            "lake.localhost:4566",
            "a.b.localhost",
        ] {
            assert!(ours(&[host], "/"), "{host}");
        }
        assert!(ours(&[], "http://localhost:4566/lake"), "HTTP/2");
    }

    #[test]
    fn others_are_not() {
        for host in [
            "evil.com",
            "127.0.0.1.nip.io",
            "localhost.evil.com",
            "notlocalhost",
            "10.1.2.3",
            "localhost.",
            "a@localhost",
            "[::2]",
            "",
        ] {
            assert!(!ours(&[host], "/"), "{host}");
        }
        assert!(!ours(&["localhost", "evil.com"], "/") && !ours(&[], "/"));
        assert!(!ours(&["localhost"], "http://evil.com/"));
    }
}
