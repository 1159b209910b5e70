//! Where alerts, traces, calls and questions may go: URLs, topics, hosts.
//!
//! **Promises** nothing is ever sent to a link-local address (the cloud's metadata service hands out credentials
//! there), and credentials never go over an open network in the clear.
//! **Not here**: addresses that a host name resolves to at run time; an egress policy has to judge those.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// The metadata service's IPv6 address is unique-local, not link-local.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
const METADATA_NAMES: [&str; 2] = ["metadata.google.internal", "instance-data.ec2.internal"];

/// A path segment of at least this length is more likely a token than a word; with digits among its letters it is so
/// from the lesser length on.
const TOKEN_CHARS_MIN: usize = 16;
const MIXED_CHARS_MIN: usize = 8;

/// A receiver of alerts. The problem never quotes the address, which may hold a token.
pub(super) fn receiver(text: &str) -> Result<(), String> {
    sent_to(text, "alerts are")
}

/// A collector of traces. The problem never quotes the address, which may hold a token.
pub(super) fn collector(text: &str) -> Result<(), String> {
    sent_to(text, "traces are")
}

fn sent_to(text: &str, what_is: &str) -> Result<(), String> {
    let url = web_address(text)?;
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    if ip_of(&url).is_some_and(is_metadata) || METADATA_NAMES.contains(&host) {
        return Err(format!("{host} is a link-local or metadata address; {what_is} never sent there"));
    }
    if url.scheme() == "http" && has_credentials(&url) && !is_loopback(&url) {
        return Err(format!("sends credentials to {host} in the clear; use https"));
    }
    // Who has the address of such a receiver may send to it: the address itself is the secret.
    if url.scheme() == "http" && may_hold_token(&url) && !is_loopback(&url) {
        return Err(format!("sends what looks like a token, in its path or query, to {host} in the clear; use https"));
    }
    Ok(())
}

/// The endpoint of the services.
pub(super) fn endpoint(text: &str) -> Result<(), String> {
    let url = web_address(text)?;
    if has_credentials(&url) || url.query().is_some() || url.fragment().is_some() || url.path() != "/" {
        return Err("must be scheme, host and port only, such as \"http://127.0.0.1:4566\"".to_owned());
    }
    Ok(())
}

/// Where other workers find this one: an address, since they ask no names.
pub(super) fn advertised(text: &str) -> Result<(), String> {
    let wrong = || "must be of the form \"http://10.0.0.1:8080\": an IP address, no path".to_owned();
    let url = web_address(text).map_err(|_| wrong())?;
    let plain = url.scheme() == "http" && url.path() == "/" && url.query().is_none() && !has_credentials(&url);
    (plain && ip_of(&url).is_some_and(|ip| !ip.is_unspecified())).then_some(()).ok_or_else(wrong)
}

/// An SNS topic.
pub(super) fn topic(text: &str) -> Result<(), String> {
    let parts: Vec<&str> = text.split(':').collect();
    let ok = matches!(parts.as_slice(), ["arn", partition, "sns", region, account, name]
        if partition.starts_with("aws") && !region.is_empty() && !name.is_empty()
            && account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()));
    let example = "\"arn:aws:sns:eu-central-1:123456789012:alerts\"";
    ok.then_some(()).ok_or_else(|| format!("must be the ARN of a topic, such as {example}, not {text:?}"))
}

/// A name that the ops endpoint may be asked by.
pub(super) fn host(text: &str) -> Result<(), String> {
    let ok = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
    ok.then_some(())
        .ok_or_else(|| format!("must be a name without port, such as \"mangrove.example.org\", not {text:?}"))
}

fn web_address(text: &str) -> Result<Url, String> {
    // The parser's own words do not quote the address.
    let url = Url::parse(text).map_err(|error| format!("must be a URL, such as \"https://host/path\" ({error})"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err("must begin with https:// or http://".to_owned()),
    }
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// The parser has turned every spelling of an address (hexadecimal, one number) into the usual one.
fn ip_of(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

fn is_loopback(url: &Url) -> bool {
    ip_of(url).map_or(url.host_str() == Some("localhost"), |ip| ip.is_loopback())
}

fn is_metadata(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => {
            ip.is_unicast_link_local() || ip == METADATA_V6 || embedded_v4(ip).is_some_and(|ip| ip.is_link_local())
        }
    }
}

/// `::ffff:a.b.c.d`, `::a.b.c.d` and NAT64 lead to the same host.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];
    let [a, b] = [ip.segments()[6], ip.segments()[7]].map(u16::to_be_bytes);
    let nat64 = ip.segments()[..6] == NAT64;
    ip.to_ipv4().or_else(|| nat64.then(|| Ipv4Addr::new(a[0], a[1], b[0], b[1])))
}

fn may_hold_token(url: &Url) -> bool {
    url.query_pairs().any(|(_, value)| !value.is_empty()) || url.path().split('/').any(is_token)
}

/// A URL that can be shown: no credentials, no query values, nothing in the path that looks like a token, and never its
/// last part, where tokens stand that look like words.
pub(super) fn redacted(text: &str) -> String {
    const HIDDEN: &str = "***";
    let Ok(url) = Url::parse(text) else { return HIDDEN.to_owned() };
    let Some(host) = url.host_str() else { return HIDDEN.to_owned() };
    let credentials = if has_credentials(&url) { "***@" } else { "" };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let segments: Vec<&str> = url.path().split('/').collect();
    let last = segments.iter().rposition(|segment| !segment.is_empty());
    let hide = |(at, segment)| if Some(at) == last || is_token(segment) { HIDDEN } else { segment };
    let path: Vec<&str> = segments.iter().copied().enumerate().map(hide).collect();
    let query: Vec<String> = url.query_pairs().map(|(name, _)| format!("{name}={HIDDEN}")).collect();
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    format!("{}://{credentials}{host}{port}{}{query}", url.scheme(), path.join("/"))
}

fn is_token(segment: &str) -> bool {
    let mixed = segment.contains(|c: char| c.is_ascii_digit()) && segment.contains(|c: char| c.is_ascii_alphabetic());
    segment.len() >= if mixed { MIXED_CHARS_MIN } else { TOKEN_CHARS_MIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_on_the_metadata_service_are_refused_in_every_spelling() {
        for bad in [
            "http://169.254.169.254/latest/meta-data",
            "http://0xa9fea9fe/",
            "http://2852039166/",
            "http://[::ffff:169.254.169.254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[fe80::1]/",
            "http://[fd00:ec2::254]/",
            "http://metadata.google.internal./",
        ] {
            assert!(receiver(bad).is_err_and(|what| what.contains("never sent")), "{bad}");
        }
    }

    #[test]
    fn credentials_need_a_closed_network() {
        assert!(receiver("http://user:secret@hooks.example.org/").is_err_and(|what| !what.contains("secret")));
        assert!(receiver("http://user:secret@127.0.0.1:9/").is_ok() && receiver("http://u:p@localhost/").is_ok());
        assert!(receiver("https://user:secret@hooks.example.org/").is_ok() && receiver("http://alerts:9093").is_ok());
    }

    #[test]
    fn only_web_addresses_receive() {
        for bad in ["ftp://host/", "hooks.example.org", "", "file:///etc/passwd", "https://"] {
            assert!(receiver(bad).is_err(), "{bad}");
        }
        assert!(endpoint("http://127.0.0.1:4566").is_ok() && endpoint("http://u:p@host/").is_err());
        assert!(topic("arn:aws:sns:eu-west-1:123456789012:alerts").is_ok() && topic("alerts").is_err());
    }

    #[test]
    fn what_can_be_a_token_is_hidden() {
        let shown = redacted("https://u:p@hooks.slack.com:8443/services/T0001/XXXXXXXXXXXXXXXXXXXXXXXX?key=abc&b#frag");
        assert_eq!(shown, "https://***@hooks.slack.com:8443/services/T0001/***?key=***&b=***");
        assert_eq!(redacted("not a url, but a secret"), "***");
        assert_eq!(redacted("https://hooks.example.org/services/short/"), "https://hooks.example.org/services/***/");
        assert_eq!(redacted("http://127.0.0.1:9093"), "http://127.0.0.1:9093/");
    }

    #[test]
    fn an_address_that_is_a_secret_needs_a_closed_network() {
        for (bad, token) in [
            ("http://hooks.example.org/services/T0A1/B0C2/q8r7s6t5", "q8r7s6t5"),
            ("http://hooks.example.org/services/abcdefghijklmnop", "abcdefghijklmnop"),
            ("http://hooks.example.org/alert?key=abc", "abc"),
        ] {
            assert!(receiver(bad).is_err_and(|what| what.contains("token") && !what.contains(token)), "{bad}");
            assert!(collector(bad).is_err(), "{bad}");
            assert!(receiver(&bad.replacen("http", "https", 1)).is_ok(), "{bad}");
            assert!(receiver(&bad.replacen("hooks.example.org", "127.0.0.1", 1)).is_ok(), "{bad}");
        }
        for good in ["http://alerts:9093/alertmanager", "http://collector.observability.svc:4318/v1/traces"] {
            assert!(receiver(good).is_ok() && collector(good).is_ok(), "{good}");
        }
    }
}
